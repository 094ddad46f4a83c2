//! What is typed, and how the program ends.
//!
//! Scripts go by the exit status, so there are three and no more: 0 done, 1 failed, 2 wrong usage or configuration. Output that was
//! asked for goes to standard output, everything else to standard error.

mod check;
mod failure;
pub mod program_log;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::{config, demo, process};
use failure::Failure;

/// The edge proxy for web APIs that stays up.
#[derive(Debug, Parser)]
#[command(name = "tetap", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve in the foreground, until TERM (finish what is under way) or INT (at once)
    Run(File),
    /// Report everything that is wrong with a configuration
    Check(File),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Try it: three sample servers with the proxy in front, without any file
    Demo,
    /// One of the demo's sample servers
    #[command(hide = true)]
    DemoServer {
        /// What it calls itself in its answers
        #[arg(long)]
        name: String,
    },
}

#[derive(Debug, Args)]
struct File {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "conf/tetap.yaml")]
    config: PathBuf,
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => ended(perform(arguments.command)),
        Err(instead) => explain(&instead),
    }
}

fn perform(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(file) => run(&file.config),
        Command::Check(file) => print(&check::check(&file.config)?),
        Command::Schema => print(&format!("{:#}", config::schema())),
        Command::Demo => Ok(demo::run()?),
        Command::DemoServer { name } => Ok(demo::sample::run(&name)?),
    }
}

fn run(path: &Path) -> Result<(), Failure> {
    let plan = check::load(path)?;
    process::run(plan, &mut |_| log::info!("serving by {}", path.display()))?;
    Ok(())
}

fn print(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}

fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "{failure}");
            failure.exit()
        }
    }
}

/// Help and version end with 0 on standard output, a mistake with 2 on standard error.
fn explain(instead: &clap::Error) -> ExitCode {
    let _ = instead.print();
    ExitCode::from(u8::try_from(instead.exit_code()).unwrap_or(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
