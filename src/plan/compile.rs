//! Configuration in, plan or all of its faults out.
//!
//! The check of the configuration has looked at each key alone. Here the keys meet: names are looked up, addresses and
//! routes compared, defaults of the upstream overlaid with those of the route. Every step goes on after a fault, so that
//! one run finds them all; what it yields then is thrown away.

mod deadlines;
mod headers;
mod listeners;
mod matching;
mod paths;
mod routes;
mod upstreams;

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::units::{Network, Output};
use crate::config::{Config, Fault, KeyPath, process};
use crate::plan::compile::upstreams::Directory;
use crate::plan::{AccessLog, AccessLogFormat, AccessLogOutput, Plan, Process};

/// The plan of a configuration.
///
/// # Errors
///
/// Everything that is wrong with it, in no particular order; [`Loaded::place`](crate::config::Loaded::place) sorts.
pub fn compile(config: &Config) -> Result<Plan, Vec<Fault>> {
    let Config { listeners, admin, upstreams, routes, trusted_proxies, access_log, process } = config;
    let mut faults = Vec::new();
    let listeners = listeners::compile(listeners, admin.as_ref(), &mut faults);
    let directory = Directory::new(upstreams);
    let upstreams = upstreams::compile(upstreams, &mut faults);
    let (routes, rules) = routes::compile(routes, &directory, &mut faults);
    let table = matching::table(rules, &routes, &mut faults);
    match (table, faults.is_empty()) {
        (Some(table), true) => Ok(Plan {
            listeners,
            admin: admin.as_ref().map(|admin| admin.address.0),
            upstreams,
            routes: routes.into_iter().filter_map(|(_, route)| route).collect(),
            table,
            trusted_proxies: trusted_proxies.iter().map(|Network(network)| *network).collect(),
            access_log: plan_access_log(access_log),
            process: plan_process(process),
        }),
        _ => Err(faults),
    }
}

fn plan_access_log(log: &process::AccessLog) -> AccessLog {
    let process::AccessLog { format, output } = log;
    let format = match format {
        process::Format::Json => AccessLogFormat::Json,
        process::Format::Text => AccessLogFormat::Text,
    };
    let output = match output {
        Output::Stdout => AccessLogOutput::Stdout,
        Output::Stderr => AccessLogOutput::Stderr,
        Output::Off => AccessLogOutput::Off,
        Output::File(path) => AccessLogOutput::File(path.clone()),
    };
    AccessLog { format, output }
}

/// The number of cores is asked of the machine: the one thing in a plan that is not in the file.
fn plan_process(process: &process::Process) -> Process {
    let process::Process { threads, drain_timeout } = process;
    Process { threads: *threads, drain_timeout: drain_timeout.as_std() }
}

/// Names that metrics and logs tell things apart by.
#[derive(Default)]
struct Names(HashMap<Arc<str>, KeyPath>);

impl Names {
    /// Notes a name. `path` is that of the thing, whose `name` may be left out.
    fn add(&mut self, name: &Arc<str>, path: KeyPath, faults: &mut Vec<Fault>) {
        match self.0.get(name) {
            Some(first) => {
                let fault = Fault::new(
                    path.key("name"),
                    format!("the name {name} a second time"),
                    "a name of its own",
                );
                faults.push(fault.elsewhere(first.clone()));
            }
            None => drop(self.0.insert(name.clone(), path)),
        }
    }
}
