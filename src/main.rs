//! The program: its allocator, its log, and then the command line.

use std::process::ExitCode;

use tetap::cli;

/// Connections come and go by the thousand; this allocator gives their memory back to the system.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::program_log::start();
    cli::main()
}
