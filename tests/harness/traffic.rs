//! The traffic and its toll: each kind of client finds what it is there to find, and only that.
//!
//! One server for each way to fail its clients, planted between clients and a good answer. Without these, a
//! table full of noughts would prove nothing.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::ask::Ask;
use crate::support::lifecycle::Lifecycle;
use crate::support::parcel::Delivery;
use crate::support::server::doubled_posts;
use crate::support::traffic::{Events, Harm, Toll, Traffic};
use crate::support::websocket::{Frame, GOING_AWAY, welcome};
use crate::support::{PATIENCE, Received, Scripted, Server, Talk, haproxy, nginx, nobody};

/// Lets this traffic run for a while.
fn toll_of(traffic: Traffic, address: SocketAddr, millis: u64) -> Toll {
    let running = traffic.start(address);
    std::thread::sleep(Duration::from_millis(millis));
    running.stop()
}

/// All that went wrong is of these kinds, and each of them occurred.
fn assert_only(toll: &Toll, kinds: &[Harm]) {
    let found: Vec<Harm> = Harm::ALL.into_iter().filter(|harm| toll.count(*harm) > 0).collect();
    assert_eq!(found, kinds, "\n{toll}");
    let count = kinds.iter().map(|harm| toll.count(*harm)).sum::<usize>();
    assert_eq!((toll.failed(), toll.well + count), (count, toll.sent), "\n{toll}");
}

/// The answer that `api_server` would give, with this field in its head.
fn answer_of(request: &Received, field: &str) -> Option<(String, Vec<u8>)> {
    let ask = Ask::received(&request.head, &request.body)?;
    let head = format!("HTTP/1.1 200 OK\r\nX-Server: a\r\nContent-Length: {}\r\n{field}\r\n", ask.bytes);
    Some((head, ask.answer_of("a")))
}

/// Answers one request as it should be; false when the client has gone.
fn serve(talk: &mut Talk, field: &str) -> bool {
    let answer = talk.request().and_then(|request| answer_of(&request, field));
    answer.is_some_and(|(head, body)| talk.write([head.as_bytes(), &body].concat()))
}

#[test]
fn a_good_server_costs_nothing() {
    let server = Server::start("a");
    let toll = toll_of(Traffic::mixed(), server.address(), 1500);
    toll.assert_unnoticed();
    assert_eq!(toll.well, toll.sent, "\n{toll}");
    assert!(toll.sent > 300 && toll.echoes > 40 && toll.latency().max < PATIENCE, "\n{toll}");
}

#[test]
fn a_connection_that_is_closed_under_a_request_is_found() {
    for reset in [false, true] {
        let server = Scripted::start(move |talk| {
            serve(talk, "");
            serve(talk, "");
            talk.request();
            if reset {
                talk.reset();
            }
        });
        let toll = toll_of(Traffic::none().kept(2), server.address(), 700);
        assert_only(&toll, &[Harm::ClosedUnder]);
        assert_eq!(toll.reopened, 0, "\n{toll}");
        let told = toll.told(Harm::ClosedUnder)[0];
        assert!(told.starts_with("near, kept: ") && told.contains("/items/"), "\n{toll}");
    }
}

/// Serves one request on each connection, and closes it so long after the answer, without a word.
fn closing_after(millis: u64) -> Scripted {
    Scripted::start(move |talk| {
        serve(talk, "");
        talk.pause(Duration::from_millis(millis));
    })
}

/// A client nearby sees in time that its connection has been closed; one far away may have sent meanwhile. It
/// asks again 20 to 60 ms after an answer, and is 5 ms away: most are about to at 35 ms.
#[test]
fn a_connection_that_is_closed_at_rest_costs_only_those_who_cannot_know() {
    let server = closing_after(0);
    let near = toll_of(Traffic::none().kept(4), server.address(), 700);
    near.assert_unnoticed();
    assert!(near.reopened > 10, "\n{near}");
    let server = closing_after(35);
    let far = toll_of(Traffic::none().distant(8), server.address(), 2000);
    assert_only(&far, &[Harm::ClosedUnder]);
}

#[test]
fn who_is_told_to_go_goes() {
    let server = Scripted::start(|talk| _ = serve(talk, "Connection: close\r\n"));
    let toll = toll_of(Traffic::none().kept(2).distant(2), server.address(), 500);
    toll.assert_unnoticed();
    assert_eq!((toll.told_to_go, toll.reopened), (toll.sent, 0), "\n{toll}");
}

#[test]
fn a_connection_that_nobody_takes_is_found() {
    assert_only(&toll_of(Traffic::mixed().distant(0), nobody(), 200), &[Harm::Refused]);
    let server = Scripted::start(|talk| {
        talk.request();
        talk.reset();
    });
    assert_only(&toll_of(Traffic::none().kept(2).fresh(2), server.address(), 200), &[Harm::Dropped]);
}

#[test]
fn answers_that_are_cut_wrong_or_errors_are_found() {
    type Script = fn(&mut Talk);
    let plants: [(Script, Harm); 4] = [
        (|talk| _ = talk.request().is_some() && talk.write("HTTP/1.1 200 O"), Harm::Cut),
        (
            |talk| {
                let request = talk.request();
                let answer = request.and_then(|request| answer_of(&request, ""));
                _ = answer.is_some_and(|(head, body)| talk.write([head.as_bytes(), &body[1..]].concat()));
            },
            Harm::Cut,
        ),
        (|talk| _ = talk.request().is_some() && talk.answer("something else"), Harm::Wrong),
        (
            |talk| {
                talk.request();
                talk.write("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
            },
            Harm::Error,
        ),
    ];
    for (script, harm) in plants {
        let server = Scripted::start(script);
        assert_only(&toll_of(Traffic::none().fresh(2), server.address(), 150), &[harm]);
    }
}

#[test]
fn a_connection_that_speaks_unasked_is_found() {
    let server = Scripted::start(|talk| {
        serve(talk, "");
        talk.write("HTTP/1.1 408 Too late\r\n\r\n");
        talk.wait_for_close();
    });
    let toll = toll_of(Traffic::none().kept(2), server.address(), 400);
    assert_eq!(toll.failed(), toll.count(Harm::Wrong), "\n{toll}");
    assert!(toll.count(Harm::Wrong) > 0, "\n{toll}");
}

/// What a planted server does once it has echoed a few messages.
#[derive(Clone, Copy)]
enum Goodbye {
    Nothing,
    Half,
    GoingAway,
    Swallow,
}

fn echoing_until(goodbye: Goodbye) -> Scripted {
    Scripted::start(move |talk| {
        let Some(head) = talk.head() else { return };
        talk.write(welcome(head.head.one("sec-websocket-key").unwrap()));
        for _ in 0..3 {
            let Some(frame) = read_frame(talk) else { return };
            talk.write(frame.plain());
        }
        match goodbye {
            Goodbye::Nothing => {}
            Goodbye::Half => _ = talk.write(&Frame::text("a half").plain()[..5]),
            Goodbye::Swallow => _ = read_frame(talk),
            Goodbye::GoingAway => {
                talk.write(Frame::close(GOING_AWAY).plain());
                read_frame(talk);
            }
        }
    })
}

/// The next frame, byte by byte.
fn read_frame(talk: &mut Talk) -> Option<Frame> {
    let mut bytes = Vec::new();
    loop {
        bytes.extend(talk.read_exact(1)?);
        if let Some((frame, _)) = Frame::parse(&bytes) {
            return Some(frame);
        }
    }
}

#[test]
fn a_websocket_that_is_cut_is_found() {
    for goodbye in [Goodbye::Nothing, Goodbye::Half, Goodbye::Swallow] {
        let server = echoing_until(goodbye);
        let toll = toll_of(Traffic::none().websockets(2), server.address(), 400);
        assert_eq!(toll.failed(), toll.count(Harm::WebSocketCut), "\n{toll}");
        assert!(toll.failed() > 0 && toll.echoes > 0, "\n{toll}");
    }
}

#[test]
fn a_websocket_that_is_told_to_come_back_comes_back() {
    let server = echoing_until(Goodbye::GoingAway);
    let toll = toll_of(Traffic::none().websockets(2), server.address(), 700);
    toll.assert_unnoticed();
    assert!(toll.told_to_go > 2 && server.opened() > 3, "\n{toll}");
}

#[test]
fn frames_are_read_as_they_are_written() {
    for length in [0, 1, 125, 126, 60_000] {
        let frame = Frame::text(&"x".repeat(length));
        for bytes in [frame.plain(), frame.masked()] {
            assert_eq!(Frame::parse(&bytes), Some((frame.clone(), bytes.len())));
            assert_eq!(Frame::parse(&bytes[..bytes.len() - 1]), None);
        }
    }
    assert_eq!(Frame::close(GOING_AWAY).status(), Some(1001));
    // the example of RFC 6455, section 1.3
    assert!(welcome("dGhlIHNhbXBsZSBub25jZQ==").contains("Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
}

#[test]
fn a_download_that_is_cut_or_changed_is_found() {
    let server = Scripted::start(|talk| {
        talk.head();
        talk.write("HTTP/1.1 200 OK\r\nX-Server: a\r\nContent-Length: 60000\r\n\r\na");
        talk.pause(Duration::from_millis(50));
    });
    assert_only(&toll_of(Traffic::none().downloads(2), server.address(), 200), &[Harm::DownloadCut]);
    let changed = Scripted::start(|talk| {
        let delivery = talk.head().and_then(|request| Delivery::asked(request.target())).unwrap();
        let mut body = delivery.parcel.body();
        body[2000] ^= 1;
        talk.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
        talk.write(body);
    });
    assert_only(&toll_of(Traffic::none().downloads(1), changed.address(), 100), &[Harm::Wrong]);
}

#[test]
fn an_upload_without_its_receipt_is_found() {
    let cut = Scripted::start(|talk| _ = talk.head());
    assert_only(&toll_of(Traffic::none().uploads(2), cut.address(), 200), &[Harm::UploadCut]);
    let forged = Scripted::start(|talk| _ = talk.request().is_some() && talk.answer("thank you"));
    assert_only(&toll_of(Traffic::none().uploads(1), forged.address(), 100), &[Harm::Wrong]);
}

/// A server that goes down and comes back, without a proxy: everybody notices.
#[test]
fn a_server_that_is_killed_under_load_shows_up() {
    let mut server = Server::start("a");
    let address = server.address();
    let mut count = 0;
    let events = Traffic::mixed().during(address, 3, || {
        count += 1;
        server.kill();
        std::thread::sleep(Duration::from_millis(200));
        server.restart();
        if count < 3 { Ok(()) } else { Err("enough".into()) }
    });
    assert_eq!((events.took.len(), events.broken.as_deref()), (2, Some("enough")), "{events}");
    assert!(events.seconds() > 0.4, "{events}");
    for harm in [Harm::Refused, Harm::WebSocketCut, Harm::UploadCut, Harm::DownloadCut] {
        assert!(events.toll.count(harm) > 0, "{harm:?}: {events}");
    }
}

#[test]
fn a_post_that_two_servers_have_is_found() {
    let servers = servers();
    for server in &servers {
        toll_of(Traffic::none().kept(2), server.address(), 300).assert_unnoticed();
    }
    assert!(doubled_posts(&servers).contains(&"POST 0".to_owned()));
    assert_eq!(doubled_posts(&servers[..1]), Vec::<String>::new());
}

fn servers() -> [Server; 2] {
    ["a", "b"].map(Server::start)
}

fn addresses(servers: &[Server; 2]) -> [SocketAddr; 2] {
    servers.each_ref().map(Server::address)
}

/// No assertion about nginx's own virtues: that is for the bench to print.
fn play(proxy: &mut impl Lifecycle, event: fn(&mut dyn Lifecycle) -> Result<(), String>) -> Events {
    let events = Traffic::mixed().during(proxy.address(), 2, || event(proxy));
    eprintln!("{events}");
    assert_eq!((events.took.len(), &events.broken), (2, &None), "{events}");
    assert!(events.toll.well > 200, "{events}");
    events
}

#[test]
fn nginx_is_reloaded_and_upgraded() {
    let servers = servers();
    let mut nginx = nginx::Master::before(&addresses(&servers));
    toll_of(Traffic::mixed(), nginx.address(), 500).assert_unnoticed();
    let before = nginx.workers();
    play(&mut nginx, |proxy| proxy.reload());
    play(&mut nginx, |proxy| proxy.upgrade());
    assert!(nginx.workers().iter().all(|worker| !before.contains(worker)), "{}", nginx.log());
}

#[test]
fn a_killed_worker_of_nginx_shows_up() {
    let servers = servers();
    let mut nginx = nginx::Master::before(&addresses(&servers));
    let events = play(&mut nginx, |proxy| proxy.crash());
    assert!(events.toll.failed() > 0, "{events}");
}

#[test]
fn haproxy_is_reloaded_and_its_master_goes_with_a_worker() {
    let servers = servers();
    let mut haproxy = haproxy::Master::before(&addresses(&servers));
    toll_of(Traffic::mixed(), haproxy.address(), 500).assert_unnoticed();
    let before = haproxy.workers();
    play(&mut haproxy, |proxy| proxy.reload());
    assert!(haproxy.workers().iter().all(|worker| !before.contains(worker)));
    let events = play(&mut haproxy, |proxy| proxy.crash());
    assert!(events.toll.count(Harm::Refused) > 0 && haproxy.restarts() == 2, "{events}");
}
