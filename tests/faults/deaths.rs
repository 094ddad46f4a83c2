//! Servers that are gone from one moment to the next.

use std::time::Duration;

use super::stage::{Stage, WATCHED, pause, usual_load};
use crate::support::Server;
use crate::support::ask::Kind;
use crate::support::load::Load;

#[test]
fn nothing_happens() {
    let mut stage = Stage::set(WATCHED);
    let report = stage.play("nothing happens", usual_load(), |_| {});
    stage.assert_kept(&report, &[]);
    assert_eq!(report.failed(Kind::Post).len(), 0);
}

#[test]
fn one_is_killed() {
    let mut stage = Stage::set(WATCHED);
    let report = stage.play("one is killed (SIGKILL)", usual_load(), |[_, b, _]| b.kill());
    stage.assert_kept(&report, &["b"]);
}

#[test]
fn two_are_killed_at_once() {
    let mut stage = Stage::set(WATCHED);
    let report = stage.play("two of three are killed at once", usual_load(), |[_, b, c]| {
        b.kill();
        c.kill();
    });
    stage.assert_kept(&report, &["b", "c"]);
}

/// Each death may cost the POST that is under way; with fewer POSTs, seven deaths do not cost three of them by chance.
#[test]
fn one_flaps() {
    let mut stage = Stage::set(WATCHED);
    let load = Load::steady(300, Duration::from_secs(6)).with_posts(10);
    let report = stage.play("one is killed and started every 300 ms", load, |[_, b, _]| {
        for _ in 0..7 {
            b.kill();
            pause(300);
            b.restart();
            pause(300);
        }
    });
    stage.assert_kept(&report, &["b"]);
}

/// There is nobody to ask, and still nothing needs to fail: whoever comes waits for the first server that is back.
#[test]
fn all_are_dead_for_two_seconds() {
    let patient = format!("{WATCHED}, limits: {{pending: 2000, pending_timeout: 5s}}");
    let mut stage = Stage::set(&patient);
    let load = Load::steady(300, Duration::from_secs(6));
    let report = stage.play("all are dead for two seconds", load, |servers| {
        servers.iter_mut().for_each(Server::kill);
        pause(2000);
        servers.iter_mut().for_each(Server::restart);
    });
    stage.assert_kept(&report, &["a", "b", "c"]);
}
