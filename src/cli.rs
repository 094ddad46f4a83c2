//! What is typed, and how the program ends.
//!
//! Scripts go by the exit status, so there are three and no more: 0 done, 1 failed, 2 wrong usage or configuration. Output that was
//! asked for goes to standard output, everything else to standard error.

mod check;
mod failure;
mod healthcheck;
pub mod program_log;
mod remote;

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rustix::process::Signal;

use crate::selftest::Wish;
use crate::supervisor::control::{self, Request};
use crate::supervisor::succession;
use crate::{config, demo, process, selftest, supervisor};
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
    Run {
        #[command(flatten)]
        file: File,
        /// Go on where another program has left: what it has left comes through standard input
        #[arg(long, hide = true)]
        resumed: bool,
        /// Only say whether that is understood
        #[arg(long, hide = true, requires = "resumed")]
        examine: bool,
        /// End when the process that has started this one does
        #[arg(long, hide = true)]
        leashed: bool,
    },
    /// Show how the running proxy is: its workers, and where it listens
    Status(Target),
    /// Have the running proxy read its configuration again: all of it, or nothing changes
    Reload {
        #[command(flatten)]
        target: Target,
        /// Go back by itself, unless `tetap confirm` is said within this time, such as 60s
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        confirm: Option<std::time::Duration>,
    },
    /// Stay with what was reloaded with --confirm
    Confirm(Target),
    /// Show what a reload would change in the running proxy, and what each change costs
    Plan(Target),
    /// Have the running proxy go over to another executable, and back if that does worse
    Upgrade {
        #[command(flatten)]
        target: Target,
        /// The executable; left out, the one that is now at the path that the running one came from
        #[arg(long, value_name = "PATH")]
        binary: Option<PathBuf>,
    },
    /// Have the running proxy finish what is under way and end, and wait for that
    Stop(Target),
    /// Say whether the running proxy should be sent clients: exit status 0 or 1
    Healthcheck(healthcheck::Subject),
    /// Report everything that is wrong with a configuration
    Check(File),
    /// Try reloads, upgrades and crashes under load, on a shadow of a configuration: exit status 0 if no client lost anything
    Selftest {
        #[command(flatten)]
        file: File,
        /// Let each happen once only
        #[arg(long)]
        brief: bool,
        /// Print what came of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the configuration
    Schema,
    /// Try it: three sample servers with the proxy in front, without any file
    Demo,
    /// What a supervisor starts; it is told what to do through its standard input
    #[command(hide = true)]
    Worker {
        /// The configuration, for those who look at the list of processes
        config: PathBuf,
    },
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

/// A running proxy.
#[derive(Debug, Args)]
struct Target {
    /// The configuration that it runs by
    #[arg(long, value_name = "FILE", default_value = "conf/tetap.yaml")]
    config: PathBuf,
    /// Its socket for commands, if it is not where the configuration says
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => ended(perform(arguments.command)),
        Err(instead) => explain(&instead),
    }
}

fn perform(command: Command) -> Result<ExitCode, Failure> {
    let done = match command {
        Command::Run { examine: true, .. } => Ok(succession::understand(io::stdin())?),
        Command::Run { resumed: true, .. } => return resume(),
        Command::Run { file, leashed, .. } => return run(&file.config, leashed),
        Command::Check(file) => print(&check::check(&file.config)?),
        Command::Status(target) => remote::ask(&target, &Request::Status),
        Command::Reload { target, confirm } => remote::ask(&target, &Request::Reload { confirm }),
        Command::Confirm(target) => remote::ask(&target, &Request::Confirm),
        Command::Plan(target) => remote::ask(&target, &Request::Plan),
        Command::Upgrade { target, binary } => remote::upgrade(&target, binary),
        Command::Stop(target) => remote::ask(&target, &Request::Stop),
        Command::Healthcheck(subject) => healthcheck::ask(&subject),
        Command::Worker { .. } => work(),
        Command::Selftest { file, brief, json } => return try_out(&file.config, Wish { brief, json }),
        Command::Schema => print(&format!("{:#}", config::schema())),
        Command::Demo => Ok(demo::run()?),
        Command::DemoServer { name } => Ok(demo::sample::run(&name)?),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// `leashed`: the kernel ends it with whoever has started it.
fn run(path: &Path, leashed: bool) -> Result<ExitCode, Failure> {
    if leashed {
        rustix::process::set_parent_process_death_signal(Some(Signal::INT)).map_err(io::Error::from)?;
    }
    succession::block_signals()?; // what is said before anybody can hear it waits
    let text = config::read_text(path)?;
    let plan = process::assignment::compile(path, &text)?;
    if !plan.process.supervise {
        succession::unblock_signals()?; // who starts threads lets them hear
        process::run(plan, &mut |_| log::info!("serving by {}", path.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    process::descriptors::raise(); // the supervisor holds every socket, and gives each to every worker
    let settings = process::steward::settings(&plan);
    let control_needed = plan.process.control.is_some();
    let control = plan.process.control.unwrap_or_else(|| control::default_path(path));
    let start = supervisor::Start { config: path.to_owned(), text, settings, control, control_needed };
    Ok(ExitCode::from(supervisor::run(start)?))
}

fn try_out(path: &Path, wish: Wish) -> Result<ExitCode, Failure> {
    Ok(if selftest::run(path, wish)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn resume() -> Result<ExitCode, Failure> {
    rustix::thread::set_name(c"tetap").map_err(io::Error::from)?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?).map_err(io::Error::from)?;
    Ok(ExitCode::from(supervisor::resume(&socket)?))
}

fn work() -> Result<(), Failure> {
    rustix::thread::set_name(c"tetap").map_err(io::Error::from)?; // it was started by the number of a descriptor, which says nothing to people
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    Ok(process::steward::work(socket)?)
}

fn print(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}

fn ended(result: Result<ExitCode, Failure>) -> ExitCode {
    match result {
        Ok(status) => status,
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
