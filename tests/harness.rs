//! The harness itself, without the proxy: what it says about bytes must be true before anything else is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/lib.rs"]
mod support;

mod harness {
    mod load;
    mod relay;
    mod server;
    mod traffic;
}

use std::time::Duration;

use support::{Client, End, Nginx, Python, Scripted, eventually};

#[test]
fn nginx_and_python_answer() {
    let (nginx, python) = (Nginx::named("n"), Python::echo());
    assert_eq!(Client::connect(nginx.address()).get("/").text(), "n");
    let echo = Client::connect(python.address()).post("/x", b"body").json();
    assert_eq!((echo["target"].as_str(), echo["body"].as_str()), (Some("/x"), Some("body")));
}

#[test]
fn a_scripted_upstream_records_what_it_received() {
    let upstream = Scripted::answering("hello");
    let mut client = Client::connect(upstream.address());
    client.send("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n");
    assert_eq!(client.read_answer().text(), "hello");
    assert_eq!(client.get("/b").text(), "hello");
    let requests = upstream.requests();
    assert_eq!((requests[0].target(), requests[0].body.as_slice()), ("/a", b"ab".as_slice()));
    assert_eq!((requests[1].target(), requests.len(), upstream.opened(), upstream.open()), ("/b", 2, 1, 1));
    drop(client);
    eventually("the connection is closed", || (upstream.open() == 0).then_some(()));
}

/// What an upstream sends, and how the client must name the end of it.
fn end_of(bytes: &'static str, reset: bool) -> End {
    let upstream = Scripted::start(move |talk| {
        talk.request();
        talk.write(bytes);
        talk.pause(Duration::from_millis(50)); // so that the reset does not overtake the bytes
        if reset {
            talk.reset();
        }
    });
    Client::connect(upstream.address()).get("/").end
}

#[test]
fn the_end_of_a_body_is_called_by_its_name() {
    assert_eq!(end_of("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", false), End::Whole);
    assert_eq!(end_of("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", false), End::Closed);
    assert_eq!(end_of("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", true), End::Reset);
    assert_eq!(end_of("HTTP/1.1 200 OK\r\n\r\nab", false), End::Whole);
    assert_eq!(end_of("HTTP/1.1 200 OK\r\n\r\nab", true), End::Reset);
    assert_eq!(
        end_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", false),
        End::Closed
    );
    assert_eq!(
        end_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", true),
        End::Whole
    );
    let garbled = end_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", false);
    assert!(matches!(garbled, End::Garbled(_)), "{garbled:?}");
}
