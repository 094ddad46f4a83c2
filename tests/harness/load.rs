//! The load and its books: what is counted as a failure, as a duplicate, and as late.

use std::time::Duration;

use crate::support::ask::{Kind, Shape};
use crate::support::load::{Latency, Load, Report};
use crate::support::server::{Conduct, Fault};
use crate::support::{Haproxy, Scripted, Server};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_good_server_gives_a_good_report() {
    let mut server = Server::start("a");
    let shapes = &[Shape::Length, Shape::Chunked, Shape::UntilClose];
    let outcomes = Load::steady(300, SECOND / 2).with_shapes(shapes).start(server.address()).finish();
    server.kill();
    let report = Report::new("good", outcomes, &[server]);
    let bad: Vec<_> = report.within(..).into_iter().filter(|outcome| !outcome.verdict.is_good()).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert_eq!((report.requests(), report.deliveries(), report.all(Kind::Post).count()), (150, 150, 30));
    assert_eq!((report.unrecorded().len(), report.doubled().len(), report.deceived().len()), (0, 0, 0));
}

/// The same load to two servers: all that was sent was delivered twice.
#[test]
fn what_is_delivered_twice_is_found() {
    let servers = ["a", "b"].map(Server::start);
    let [_, outcomes] = servers.each_ref().map(|s| Load::steady(100, SECOND / 5).start(s.address()).finish());
    let report = Report::new("twice", outcomes, &servers);
    assert_eq!((report.all(Kind::Post).count(), report.doubled().len()), (4, 4));
    assert_eq!(report.doubled()[0].1, &["a", "b"]);
}

/// This haproxy is told to ask again after an empty answer, whatever the method.
#[test]
fn a_proxy_that_repeats_posts_is_caught() {
    let server = Server::with("a", Conduct::bad(Fault::Reset));
    let haproxy = Haproxy::before(server.address(), "retry-on conn-failure empty-response");
    let outcomes = Load::steady(20, SECOND / 4).start(haproxy.address()).finish();
    let report = Report::new("repeated", outcomes, &[server]);
    assert_eq!((report.all(Kind::Post).count(), report.doubled().len()), (1, 1));
}

#[test]
fn an_answer_that_belongs_to_somebody_else_is_found() {
    let server = Scripted::start(|talk| {
        let line = "a 999 0\n".repeat(512);
        let answer = format!("HTTP/1.1 200 OK\r\nX-Server: a\r\nContent-Length: 4096\r\n\r\n{line}");
        while talk.request().is_some() {
            talk.write(&answer);
        }
    });
    let outcomes = Load::steady(100, SECOND / 10).with_posts(0).start(server.address()).finish();
    let report = Report::new("mixed up", outcomes, &[]);
    assert_eq!((report.requests(), report.deceived().len(), report.failed(Kind::Get).len()), (10, 10, 10));
}

#[test]
fn a_post_without_an_entry_in_the_book_is_found() {
    let server = Server::start("a");
    let outcomes = Load::steady(100, SECOND / 10).start(server.address()).finish();
    let report = Report::new("no book", outcomes, &[]);
    assert_eq!(report.unrecorded().len(), 2);
}

/// A generator that waits for answers would have sent next to nothing meanwhile, and seen one late answer.
#[test]
fn who_was_to_be_asked_while_it_slept_is_late() {
    let server = Server::start("a");
    let load = Load::steady(100, SECOND).start(server.address());
    server.freeze();
    std::thread::sleep(SECOND / 2);
    server.thaw();
    let report = Report::new("late", load.finish(), &[server]);
    let latency = report.latency(..SECOND / 2);
    assert!(latency.max >= SECOND * 2 / 5 && latency.p50 >= SECOND / 5, "{latency:?}");
    assert!(report.latency(SECOND * 7 / 10..).p50 < SECOND / 10, "and then all is well");
}

#[test]
fn ranks() {
    let ms = Duration::from_millis;
    let of = |times: &[u64]| Latency::of(times.iter().copied().map(ms).collect());
    assert_eq!(of(&[]), Latency::default());
    assert_eq!(of(&[7]), Latency { p50: ms(7), p99: ms(7), max: ms(7) });
    let hundred: Vec<u64> = (1..=100).rev().collect();
    assert_eq!(of(&hundred), Latency { p50: ms(50), p99: ms(99), max: ms(100) });
}
