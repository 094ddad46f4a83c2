//! Servers that are replaced one after the other, as a deployment does it: the next one goes when the last one is back.

use std::time::Duration;

use super::stage::{Stage, WATCHED, pause};
use crate::support::Server;
use crate::support::load::{Load, Report};

/// How long a deployment watches a new server before it goes on: long enough for its health to be seen.
const WATCHES: u64 = 1000;

fn replace_each(scenario: &str, end: impl Fn(&mut Server)) -> (Stage, Report) {
    let mut stage = Stage::set(WATCHED);
    let report = stage.play(scenario, Load::steady(300, Duration::from_secs(6)), |servers| {
        for server in servers {
            end(server);
            pause(200); // what a start takes
            server.restart();
            pause(WATCHES);
        }
    });
    (stage, report)
}

#[test]
fn each_leaves_gracefully() {
    let (stage, report) = replace_each("each restarts in turn (SIGTERM)", Server::leave);
    stage.assert_kept(&report, &["a", "b", "c"]);
}

#[test]
fn each_is_killed() {
    let (stage, report) = replace_each("each restarts in turn (SIGKILL)", Server::kill);
    stage.assert_kept(&report, &["a", "b", "c"]);
}
