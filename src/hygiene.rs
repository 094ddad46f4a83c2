//! What may pass from one side of the proxy to the other.

pub mod path;
