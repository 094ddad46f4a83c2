//! The process: what is opened before the first request, and how it ends.

pub mod descriptors;
pub mod doors;
pub mod stop;
pub mod worker;

pub use worker::{RunError, Started, run};
