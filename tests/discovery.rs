//! Finding out who the members are: what sources make of what name servers say and files have in them.
//!
//! Here the sources stand alone, in front of a real socket and a real file; what a proxy makes of them is in the stories.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/lib.rs"]
mod support;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use support::dns::{A, AAAA, Mood, NXDOMAIN, NameServer, SERVFAIL, SRV};
use support::{PATIENCE, until};
use tempfile::TempDir;
use tetap::limits;
use tetap::plan::{Endpoint, Members};
use tetap::upstream::discovery::{Look, Source};

const NAME: &str = "orders.test";
const SERVICE: &str = "_http._tcp.orders.test";
const REFRESH: Duration = Duration::from_secs(300);

/// A source, and the runtime that it runs in.
struct Followed {
    runtime: tokio::runtime::Runtime,
    source: Source,
}

impl Followed {
    fn start(members: &Members) -> Followed {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let source = runtime.block_on(async { Source::of(members) }).unwrap();
        Followed { runtime, source }
    }

    fn name(server: &NameServer, refresh: Duration) -> Followed {
        let resolver = Some(server.address());
        Followed::start(&Members::Dns { name: NAME.to_owned(), port: 80, resolver, refresh })
    }

    fn service(server: &NameServer) -> Followed {
        let resolver = Some(server.address());
        Followed::start(&Members::Srv { name: SERVICE.to_owned(), resolver, refresh: REFRESH })
    }

    fn look(&mut self) -> Look {
        let next = async { tokio::time::timeout(PATIENCE, self.source.next()).await };
        self.runtime.block_on(next).unwrap()
    }

    /// The members of the next look, which are new, and no trouble.
    fn members(&mut self) -> Vec<String> {
        let look = self.look();
        assert_eq!(look.trouble, None);
        shown(look.members.expect("new members"))
    }

    /// The trouble of the next look, which brings nothing new.
    fn trouble(&mut self) -> String {
        let look = self.look();
        assert_eq!(look.members, None);
        look.trouble.expect("a trouble").to_string()
    }

    /// The next look finds what was known.
    fn nothing_new(&mut self) {
        let look = self.look();
        assert!(look.members.is_none() && look.trouble.is_none(), "{look:?}");
    }
}

/// `address`, with `*weight` and `/tier` where they are not the usual ones.
fn shown(members: Vec<Endpoint>) -> Vec<String> {
    let weight = |weight| if weight == 1 { String::new() } else { format!("*{weight}") };
    let tier = |tier| if tier == 0 { String::new() } else { format!("/{tier}") };
    let one = |member: Endpoint| format!("{}{}{}", member.address, weight(member.weight), tier(member.tier));
    members.into_iter().map(one).collect()
}

#[test]
fn both_families_of_a_name_are_its_members() {
    let server = NameServer::start();
    server.set(NAME, 60, &["127.0.0.2", "::1", "127.0.0.1"]);
    let mut source = Followed::name(&server, REFRESH);
    assert_eq!(source.members(), ["127.0.0.1:80", "127.0.0.2:80", "[::1]:80"]);
    let asked = server.asked();
    assert!(asked.iter().all(|asked| asked.name == NAME && !asked.stream), "{asked:?}");
    assert_eq!((server.count(A), server.count(AAAA)), (1, 1));
}

#[test]
fn an_answer_is_good_until_its_shortest_lifetime_is_over() {
    let server = NameServer::start();
    server.set(NAME, 2, &["127.0.0.1"]);
    server.set_alias("alias.test", 1, NAME);
    for (name, ttl, refresh) in [(NAME, 2, REFRESH), ("alias.test", 1, REFRESH), (NAME, 1, REFRESH / 300)] {
        let resolver = Some(server.address());
        let mut source =
            Followed::start(&Members::Dns { name: name.to_owned(), port: 80, resolver, refresh });
        assert_eq!(source.members(), ["127.0.0.1:80"]);
        let began = Instant::now();
        source.nothing_new();
        let took = began.elapsed().as_secs_f64();
        assert!((f64::from(ttl) - 0.1..f64::from(ttl) + 0.7).contains(&took), "{name} {ttl}: {took}");
    }
}

#[test]
fn a_lifetime_of_nothing_is_a_second() {
    let server = NameServer::start();
    server.set(NAME, 0, &["127.0.0.1"]);
    let mut source = Followed::name(&server, REFRESH);
    source.members();
    let began = Instant::now();
    source.nothing_new();
    source.nothing_new();
    assert!(began.elapsed() >= limits::LOOK_UP_PAUSE * 2, "{:?}", began.elapsed());
    assert_eq!(server.count(A), 3);
}

#[test]
fn the_order_of_an_answer_is_no_change() {
    let server = NameServer::start();
    server.set(NAME, 0, &["127.0.0.1", "127.0.0.2"]);
    let mut source = Followed::name(&server, REFRESH);
    source.members();
    server.set(NAME, 0, &["127.0.0.2", "127.0.0.1", "127.0.0.2"]);
    source.nothing_new();
    server.set(NAME, 0, &["127.0.0.2", "127.0.0.3"]);
    assert_eq!(source.members(), ["127.0.0.2:80", "127.0.0.3:80"]);
}

#[test]
fn what_does_not_fit_into_a_datagram_comes_by_tcp() {
    let server = NameServer::start();
    let addresses: Vec<String> = (0..200).map(|n| format!("127.0.{n}.1")).collect();
    server.set(NAME, 60, &addresses.iter().map(String::as_str).collect::<Vec<_>>());
    let found = Followed::name(&server, REFRESH).members();
    assert_eq!(found.len(), 200);
    assert!(server.asked().iter().any(|asked| asked.stream));
}

#[test]
fn a_name_server_that_fails_takes_nothing_away() {
    let server = NameServer::start();
    server.set(NAME, 0, &["127.0.0.1"]);
    let mut source = Followed::name(&server, REFRESH);
    source.members();
    server.be(SERVFAIL);
    assert_eq!(source.trouble(), "A of orders.test: the name server says Server Failure");
    server.be(NXDOMAIN);
    assert_eq!(source.trouble(), "orders.test: no such name");
    server.be(Mood::Helpful);
    server.set(NAME, 0, &[]);
    assert_eq!(source.trouble(), "AAAA of orders.test: nothing that could be used");
    server.set(NAME, 0, &["0.0.0.0", "255.255.255.255", "ff02::1"]);
    assert_eq!(source.trouble(), "AAAA of orders.test: nothing that could be used");
    server.set(NAME, 0, &["127.0.0.1"]);
    source.nothing_new();
}

#[test]
fn a_forged_answer_is_not_believed() {
    let server = NameServer::start();
    server.set(NAME, 60, &["127.0.0.1"]);
    server.be(Mood::Forestalled);
    assert_eq!(Followed::name(&server, REFRESH).members(), ["127.0.0.1:80"]);
}

#[test]
fn silence_lasts_no_longer_than_a_look_up() {
    let server = NameServer::start();
    server.be(Mood::Silent);
    let mut source = Followed::name(&server, REFRESH);
    let began = Instant::now();
    assert_eq!(source.trouble(), "A of orders.test: no answer from the name server within 4s");
    assert!(began.elapsed() < limits::LOOK_UP * 3 / 2, "{:?}", began.elapsed());
    assert!(server.count(A) >= 2, "a lost datagram is sent again");
    server.set(NAME, 60, &["127.0.0.1"]);
    server.be(Mood::Helpful);
    assert_eq!(source.members(), ["127.0.0.1:80"]);
}

#[test]
fn while_one_family_fails_the_other_is_followed() {
    let server = NameServer::start();
    server.set(NAME, 0, &["127.0.0.1", "::1"]);
    server.be_about(AAAA, SERVFAIL);
    let mut source = Followed::name(&server, REFRESH);
    let first = source.look();
    assert_eq!(shown(first.members.unwrap()), ["127.0.0.1:80"], "some are better than none");
    assert_eq!(
        first.trouble.unwrap().to_string(),
        "AAAA of orders.test: the name server says Server Failure"
    );
    server.be_about(AAAA, Mood::Helpful);
    assert_eq!(source.members(), ["127.0.0.1:80", "[::1]:80"]);
    server.be_about(AAAA, SERVFAIL);
    server.set(NAME, 0, &["127.0.0.2"]);
    let second = source.look();
    assert_eq!(shown(second.members.unwrap()), ["127.0.0.2:80", "[::1]:80"], "known ones stay");
    server.be_about(AAAA, Mood::Helpful);
    assert_eq!(source.members(), ["127.0.0.2:80"], "and go when that is said");
}

#[test]
fn more_addresses_than_there_may_be_are_left_out() {
    let server = NameServer::start();
    let addresses: Vec<String> = (0..1100).map(|n| format!("127.{}.{}.1", n / 250, n % 250)).collect();
    server.set(NAME, 60, &addresses.iter().map(String::as_str).collect::<Vec<_>>());
    let look = Followed::name(&server, REFRESH).look();
    assert_eq!(look.members.unwrap().len(), limits::ENDPOINTS);
    assert_eq!(look.trouble.unwrap().to_string(), "found 1100 endpoints, used the first 1000");
}

#[test]
fn services_have_weights_and_tiers() {
    let server = NameServer::start();
    server.set("a.test", 60, &["127.0.0.1"]);
    server.set("b.test", 60, &["127.0.0.2"]);
    server.set("c.test", 60, &["127.0.0.3", "::1"]);
    let services = [
        (10, 3, 81, "a.test"),
        (10, 0, 82, "b.test"),
        (10, 0, 82, "B.test"),
        (30, 65_535, 83, "c.test"),
        (10, 5, 0, "a.test"),
    ];
    server.set_services(SERVICE, 60, &services);
    let found = Followed::service(&server).members();
    assert_eq!(found, ["127.0.0.1:81*3", "127.0.0.2:82", "127.0.0.3:83*1000/1", "[::1]:83*1000/1"]);
    assert_eq!((server.count(SRV), server.count(A)), (1, 3), "each target is looked up once");
}

#[test]
fn a_service_may_have_another_name() {
    let server = NameServer::start();
    server.set("a.test", 60, &["127.0.0.1"]);
    server.set_services("_http._tcp.blue.test", 60, &[(0, 0, 80, "a.test")]);
    server.set_alias("_http._tcp.live.test", 60, "_http._tcp.blue.test");
    server.set_alias(SERVICE, 1, "_http._tcp.live.test");
    let mut source = Followed::service(&server);
    assert_eq!(source.members(), ["127.0.0.1:80"]);
    server.set_services("_http._tcp.green.test", 60, &[(0, 0, 81, "a.test")]);
    server.set_alias(SERVICE, 60, "_http._tcp.green.test");
    assert_eq!(source.members(), ["127.0.0.1:81"], "the lifetime of the alias is over");
}

#[test]
fn aliases_in_a_circle_come_to_an_end() {
    let server = NameServer::start();
    server.set_alias("_http._tcp.live.test", 60, SERVICE);
    server.set_alias(SERVICE, 60, "_http._tcp.live.test");
    assert_eq!(
        Followed::service(&server).trouble(),
        "SRV of _http._tcp.orders.test: nothing that could be used"
    );
}

#[test]
fn a_service_is_asked_for_again_when_the_shortest_lifetime_is_over() {
    let server = NameServer::start();
    for (service, target) in [(1, 300), (300, 1)] {
        server.set("a.test", target, &["127.0.0.1"]);
        server.set_services(SERVICE, service, &[(0, 0, 80, "a.test")]);
        let mut source = Followed::service(&server);
        source.members();
        let began = Instant::now();
        source.nothing_new();
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
}

#[test]
fn a_service_that_is_not_offered_takes_nothing_away() {
    let server = NameServer::start();
    server.set("a.test", 0, &["127.0.0.1"]);
    server.set_services(SERVICE, 0, &[(0, 0, 80, "a.test")]);
    let mut source = Followed::service(&server);
    source.members();
    server.set_services(SERVICE, 0, &[(0, 0, 0, ".")]);
    assert_eq!(source.trouble(), "SRV of _http._tcp.orders.test: the service is not offered");
    server.forget(SERVICE);
    assert_eq!(source.trouble(), "_http._tcp.orders.test: no such name");
}

#[test]
fn a_target_that_is_not_found_keeps_the_others_company() {
    let server = NameServer::start();
    server.set("a.test", 0, &["127.0.0.1"]);
    server.set_services(SERVICE, 0, &[(0, 0, 80, "a.test"), (0, 0, 80, "b.test")]);
    let mut source = Followed::service(&server);
    let first = source.look();
    assert_eq!(shown(first.members.unwrap()), ["127.0.0.1:80"]);
    assert_eq!(first.trouble.unwrap().to_string(), "b.test: no such name");
    server.set("b.test", 0, &["127.0.0.2"]);
    assert_eq!(source.members(), ["127.0.0.1:80", "127.0.0.2:80"]);
    server.forget("a.test");
    assert_eq!(source.trouble(), "a.test: no such name");
    server.set_services(SERVICE, 0, &[(0, 0, 80, "b.test")]);
    assert_eq!(source.members(), ["127.0.0.2:80"], "it is no target any more");
}

#[test]
fn many_targets_are_found_in_time() {
    let server = NameServer::start();
    let names: Vec<String> = (0..200).map(|n| format!("t{n}.test")).collect();
    for (n, name) in names.iter().enumerate() {
        server.set(name, 60, &[&format!("127.0.1.{}", n + 1)]);
    }
    let services: Vec<_> = names.iter().map(|name| (0, 1, 80, name.as_str())).collect();
    server.set_services(SERVICE, 60, &services);
    assert_eq!(Followed::service(&server).members().len(), 200);
}

/// A file of endpoints in a directory of its own.
struct Listed {
    dir: TempDir,
    path: PathBuf,
}

impl Listed {
    fn new() -> Listed {
        let dir = TempDir::new().unwrap();
        Listed { path: dir.path().join("endpoints.yaml"), dir }
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
    }

    fn follow(&self) -> Followed {
        Followed::start(&Members::File { path: self.path.clone(), refresh: Duration::from_millis(20) })
    }

    /// Puts a file or link of this name in the place of the list, at one stroke.
    fn replace_by(&self, name: &str) {
        fs::rename(self.dir.path().join(name), &self.path).unwrap();
    }
}

#[test]
fn a_file_is_a_list_of_endpoints() {
    let list = Listed::new();
    list.write("# who serves\n- 127.0.0.1:80\n- {address: 127.0.0.2:80, weight: 3, tier: 1}\n");
    let mut source = list.follow();
    assert_eq!(source.members(), ["127.0.0.1:80", "127.0.0.2:80*3/1"]);
    list.write("[127.0.0.2:80, 127.0.0.1:80]");
    assert_eq!(source.members(), ["127.0.0.1:80", "127.0.0.2:80"]);
    list.write("[127.0.0.1:80, 127.0.0.2:80]");
    source.nothing_new();
}

#[test]
fn a_file_may_be_replaced_and_links_may_lead_elsewhere() {
    let list = Listed::new();
    list.write("- 127.0.0.1:80\n");
    let mut source = list.follow();
    source.members();
    fs::write(list.dir.path().join("next"), "- 127.0.0.2:80\n").unwrap();
    list.replace_by("next");
    assert_eq!(source.members(), ["127.0.0.2:80"]);
    for (folder, address) in [("one", "127.0.0.3:80"), ("two", "127.0.0.4:80")] {
        let folder = list.dir.path().join(folder);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("list"), format!("- {address}\n")).unwrap();
        std::os::unix::fs::symlink(folder.join("list"), list.dir.path().join("link")).unwrap();
        list.replace_by("link");
        assert_eq!(source.members(), [address]);
    }
}

#[test]
fn a_file_that_is_wrong_takes_nothing_away() {
    let list = Listed::new();
    list.write("- 127.0.0.1:80\n");
    let mut source = list.follow();
    source.members();
    let path = list.path.display().to_string();
    list.write("- 127.0.0.1:80\n- {address: orders:80, weigth: 2}\n");
    let told = source.trouble();
    assert!(told.contains(&format!("{path}:2:13: [1].address: found \"orders:80\"")), "{told}");
    assert!(told.contains(&format!("{path}:2:24: [1].weigth: found an unknown key")), "{told}");
    assert_eq!(source.trouble(), told, "for as long as it is");
    list.write("");
    assert!(source.trouble().starts_with(&path));
    list.write("[]");
    assert!(source.trouble().contains("at least one"));
    list.write("- 127.0.0.1:80\n- 127.0.0.1:80\n");
    assert!(source.trouble().contains("127.0.0.1:80 a second time"));
    list.write(&(0..1001).map(|n| format!("- 127.0.0.1:{}\n", n + 1)).collect::<String>());
    assert!(source.trouble().contains("found a list of 1001 items, expected at most 1000"));
    fs::write(&list.path, b"\xff").unwrap();
    assert_eq!(source.trouble(), format!("{path}: not UTF-8"));
    fs::File::create(&list.path).unwrap().set_len(limits::CONFIG_BYTES as u64 + 1).unwrap();
    assert_eq!(source.trouble(), format!("{path}: larger than 8 MiB"));
    fs::remove_file(&list.path).unwrap();
    assert!(source.trouble().starts_with(&format!("{path}: cannot be read: No such file")));
    fs::create_dir(&list.path).unwrap();
    assert_eq!(source.trouble(), format!("{path}: cannot be read: not a file"));
    fs::remove_dir(&list.path).unwrap();
    list.write("- 127.0.0.1:80\n");
    source.nothing_new();
}

#[test]
fn a_pipe_is_not_waited_for() {
    let list = Listed::new();
    support::run("mkfifo", &[list.path.to_str().unwrap()]);
    assert!(list.follow().trouble().contains("not a file"));
}

/// Writes in place, and for a while no more than half a list; always the same half, so that what is read does not tell
/// that it is being written. Yields the longest pause that it made.
fn write_slowly(path: &std::path::Path) -> Duration {
    let (began, mut written, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    while began.elapsed() < Duration::from_millis(800) {
        fs::write(path, "- 127.0.0.1:80\n- 127.0.0.2:80").unwrap();
        longest = longest.max(written.elapsed());
        written = Instant::now();
        std::thread::sleep(Duration::from_millis(10)); // slow, as a script that prints line by line
    }
    fs::write(path, "- 127.0.0.1:80\n- 127.0.0.2:8080\n- 127.0.0.3:8080\n").unwrap();
    longest.max(written.elapsed())
}

#[test]
fn half_a_list_is_never_believed() {
    until("a writer that is not held up by other tests", || {
        let list = Listed::new();
        list.write("- 127.0.0.1:80\n- 127.0.0.2:8080\n");
        let mut source = list.follow();
        source.members();
        let path = list.path.clone();
        let writer = std::thread::spawn(move || write_slowly(&path));
        let looks = support::eventually("a change", || {
            let look = source.look();
            (look.members.is_some() || look.trouble.is_some()).then_some(look)
        });
        let is_smooth = writer.join().unwrap() < Duration::from_millis(40);
        if is_smooth {
            assert_eq!(looks.trouble, None);
            assert_eq!(shown(looks.members.unwrap()), ["127.0.0.1:80", "127.0.0.2:8080", "127.0.0.3:8080"]);
        }
        is_smooth
    });
}
