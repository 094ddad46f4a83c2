//! Another configuration is gone over to: all of it, or nothing.

use std::net::TcpStream;
use std::process::Output;

use serde_json::Value;

use crate::support::lifecycle::Lifecycle;
use crate::support::server::Server;
use crate::support::traffic::Traffic;
use crate::support::{Client, Tetap, until};

const ONE: &str = "routes: [{match: {path: {prefix: /}}, respond: {body: one}}]";
const TWO: &str = "routes: [{match: {path: {prefix: /}}, respond: {body: two}}]";

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn done(tetap: &Tetap, arguments: &[&str]) {
    let output = tetap.command(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
}

fn status(tetap: &Tetap) -> Value {
    serde_json::from_slice(&tetap.command(&["status", "--json"]).stdout).unwrap()
}

#[test]
fn nobody_notices_50_reloads() {
    let servers = ["a", "b"].map(Server::start);
    let mut tetap = Tetap::supervised_to(&servers.each_ref().map(Server::address), "drain_timeout: 20s");
    let worker = tetap.workers();
    let events = Traffic::mixed().during(tetap.address("web"), 50, || tetap.reload());
    events.assert_unnoticed();
    assert!(events.toll.sent > 2000, "{events}");
    assert_eq!(events.toll.told_to_go, 0, "connections of what did not change live on: {events}");
    assert_eq!(tetap.workers(), worker, "in place");
    tetap.wait_for_metric("tetap_reloads_total", &["outcome=\"done\""], 50.0);
}

#[test]
fn a_kept_connection_is_answered_by_the_new_configuration_after_a_reload_by_command_and_by_signal() {
    let mut tetap = Tetap::supervised(ONE);
    let mut client = tetap.client();
    assert_eq!(client.get("/").text(), "one");
    tetap.configure(TWO);
    done(&tetap, &["reload"]);
    assert_eq!(client.get("/").text(), "two");
    tetap.configure(ONE);
    tetap.signal("HUP");
    until("the signal was heard", || tetap.client().get("/").text() == "one");
    assert_eq!(client.get("/").text(), "one");
    assert_eq!(status(&tetap)["history"]["reloads"], 2);
}

#[test]
fn a_faulty_configuration_changes_nothing_and_is_told_as_check_does() {
    let mut tetap = Tetap::supervised(ONE);
    tetap.configure("routes: [{match: {path: {prefix: /}}, respnd: {body: two}}]");
    let (reload, check) = (tetap.command(&["reload"]), tetap.command(&["check"]));
    assert_eq!((reload.status.code(), check.status.code()), (Some(2), Some(2)));
    assert!(told(&reload).contains(told(&check).trim()), "{}\n{}", told(&reload), told(&check));
    assert_eq!(tetap.get("/").text(), "one");
    tetap.wait_for_metric("tetap_config_last_reload_successful", &[], 0.0);
    tetap.wait_for_metric("tetap_reloads_total", &["outcome=\"refused\""], 1.0);
    tetap.configure(TWO);
    done(&tetap, &["reload"]);
    tetap.wait_for_metric("tetap_config_last_reload_successful", &[], 1.0);
}

#[test]
fn a_pipe_instead_of_the_file_is_waited_for_by_nobody() {
    let mut tetap = Tetap::supervised(ONE);
    let config = tetap.dir().join("tetap.yaml");
    std::fs::remove_file(&config).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&config).status().unwrap().success());
    // By the socket, since the command itself would wait for the pipe, as any program does that is told to read it.
    let sockets: Vec<_> =
        std::fs::read_dir(tetap.dir().join("control")).unwrap().map(|it| it.unwrap().path()).collect();
    let output = std::process::Command::new(crate::support::built("tetap"))
        .args(["reload", "--control"])
        .arg(&sockets[0])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("no regular file"), "{}", told(&output));
    std::fs::remove_file(&config).unwrap();
    tetap.configure(TWO);
    done(&tetap, &["reload"]);
    assert_eq!(tetap.get("/").text(), "two");
}

/// The command did not find the proxy, since the file that says where it is was broken.
#[test]
fn a_file_that_is_no_yaml_at_all_is_told_where_the_file_says_where_commands_go() {
    let with = |rest: &str| format!("process: {{control: \"{{dir}}/own/c.sock\"}}\n{rest}");
    let mut tetap = Tetap::supervised(&with(ONE));
    tetap.configure(&with("routes: [\n  - x: [}\n"));
    let output = tetap.command(&["reload"]);
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("tetap.yaml:"), "{}", told(&output));
    assert_eq!(tetap.get("/").text(), "one");
}

#[test]
fn a_crash_after_the_file_was_spoilt_is_survived() {
    let mut tetap = Tetap::supervised(ONE);
    tetap.configure("routes: nonsense");
    tetap.crash().unwrap();
    assert_eq!(tetap.get("/").text(), "one");
}

/// A configuration with these listeners on ports of these names, and everything else the same.
fn listening(names: &[&str], body: &str) -> String {
    let listed = names.iter().map(|name| format!("{{name: {name}, address: \"127.0.0.1:{{port:{name}}}\"}}"));
    let listed: Vec<String> = listed.collect();
    format!(
        "listeners: [{}]\nroutes: [{{match: {{path: {{prefix: /}}}}, respond: {{body: {body}}}}}]",
        listed.join(", ")
    )
}

#[test]
fn listeners_come_and_go_and_those_who_stay_do_not_notice() {
    let mut tetap = Tetap::supervised(&listening(&["web"], "one"));
    let mut stays = tetap.client();
    assert_eq!(stays.get("/").text(), "one");
    tetap.configure(&listening(&["web", "more"], "two"));
    done(&tetap, &["reload"]);
    let mut comes = Client::connect(tetap.address("more"));
    assert_eq!((comes.get("/").text().as_str(), stays.get("/").text().as_str()), ("two", "two"));
    tetap.configure(&listening(&["web"], "three"));
    done(&tetap, &["reload"]);
    until("its clients are told to go", || {
        let answer = comes.get("/");
        assert_eq!(answer.text(), "three");
        answer.head.one("connection") == Some("close")
    });
    until("nobody listens there", || TcpStream::connect(tetap.address("more")).is_err());
    assert_eq!(stays.get("/").text(), "three");
    tetap.crash().unwrap();
    assert_eq!(tetap.get("/").text(), "three", "a worker that is started now has the same sockets");
}

#[test]
fn what_a_reload_leaves_is_in_no_metric() {
    let server = Server::start("a");
    let with = |name: &str| {
        format!(
            "listeners: [{{name: {name}-door, address: \"127.0.0.1:{{port:web}}\"}}]
upstreams: {{{name}-servers: {{endpoints: [\"{}\"]}}}}
routes: [{{name: {name}-route, match: {{path: {{prefix: /}}}}, upstream: {name}-servers}}]",
            server.address()
        )
    };
    let mut tetap = Tetap::supervised(&with("old"));
    assert_eq!(tetap.get("/items/1?bytes=10&shape=length").status, 200);
    tetap.configure(&with("new"));
    done(&tetap, &["reload"]);
    assert_eq!(tetap.get("/items/2?bytes=10&shape=length").status, 200);
    until("nothing is left of the old", || !tetap.admin("/metrics").text().contains("old-"));
    for name in ["new-door", "new-servers", "new-route"] {
        assert!(tetap.admin("/metrics").text().contains(name), "{name}");
    }
}

#[test]
fn a_port_in_use_changes_nothing() {
    let mut tetap = Tetap::supervised(&listening(&["web"], "one"));
    tetap.configure(&listening(&["web", "free", "taken"], "two"));
    let taken = std::net::TcpListener::bind(tetap.address("taken")).unwrap();
    let output = tetap.command(&["reload"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("listener taken"), "{}", told(&output));
    assert!(TcpStream::connect(tetap.address("free")).is_err(), "all or nothing");
    assert_eq!(tetap.get("/").text(), "one");
    drop(taken);
    done(&tetap, &["reload"]);
    assert_eq!(Client::connect(tetap.address("taken")).get("/").text(), "two");
}

#[test]
fn a_listener_with_other_bounds_keeps_its_socket() {
    let with = |count: usize| {
        format!(
            "listeners: [{{name: web, address: \"127.0.0.1:{{port:web}}\", limits: {{header_count: {count}}}}}]\n{ONE}"
        )
    };
    let mut tetap = Tetap::supervised(&with(100));
    let mut client = tetap.client();
    assert_eq!(client.get("/").text(), "one");
    tetap.configure(&with(3));
    done(&tetap, &["reload"]);
    assert_eq!(client.get("/").head.one("connection"), Some("close"), "its bounds are the old ones");
    let mut client = tetap.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n");
    assert_eq!(client.read_answer().status, 431);
}

#[test]
fn other_threads_take_another_process_and_nobody_notices() {
    let servers = ["a", "b"].map(Server::start);
    let addresses = servers.each_ref().map(Server::address);
    let text = |threads: usize| {
        let routed = crate::support::tetap::routed_to("", &addresses, "");
        format!("process: {{threads: {threads}, drain_timeout: 20s}}\n{routed}")
    };
    let mut tetap = Tetap::supervised(&text(1));
    let worker = tetap.workers();
    tetap.configure(&text(2));
    let events = Traffic::mixed().during(tetap.address("web"), 1, || tetap.reload());
    events.assert_unnoticed();
    until("the old worker has ended", || tetap.workers().len() == 1);
    assert_ne!(tetap.workers(), worker);
}

#[test]
fn the_admin_address_can_be_another() {
    let at = |name: &str| format!("admin: {{address: \"127.0.0.1:{{port:{name}}}\"}}\n{ONE}");
    let mut tetap = Tetap::supervised(&at("admin"));
    tetap.configure(&at("other"));
    done(&tetap, &["reload"]);
    assert_eq!(Client::connect(tetap.address("other")).get("/ready").status, 200);
    until("nobody answers at the old one", || TcpStream::connect(tetap.address("admin")).is_err());
}

#[test]
fn a_log_that_was_moved_away_is_begun_anew() {
    let tetap = Tetap::supervised(ONE);
    assert_eq!(tetap.get("/first").status, 200);
    tetap.access_log(1);
    std::fs::rename(tetap.dir().join("access.log"), tetap.dir().join("access.log.1")).unwrap();
    done(&tetap, &["reload"]);
    assert_eq!(tetap.get("/second").status, 200);
    let lines = tetap.access_log(1);
    assert_eq!((lines.len(), &lines[0]["target"]), (1, &Value::from("/second")));
    assert_eq!(lines[0]["generation"], 2);
}

fn plan(tetap: &Tetap) -> Value {
    let output = tetap.command(&["plan", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What is seen of a reload, in the words of a plan: by a client with a kept connection, and by who runs the workers.
fn seen(tetap: &Tetap, text: &str, reload: impl FnOnce(&Tetap)) -> &'static str {
    let worker = tetap.workers();
    let mut kept = tetap.client();
    assert_eq!(kept.get("/").text(), text);
    reload(tetap);
    let told_to_go = kept.get("/").head.one("connection") == Some("close");
    until("one worker is left", || tetap.workers().len() == 1);
    match (tetap.workers() == worker, told_to_go) {
        (true, false) => "in_place",
        (true, true) => "listener",
        (false, _) => "swap",
    }
}

#[test]
fn a_plan_tells_the_truth() {
    let base = "listeners: [{name: web, address: \"127.0.0.1:{port:web}\"}]";
    let tight = "listeners: [{name: web, address: \"127.0.0.1:{port:web}\", limits: {header_count: 50}}]";
    let cases = [
        (format!("{base}\n{TWO}"), "in_place", "routes.route-1"),
        (format!("{base}\n{TWO}\ntrusted_proxies: [10.0.0.0/8]"), "in_place", "trusted_proxies"),
        (format!("{tight}\n{TWO}\ntrusted_proxies: [10.0.0.0/8]"), "listener", "listeners.web"),
        (
            format!("{tight}\n{TWO}\ntrusted_proxies: [10.0.0.0/8]\nprocess: {{threads: 3}}"),
            "swap",
            "process.threads",
        ),
        (
            format!("{base}\n{TWO}\ntrusted_proxies: [10.0.0.0/8]\nprocess: {{threads: 3}}"),
            "listener",
            "listeners.web",
        ),
        (
            format!("{base}\n{TWO}\nprocess: {{threads: 3, drain_timeout: 7s}}"),
            "in_place",
            "process.drain_timeout",
        ),
    ];
    let mut tetap = Tetap::supervised(&format!("{base}\n{ONE}"));
    let mut text = "one";
    for (yaml, cost, place) in cases {
        tetap.configure(&yaml);
        let plan = plan(&tetap);
        let places: Vec<&str> =
            plan["changes"].as_array().unwrap().iter().filter_map(|it| it["place"].as_str()).collect();
        assert_eq!(plan["cost"], cost, "{plan}");
        assert!(places.contains(&place), "{plan}");
        assert_eq!(tetap.get("/").text(), text, "a plan changes nothing");
        let told = seen(&tetap, text, |tetap| done(tetap, &["reload"]));
        assert_eq!(told, cost, "{yaml}\n{plan}");
        text = "two";
        assert_eq!(self::plan(&tetap)["cost"], Value::Null, "and then there is nothing to do");
    }
}

#[test]
fn a_plan_of_a_faulty_file_tells_the_faults() {
    let mut tetap = Tetap::supervised(ONE);
    tetap.configure("routes: [{match: {path: {prefix: /}}, respnd: {body: two}}]");
    let output = tetap.command(&["plan"]);
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("respnd"), "{}", told(&output));
}

#[test]
fn what_nobody_confirms_is_gone_back_from() {
    let mut tetap = Tetap::supervised(ONE);
    assert_eq!(tetap.command(&["confirm"]).status.code(), Some(1), "there is nothing to confirm");
    tetap.configure(TWO);
    done(&tetap, &["reload", "--confirm", "1s"]);
    assert_eq!(tetap.get("/").text(), "two");
    assert!(status(&tetap)["confirm_within"].is_u64());
    let refused = tetap.command(&["upgrade"]);
    assert!(told(&refused).contains("waits to be confirmed"), "{}", told(&refused));
    until("it is gone back from", || tetap.get("/").text() == "one");
    tetap.wait_for_metric("tetap_config_last_reload_successful", &[], 0.0);
    assert!(tetap.log().contains("nobody has confirmed"), "{}", tetap.log());
}

#[test]
fn a_signal_does_not_confirm_what_waits_to_be_confirmed() {
    let mut tetap = Tetap::supervised(ONE);
    tetap.configure(TWO);
    done(&tetap, &["reload", "--confirm", "1s"]);
    tetap.signal("HUP");
    tetap.wait_for_metric("tetap_reloads_total", &["outcome=\"done\""], 2.0);
    until("it is gone back from", || tetap.get("/").text() == "one");
}

/// A name that is mistyped was taken for the next worker, so that no crash could be made good.
#[test]
fn another_user_takes_a_restart_and_a_crash_until_then_is_survived() {
    let mut tetap = Tetap::supervised(ONE);
    tetap.configure(&format!("process: {{user: nemo-nobody}}\n{TWO}"));
    assert_eq!(plan(&tetap)["cost"], "restart");
    done(&tetap, &["reload"]);
    tetap.crash().unwrap();
    assert_eq!(tetap.get("/").text(), "two");
}

#[test]
fn a_port_can_be_left_and_taken_again_at_once() {
    let mut tetap = Tetap::supervised(&listening(&["web", "more"], "one"));
    for _ in 0..3 {
        tetap.configure(&listening(&["web"], "two"));
        done(&tetap, &["reload"]);
        tetap.configure(&listening(&["web", "more"], "three"));
        done(&tetap, &["reload"]);
        assert_eq!(Client::connect(tetap.address("more")).get("/").text(), "three");
    }
}

#[test]
fn three_hundred_listeners_are_reloaded_upgraded_and_survive_a_crash() {
    let names: Vec<String> = (0..300).map(|number| format!("l{number}")).collect();
    let all: Vec<&str> = ["web"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let mut tetap =
        Tetap::supervised(&format!("process: {{probation: 100ms}}\n{}", listening(&all[..1], "one")));
    tetap.configure(&format!("process: {{probation: 100ms}}\n{}", listening(&all, "two")));
    done(&tetap, &["reload"]);
    let served =
        |tetap: &Tetap| all.iter().all(|name| Client::connect(tetap.address(name)).get("/").text() == "two");
    assert!(served(&tetap));
    tetap.upgrade().unwrap();
    assert!(served(&tetap));
    tetap.crash().unwrap();
    assert!(served(&tetap));
}

#[test]
fn what_is_confirmed_stays_and_what_took_another_process_is_gone_back_from_by_another() {
    let mut tetap = Tetap::supervised(ONE);
    tetap.configure(&format!("process: {{threads: 3}}\n{TWO}"));
    done(&tetap, &["reload", "--confirm", "1s"]);
    let other = tetap.workers();
    assert_eq!(tetap.get("/").text(), "two");
    until("it is gone back from", || tetap.get("/").text() == "one");
    until("by another process", || tetap.workers().len() == 1 && tetap.workers() != other);
    tetap.configure(TWO);
    done(&tetap, &["reload", "--confirm", "1s"]);
    done(&tetap, &["confirm"]);
    assert_eq!(
        status(&tetap)["confirm_within"],
        Value::Null,
        "there is nothing that would be gone back from"
    );
    done(&tetap, &["reload"]);
    assert_eq!(
        (status(&tetap)["confirm_within"].clone(), tetap.get("/").text().as_str()),
        (Value::Null, "two")
    );
}

#[test]
fn a_file_that_is_watched_is_reloaded_when_it_has_changed_and_a_faulty_one_is_told_once() {
    let watched = |rest: &str| format!("process: {{watch: true}}\n{rest}");
    let mut tetap = Tetap::supervised(&watched(ONE));
    tetap.configure(&watched(TWO));
    until("it has noticed", || tetap.get("/").text() == "two");
    tetap.configure(&watched("routes: nonsense"));
    until("it was refused", || tetap.metrics().sum("tetap_reloads_total", &["outcome=\"refused\""]) > 0.0);
    tetap.configure(&watched(ONE));
    until("it has noticed", || tetap.get("/").text() == "one");
    assert_eq!(tetap.metrics().sum("tetap_reloads_total", &["outcome=\"refused\""]), 1.0);
}

/// Needs root, as the supervisor does that changes users.
#[test]
fn a_worker_runs_as_its_user_and_the_supervisor_does_not() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can run workers as somebody else");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let place = crate::support::tetap::Place::new().supervised();
    std::fs::set_permissions(place.path("."), std::fs::Permissions::from_mode(0o777)).unwrap();
    let tetap = Tetap::start_in(place, &format!("process: {{user: nobody}}\n{ONE}"));
    let uid = |id: u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = |key: &str| status.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
        let numbers = |line: String| line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>();
        (numbers(line("Uid:")), numbers(line("Groups:")))
    };
    let (uids, groups) = uid(tetap.workers()[0]);
    assert!(uids.iter().all(|id| id == "65534"), "{uids:?}");
    assert_eq!(groups, Vec::<String>::new());
    assert_eq!(uid(tetap.id()).0[0], "0");
    assert_eq!(tetap.get("/").text(), "one");
    done(&tetap, &["upgrade"]);
}

#[test]
fn a_user_that_there_is_not_is_told() {
    let place = crate::support::tetap::Place::new().supervised();
    let failure = Tetap::try_start_in(place, &format!("process: {{user: nemo-nobody}}\n{ONE}"));
    assert_eq!(failure.status.code(), Some(1), "{}", failure.stderr);
    assert!(failure.stderr.contains("there is no user \"nemo-nobody\""), "{}", failure.stderr);
}
