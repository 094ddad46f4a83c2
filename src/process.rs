//! The process: what is opened before the first request, and how it ends.

pub mod admin_address;
pub mod assignment;
pub mod descriptors;
pub mod doors;
pub mod life;
pub mod places;
pub mod reload;
pub mod steward;
pub mod stop;
pub mod worker;

pub use worker::{RunError, Started, run};
