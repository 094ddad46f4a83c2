//! An executable that a proxy must not go over to, or one that is other than itself. In what way is said by its name.
#![allow(clippy::expect_used, clippy::panic)]

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tetap::supervisor::control;
use tetap::wire::{Channel, PROTOCOL, Report};

fn main() -> ExitCode {
    let name = std::env::current_exe().expect("its own path");
    match name.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
        "ends" => ExitCode::from(3),
        "hangs" => loop {
            std::thread::sleep(Duration::from_secs(60));
        },
        "rejects" => rejects(),
        "crashes" => {
            std::thread::spawn(|| {
                std::thread::sleep(Duration::from_secs(3));
                std::process::abort();
            });
            tetap::cli::main()
        }
        "babbles" => babbles(),
        "newer" => newer(),
        "drops" => drops(),
        other => panic!("nothing is known to be wrong with {other}"),
    }
}

fn channel() -> OwnedFd {
    std::io::stdin().as_fd().try_clone_to_owned().expect("a descriptor")
}

fn tell(reports: &[Report]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let channel = Channel::new(channel()).expect("a supervisor");
        for report in reports {
            channel.send(report, &[]).await.expect("a supervisor that listens");
        }
    });
}

/// Says of a good configuration that it is none.
fn rejects() -> ExitCode {
    let reason = "tetap.yaml:1:1: found a listener, expected none".to_owned();
    tell(&[
        Report::Hello { protocol: PROTOCOL, version: "0.0.0-rejects".into() },
        Report::Failed { reason, usage: true },
    ]);
    ExitCode::SUCCESS
}

/// Says what nobody asked, and that it serves.
fn babbles() -> ExitCode {
    tell(&[
        Report::Serving,
        Report::Closed,
        Report::Answer { id: 7, health: tetap::wire::Health::default() },
    ]);
    rustix::net::send(channel(), b"GET / HTTP/1.1\r\n\r\n", rustix::net::SendFlags::empty())
        .expect("a supervisor");
    std::thread::sleep(Duration::from_secs(60));
    ExitCode::SUCCESS
}

/// A later version: it says more than this one understands, and does not go on from what this one's supervisor leaves.
fn newer() -> ExitCode {
    if std::env::args().any(|word| word == "--examine") {
        return ExitCode::FAILURE;
    }
    if std::env::args().any(|word| word == "worker") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let channel = Channel::new(channel()).expect("a supervisor");
            let hello =
                serde_json::json!({"is": "hello", "protocol": PROTOCOL, "version": "99.0.0", "sings": true});
            for word in [hello, serde_json::json!({"is": "song", "verses": [1, 2]})] {
                channel.send(&word, &[]).await.expect("a supervisor that listens");
            }
        });
    }
    tetap::cli::main()
}

/// Serves well, but for its end: told to drain, it is gone at once, with all that is under way in it.
fn drops() -> ExitCode {
    let mut words = std::env::args().skip_while(|word| word != "worker");
    if let Some(config) = words.nth(1) {
        let control = control_of(Path::new(&config));
        std::thread::spawn(move || {
            while !is_draining(&control) {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::process::exit(0);
        });
    }
    tetap::cli::main()
}

/// Where the supervisor takes commands that runs by this configuration.
fn control_of(config: &Path) -> PathBuf {
    let text = tetap::config::read_text(config).expect("a configuration");
    let plan = tetap::process::assignment::compile(config, &text).expect("a good one");
    plan.process.control.expect("one that says where")
}

/// Whether this very process is, as its supervisor sees it.
fn is_draining(control: &Path) -> bool {
    let Ok(Some(reply)) = control::ask(control, &control::Request::Status) else { return false };
    let workers = reply.report["workers"].as_array().cloned().unwrap_or_default();
    workers.iter().any(|worker| worker["pid"] == std::process::id() && worker["state"] == "draining")
}
