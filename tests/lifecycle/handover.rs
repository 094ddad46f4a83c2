//! A worker is replaced: because it was upgraded, or because it crashed. All with the built binary, under the traffic of many
//! kinds of clients.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::support::lifecycle::Lifecycle;
use crate::support::server::{Server, doubled_posts};
use crate::support::traffic::{Events, Harm, Traffic};
use crate::support::{Tetap, built, proc, until};

fn servers() -> [Server; 2] {
    ["a", "b"].map(Server::start)
}

fn before(servers: &[Server; 2], process: &str) -> Tetap {
    Tetap::supervised_to(&servers.each_ref().map(Server::address), process)
}

/// The event so often under load, in front of two servers.
fn under_load(process: &str, times: usize, event: impl Fn(&mut Tetap) -> Result<(), String>) -> Events {
    let servers = servers();
    let mut tetap = before(&servers, process);
    let address = Tetap::address(&tetap, "web");
    let events = Traffic::mixed().during(address, times, || event(&mut tetap));
    assert_eq!(doubled_posts(&servers), Vec::<String>::new(), "nothing is answered twice");
    events
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A copy of the executable that is bad in this way.
fn bad(tetap: &Tetap, how: &str) -> PathBuf {
    let path = tetap.dir().join(how);
    std::fs::copy(built("examples/bad_worker"), &path).unwrap();
    path
}

fn upgrade_to(tetap: &Tetap, binary: &std::path::Path) -> Output {
    tetap.command(&["upgrade", "--json", "--binary", binary.to_str().unwrap()])
}

#[test]
fn nobody_notices_20_upgrades() {
    let events = under_load("probation: 300ms, drain_timeout: 20s", 20, Lifecycle::upgrade);
    events.assert_unnoticed();
    assert!(events.toll.sent > 2000, "{events}");
}

#[test]
fn ten_crashes_refuse_nobody_and_harm_only_what_was_under_way() {
    let events = under_load("drain_timeout: 20s", 10, |tetap| {
        tetap.crash()?;
        until("it has served for a second", || {
            let status: Value = serde_json::from_slice(&tetap.command(&["status", "--json"]).stdout).unwrap();
            status["workers"][0]["seconds"].as_u64() >= Some(1)
        });
        Ok(())
    });
    assert!(events.broken.is_none(), "{events}");
    let harmless = [Harm::Refused, Harm::Error, Harm::Wrong, Harm::Late];
    assert_eq!(harmless.map(|harm| events.toll.count(harm)), [0; 4], "{events}");
}

/// Five kinds of bad executable, and one that is none at all.
#[test]
fn a_bad_upgrade_harms_nobody_and_says_why() {
    let servers = servers();
    let tetap = before(&servers, "ready_timeout: 2s, probation: 1s, drain_timeout: 20s");
    let worker = tetap.workers();
    let none = tetap.dir().join("none");
    std::fs::write(&none, "this is a letter").unwrap();
    let letter = tetap.dir().join("letter");
    std::fs::write(&letter, "this is a letter").unwrap();
    std::fs::set_permissions(&letter, std::fs::Permissions::from_mode(0o755)).unwrap();
    let pipe = tetap.dir().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let cases = [
        (none, 1, "Permission denied"),
        (letter, 1, "cannot be started"),
        (pipe, 1, "no file"),
        (bad(&tetap, "ends"), 1, "ended with status 3"),
        (bad(&tetap, "hangs"), 1, "not ready within 2s"),
        (bad(&tetap, "rejects"), 2, "found a listener, expected none"),
        (bad(&tetap, "babbles"), 1, "not ready within 2s"),
        (tetap.dir().join("nowhere"), 1, "No such file"),
    ];
    let mut outcomes = cases.iter().map(|(binary, ..)| upgrade_to(&tetap, binary));
    let mut results = Vec::new();
    let events = Traffic::mixed().during(tetap.address("web"), cases.len(), || {
        results.extend(outcomes.next());
        Ok(())
    });
    for (output, (binary, status, why)) in results.iter().zip(&cases) {
        assert_eq!(output.status.code(), Some(*status), "{binary:?}: {}", told(output));
        assert!(told(output).contains(why), "{binary:?}: {}", told(output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["outcome"], "failed", "{binary:?}");
    }
    assert_eq!(tetap.workers(), worker, "the same process serves");
    events.assert_unnoticed();
    tetap.wait_for_metric("tetap_upgrades_total", &["outcome=\"failed\""], cases.len() as f64);
}

#[test]
fn an_upgrade_that_crashes_after_three_seconds_is_taken_back() {
    let servers = servers();
    let tetap = before(&servers, "probation: 10s, drain_timeout: 20s");
    let crashing = bad(&tetap, "crashes");
    let mut output = None;
    let events = Traffic::mixed().during(tetap.address("web"), 1, || {
        output = Some(upgrade_to(&tetap, &crashing));
        Ok(())
    });
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["outcome"], "rolled_back", "{report}");
    assert!(report["reason"].as_str().unwrap().contains("signal 6"), "{report}");
    let harmless = [Harm::Refused, Harm::Error, Harm::Wrong, Harm::Late];
    assert_eq!(harmless.map(|harm| events.toll.count(harm)), [0; 4], "{events}");
    let worker = tetap.workers();
    let running = std::fs::read_link(format!("/proc/{}/exe", worker[0])).unwrap();
    assert_eq!((worker.len(), running), (1, built("tetap").canonicalize().unwrap()));
}

fn status(tetap: &Tetap) -> Value {
    serde_json::from_slice(&tetap.command(&["status", "--json"]).stdout).unwrap()
}

fn runs(id: u32) -> PathBuf {
    std::fs::read_link(format!("/proc/{id}/exe")).unwrap()
}

/// A copy of the proxy itself.
fn copy(tetap: &Tetap, name: &str) -> PathBuf {
    let path = tetap.dir().join(name);
    std::fs::copy(built("tetap"), &path).unwrap();
    path
}

#[test]
fn after_an_upgrade_the_same_process_runs_the_new_program_and_can_do_all_that_it_could() {
    let servers = servers();
    let mut tetap = before(&servers, "probation: 100ms, drain_timeout: 20s");
    for name in ["second", "third"] {
        let program = copy(&tetap, name);
        let output = upgrade_to(&tetap, &program);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        until("the supervisor is the new program", || runs(tetap.id()) == program);
        until("so is its only worker", || matches!(tetap.workers()[..], [worker] if runs(worker) == program));
        std::fs::remove_file(&program).unwrap(); // it is kept open, whatever becomes of its path
        tetap.crash().unwrap();
        tetap.reload().unwrap();
        assert_eq!(tetap.get("/items/1?bytes=10&shape=length").status, 200);
    }
    let history = &status(&tetap)["history"];
    assert_eq!((&history["upgrades"], &history["crashes"]), (&2.into(), &2.into()), "{history}");
    tetap.signal("TERM");
    assert_eq!(tetap.wait(), Some(0));
}

#[test]
fn a_worker_of_a_later_version_serves_under_this_supervisor_and_is_followed_by_one_of_this() {
    let servers = servers();
    let tetap = before(&servers, "probation: 100ms, drain_timeout: 20s");
    let newer = bad(&tetap, "newer");
    let output = upgrade_to(&tetap, &newer);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    until("its worker is alone", || matches!(tetap.workers()[..], [worker] if runs(worker) == newer));
    assert_eq!(tetap.get("/items/1?bytes=10&shape=length").status, 200);
    until("it was asked whether it would go on from here", || {
        tetap.log().contains("does not understand its state")
    });
    assert_eq!(runs(tetap.id()), built("tetap").canonicalize().unwrap());
    let program = copy(&tetap, "this");
    assert_eq!(upgrade_to(&tetap, &program).status.code(), Some(0));
    until("the supervisor is this program", || runs(tetap.id()) == program);
}

/// Well by its own account: what shows is only that its clients are answered worse.
#[test]
fn an_upgrade_that_answers_clearly_worse_is_taken_back_with_its_configuration() {
    let server = Server::start("a");
    let to = |address: std::net::SocketAddr| {
        format!(
            "process: {{probation: 10s, drain_timeout: 20s}}\n{}",
            crate::support::tetap::routed_to("", &[address], "limits: {pending_timeout: 10ms}")
        )
    };
    let mut tetap = Tetap::supervised(&to(server.address()));
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], crate::support::free_port()));
    tetap.configure(&to(nobody));
    let traffic = Traffic::none().fresh(4).start(tetap.address("web"));
    let output = tetap.command(&["upgrade", "--json"]);
    drop(traffic.stop());
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["outcome"], "rolled_back", "{report}");
    assert!(report["reason"].as_str().unwrap().contains("requests failed"), "{report}");
    assert_eq!(tetap.get("/items/1?bytes=10&shape=length").status, 200, "by the configuration from before");
}

/// The second one was refused, and took the first one's executable along.
#[test]
fn an_upgrade_during_probation_is_refused_and_takes_nothing_away() {
    let servers = servers();
    let mut tetap = before(&servers, "probation: 2s, drain_timeout: 20s");
    let program = copy(&tetap, "second");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| upgrade_to(&tetap, &program));
        until("it is on probation", || tetap.workers().iter().any(|worker| runs(*worker) == program));
        let second = tetap.command(&["upgrade"]);
        assert!(told(&second).contains("under way"), "{}", told(&second));
        assert_eq!(first.join().unwrap().status.code(), Some(0));
    });
    until("the supervisor is the new program", || runs(tetap.id()) == program);
    tetap.crash().unwrap();
    assert_eq!(tetap.get("/items/1?bytes=10&shape=length").status, 200);
    assert_eq!(status(&tetap)["history"]["upgrades_failed"], 0, "it was not even begun");
}

#[test]
fn a_signal_in_the_middle_of_it_is_heard_by_one_or_the_other() {
    let servers = servers();
    for _ in 0..5 {
        let mut tetap = before(&servers, "probation: 1ms, drain_timeout: 5s");
        let output = tetap.command(&["upgrade"]);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        std::thread::sleep(std::time::Duration::from_millis(fastrand::u64(0..40))); // any moment is as good as another
        tetap.signal("TERM");
        assert_eq!(tetap.wait(), Some(0));
    }
}

#[test]
fn a_stop_while_a_successor_is_on_its_way_is_a_stop() {
    let servers = servers();
    let mut tetap = before(&servers, "ready_timeout: 30s");
    let hanging = bad(&tetap, "hangs");
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| upgrade_to(&tetap, &hanging));
        until("the successor is on its way", || tetap.workers().len() == 2);
        tetap.signal("TERM");
        let output = upgrade.join().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        assert!(told(&output).contains("stopping"), "{}", told(&output));
    });
    assert_eq!(tetap.wait(), Some(0));
}

#[test]
fn a_worker_whose_supervisor_is_killed_finishes_and_leaves_the_addresses() {
    let servers = servers();
    let mut tetap = before(&servers, "drain_timeout: 20s");
    let worker = tetap.workers()[0];
    let mut client = tetap.client();
    client.send("GET /download/1?bytes=65536&millis=1000 HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request is under way", || tetap.metrics().sum("tetap_upstream_in_flight", &[]) == 1.0);
    tetap.signal("KILL");
    tetap.wait();
    until("nobody listens there", || std::net::TcpListener::bind(tetap.address("web")).is_ok());
    assert_eq!(client.read_answer().status, 200);
    drop(client);
    until("the worker has ended", || !proc::is_alive(worker));
}

/// New clients were left waiting for the last old one.
#[test]
fn while_it_stops_new_clients_are_refused_and_a_second_stop_waits_for_the_first() {
    let servers = servers();
    let mut tetap = before(&servers, "drain_timeout: 20s");
    let mut client = tetap.client();
    client.send("GET /download/1?bytes=65536&millis=2000 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    until("the request is under way", || tetap.metrics().sum("tetap_upstream_in_flight", &[]) == 1.0);
    std::thread::scope(|scope| {
        let stops = [(); 2].map(|()| scope.spawn(|| tetap.command(&["stop"])));
        until("new clients are refused", || {
            let refused = std::net::TcpStream::connect_timeout(
                &tetap.address("web"),
                std::time::Duration::from_millis(100),
            );
            refused.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
        });
        let answer = client.read_answer();
        assert_eq!((answer.status, answer.body.len()), (200, 65536));
        for stop in stops {
            let output = stop.join().unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        }
    });
    assert_eq!(tetap.wait(), Some(0));
}

/// A worker that was to replace another refused to serve, because its log could not be opened.
#[test]
fn a_crash_while_the_log_cannot_be_written_is_survived_without_a_log() {
    let yaml = "access_log: {format: json, output: \"{dir}/logs/access.log\"}
routes: [{match: {path: {prefix: /}}, respond: {body: x}}]";
    let place = crate::support::tetap::Place::new().supervised();
    std::fs::create_dir(place.path("logs")).unwrap();
    let mut tetap = Tetap::start_in(place, yaml);
    std::fs::remove_dir_all(tetap.dir().join("logs")).unwrap();
    tetap.crash().unwrap();
    assert_eq!(tetap.get("/").text(), "x");
    assert!(tetap.log().contains("without one, until the next reload"), "{}", tetap.log());
    assert_eq!(tetap.command(&["reload"]).status.code(), Some(1), "it cannot be written still");
    std::fs::create_dir(tetap.dir().join("logs")).unwrap();
    assert_eq!(tetap.command(&["reload"]).status.code(), Some(0));
    assert_eq!(tetap.get("/").text(), "x");
    until("it is written again", || {
        std::fs::read_to_string(tetap.dir().join("logs/access.log")).is_ok_and(|log| !log.is_empty())
    });
}

/// They ended it, before it could hear them.
#[test]
fn signals_at_the_start_are_heard_when_they_can_be() {
    let mut place = crate::support::tetap::Place::new().supervised();
    let mut process = place.launch("routes: [{match: {path: {prefix: /}}, respond: {body: x}}]");
    // Before its first instruction nobody can.
    let (id, hangup) = (process.id(), 1);
    until("it holds signals back, or hears them", || {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let masks = status.lines().filter(|line| line.starts_with("SigBlk:") || line.starts_with("SigCgt:"));
        let mask = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1).unwrap_or_default(), 16);
        masks.filter_map(|line| mask(line).ok()).any(|mask| mask & hangup != 0)
    });
    for signal in ["HUP", "USR2", "HUP", "TERM"] {
        process.signal(signal);
    }
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn signals_to_the_worker_do_not_end_it() {
    let servers = servers();
    let mut tetap = before(&servers, "drain_timeout: 20s");
    let worker = tetap.workers();
    for signal in ["TERM", "INT", "HUP", "USR2"] {
        proc::signal(worker[0], signal);
    }
    assert_eq!(tetap.get("/items/1?bytes=10&shape=length").status, 200);
    assert_eq!(tetap.workers(), worker);
    tetap.signal("INT");
    assert_eq!(tetap.wait(), Some(0));
}

#[test]
fn a_supervised_start_on_a_taken_port_exits_1_and_names_it() {
    let servers = servers();
    let first = before(&servers, "drain_timeout: 20s");
    let port = first.address("web").port();
    let place = crate::support::tetap::Place::new().supervised().with_port("web", port);
    let failure = Tetap::try_start_in(place, "routes: [{match: {path: {prefix: /}}, respond: {body: x}}]");
    assert_eq!(failure.status.code(), Some(1), "{}", failure.stderr);
    assert!(failure.stderr.contains("listener web"), "{}", failure.stderr);
    assert!(failure.stderr.contains(&port.to_string()), "{}", failure.stderr);
}
