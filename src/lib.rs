//! tetap: the edge proxy for web APIs that stays up.

pub mod admin;
pub mod answer;
pub mod balance;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod failure;
pub mod hygiene;
pub mod limit;
pub mod limits;
pub mod listen;
pub mod observe;
pub mod plan;
pub mod process;
pub mod proxy;
pub mod retry;
pub mod routing;
pub mod runtime;
pub mod upstream;
pub mod watchdog;
