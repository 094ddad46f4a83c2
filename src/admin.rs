//! What operators and their machines ask the process.

pub mod readiness;
