//! What the program says about itself, on standard error, steered by `RUST_LOG`.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};

use env_logger::Env;

/// This program's own lines from `info`, those of the libraries beneath it from `warn`: the proxy engine comments on every
/// connection below that. Its request loop warns of every upstream that answers early or closes, which the access log
/// tells already.
const DEFAULT_FILTER: &str = "warn,pingora_proxy=error,tetap=info";

/// Starts the log, and sends panics there: one that ends only a task would else be seen by nobody who reads logs.
pub fn start() {
    env_logger::Builder::from_env(Env::default().default_filter_or(DEFAULT_FILTER))
        .format_timestamp_millis()
        .init();
    panic::set_hook(Box::new(report));
}

fn report(panic: &PanicHookInfo<'_>) {
    log::error!("{}{}", panic.to_string().replace('\n', " "), backtrace());
}

/// On lines of its own, where `RUST_BACKTRACE` asks for it.
fn backtrace() -> String {
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => format!("\n{backtrace}"),
        _ => String::new(),
    }
}
