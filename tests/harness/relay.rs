//! The relay: bytes and ends arrive late, in order, and as what they are.

use std::time::Duration;

use super::server::ask;
use crate::support::ask::{Kind, Shape};
use crate::support::server::{Conduct, Fault};
use crate::support::{Client, End, Relay, Scripted, Server, eventually, nobody, timed};

const ONE_WAY: Duration = Duration::from_millis(30);

#[test]
fn there_and_back_again_takes_its_time() {
    let server = Scripted::answering("far away");
    let relay = Relay::start(server.address(), ONE_WAY);
    let mut client = Client::connect(relay.address());
    for _ in 0..3 {
        let (answer, took) = timed(|| client.get("/"));
        assert_eq!(answer.text(), "far away");
        assert!(took >= ONE_WAY * 2, "{took:?}");
    }
}

#[test]
fn an_end_arrives_as_what_it_was() {
    let server = Server::start("a");
    let relay = Relay::start(server.address(), ONE_WAY);
    for (fault, expected) in [
        (Fault::Reset, "unanswered Reset"),
        (Fault::CutByFin, "cut Closed"),
        (Fault::CutByReset, "cut Reset"),
    ] {
        server.behave(Conduct::bad(fault));
        for id in [0, 3, 6] {
            assert_eq!(ask(relay.address(), Kind::Get, id, Shape::Length), expected);
        }
    }
    assert_eq!(
        ask(Relay::start(nobody(), ONE_WAY).address(), Kind::Get, 0, Shape::Length),
        "unanswered Reset"
    );
}

/// The moment that all this is about: the server has closed, the client cannot know it yet, and asks.
/// Far enough for a busy machine to send a request before the news of the end is here.
const FAR: Duration = Duration::from_millis(200);

#[test]
fn a_request_that_crosses_a_fin_is_lost() {
    let server = Scripted::start(|talk| {
        talk.request();
        talk.answer("the only one");
        talk.pause(FAR / 2);
    });
    let relay = Relay::start(server.address(), FAR);
    let mut client = Client::connect(relay.address());
    assert_eq!(client.get("/").text(), "the only one");
    client.try_send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n").expect("there is no news yet");
    assert_eq!((client.try_answer(false).unwrap_err(), server.count()), (End::Closed, 1));
    let lost = || client.try_send("?").err();
    eventually("the answer to what was lost is a RST", lost);
}
