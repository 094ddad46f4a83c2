//! Bodies: large ones, slow ones, and answers that come before them.

use std::io::Write;

use serde_json::Value;

use crate::support::{Client, Gate, Nginx, Python, Scripted, Tetap, run, until};

/// 50 MB that no repetition or shift would leave the same.
fn large_file(tetap: &Tetap) -> String {
    let path = tetap.dir().join("large");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let mut state = 1_u64;
    for _ in 0..50_000_000 / 8 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        file.write_all(&state.to_le_bytes()).unwrap();
    }
    path.to_str().unwrap().to_string()
}

fn checksum(path: &str) -> String {
    run("sha256sum", &[path]).split(' ').next().unwrap().to_string()
}

#[test]
fn a_large_upload_arrives_whole() {
    let python = Python::echo();
    let tetap = Tetap::to(&[python.address()]);
    let file = large_file(&tetap);
    let url = format!("http://{}/up", tetap.address("web"));
    let (sum, chunked) = (checksum(&file), "Transfer-Encoding: chunked");
    for arguments in [vec!["-sS", "-T", &file, &url], vec!["-sS", "-H", chunked, "-T", &file, &url]] {
        let seen: Value = serde_json::from_str(&run("curl", &arguments)).unwrap();
        assert_eq!(
            (seen["length"].as_u64(), seen["sha256"].as_str()),
            (Some(50_000_000), Some(sum.as_str()))
        );
    }
}

#[test]
fn a_large_download_arrives_whole() {
    let root = tempfile::TempDir::new().unwrap();
    std::fs::set_permissions(root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let nginx = Nginx::start(&format!("root {};", root.path().display()));
    let tetap = Tetap::to(&[nginx.address()]);
    let file = large_file(&tetap);
    std::fs::copy(&file, root.path().join("large")).unwrap();
    let (url, got) = (format!("http://{}/large", tetap.address("web")), format!("{file}.got"));
    for version in ["--http1.1", "--http1.0"] {
        run("curl", &["-sS", version, "-o", &got, &url]);
        run("cmp", &[&file, &got]);
    }
}

#[test]
fn an_answer_streams_as_it_comes() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Scripted::start(move |talk| {
        talk.request();
        talk.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
        waiting.wait();
        talk.write("later");
    });
    let tetap = Tetap::to(&[upstream.address()]);
    let mut client = tetap.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    let mut seen = Vec::new();
    while !seen.ends_with(b"first") {
        seen.extend(client.read_exact(1).unwrap());
    }
    gate.open();
    assert_eq!(client.read_exact(5).unwrap(), b"later");
}

#[test]
fn a_request_body_streams_as_it_comes() {
    let upstream = Scripted::start(|talk| {
        talk.head();
        talk.read_exact(5);
        talk.write("HTTP/1.1 103 Early Hints\r\n\r\n");
        talk.read_exact(5);
        talk.answer("both");
    });
    let tetap = Tetap::to(&[upstream.address()]);
    let mut client = tetap.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nfirst");
    until("the first half is at the upstream", || upstream.count() == 1);
    assert_eq!(client.send("later").read_answer().text(), "both");
}

#[test]
fn an_answer_before_the_end_of_the_body_gets_through() {
    let upstream = Scripted::start(|talk| {
        talk.head();
        talk.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        talk.wait_for_close();
    });
    let tetap = Tetap::to(&[upstream.address()]);
    let mut client = tetap.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\nbeginning");
    let answer = client.read_answer();
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
}

#[test]
fn a_client_that_breaks_off_its_body_is_not_forwarded_as_whole() {
    let upstream = Scripted::answering("whole");
    let tetap = Tetap::to(&[upstream.address()]);
    for framing in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut client = tetap.client();
        client.send(format!("POST /broken HTTP/1.1\r\nHost: t\r\n{framing}")).finish_sending();
        let _ = client.try_answer(false);
    }
    assert_eq!(tetap.get("/after").text(), "whole");
    let broken = upstream.requests().into_iter().filter(|request| request.target() == "/broken");
    let whole: Vec<_> = broken.filter(|request| request.end == crate::support::End::Whole).collect();
    assert!(whole.is_empty(), "{whole:?}");
}

/// A request in one of four ways; the last is two in one, the second of which nobody waits for.
fn ask(question: &str, way: usize) -> String {
    let head = format!("{question} HTTP/1.1\r\nHost: t\r\n");
    match way {
        0 => format!("GET {head}\r\n"),
        1 => format!("POST {head}Content-Length: 3\r\n\r\nabc"),
        2 => format!("POST {head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        _ => format!("GET {head}\r\nGET /broken-off HTTP/1.1\r\nHost: t\r\n\r\n"),
    }
}

/// Asks in all ways, and breaks off now and then; every answer must be the one to its own question.
fn ask_and_break_off(address: std::net::SocketAddr, thread: usize) {
    let mut client = Client::connect(address);
    for round in 0..120 {
        let question = format!("/{thread}-{round}");
        client.send(ask(&question, round % 4));
        assert_eq!(client.read_answer().text(), question);
        if round % 4 == 3 {
            client = Client::connect(address);
        }
    }
}

#[test]
fn nobody_gets_the_answer_to_another_question() {
    let upstream = Scripted::start(|talk| {
        while let Some(request) = talk.request() {
            let target = request.target().to_string();
            let (first, second) = target.split_at(target.len() / 2);
            let (one, two) = (first.len(), second.len());
            let chunks = format!("{one:x}\r\n{first}\r\n{two:x}\r\n{second}\r\n0\r\n\r\n");
            let sent = match request.method() {
                "GET" => talk.answer(&target),
                _ => talk.write(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")),
            };
            if !sent {
                return;
            }
        }
    });
    let tetap = Tetap::to(&[upstream.address()]);
    let address = tetap.address("web");
    let clients: Vec<_> =
        (0..8).map(|thread| std::thread::spawn(move || ask_and_break_off(address, thread))).collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    tetap.wait_for_metric("tetap_upstream_in_flight", &["upstream=\"u\""], 0.0);
}

#[test]
fn a_whole_early_answer_frees_the_upstream_at_once() {
    let upstream = Scripted::start(|talk| {
        talk.head();
        talk.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        talk.wait_for_close();
    });
    let tetap = Tetap::to(&[upstream.address()]);
    let mut client = tetap.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\nbeginning");
    assert_eq!(client.read_answer().status, 403);
    until("the upstream is let go", || upstream.open() == 0);
    tetap.wait_for_metric("tetap_upstream_in_flight", &["upstream=\"u\""], 0.0);
    let line = &tetap.access_log(1)[0];
    assert_eq!((line["status"].as_u64(), line["cause"].as_str()), (Some(403), None), "{line}");
    assert_eq!(line["attempts"][0]["outcome"], "ok", "{line}");
}

#[test]
fn an_answer_is_read_from_an_upstream_that_closed_behind_it() {
    let upstream = Scripted::start(|talk| {
        talk.head();
        talk.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
        talk.close();
    });
    let tetap = Tetap::to(&[upstream.address()]);
    let file = large_file(&tetap);
    let url = format!("http://{}/", tetap.address("web"));
    let arguments = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect:", "-T", &file, &url];
    assert_eq!(run("curl", &arguments), "413");
}

#[test]
fn a_client_that_waited_for_a_100_keeps_its_connection() {
    let upstream = Scripted::answering("taken");
    let tetap = Tetap::to(&[upstream.address()]);
    let mut client = tetap.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.read_exact(25).unwrap(), b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.send("body").read_answer().text(), "taken");
    assert_eq!(client.get("/again").text(), "taken");
}

#[test]
fn a_client_that_stops_reading_is_no_fault_of_ours() {
    let body = "x".repeat(6_000_000);
    let tetap = Tetap::start(&format!(
        "listeners: [{{name: web, address: \"127.0.0.1:{{port:web}}\", timeouts: {{write: 400ms}}}}]
routes: [{{match: {{path: {{prefix: /}}}}, respond: {{body: {body}}}}}]"
    ));
    let mut client = Client::connect_narrow(tetap.address("web"));
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(tetap.access_log(1)[0]["cause"], "client_closed");
}

#[test]
fn an_answer_may_flow_while_its_request_still_does() {
    let upstream = Scripted::start(|talk| {
        talk.head();
        talk.write("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\nConnection: close\r\n\r\n");
        while talk.read_exact(50_000).is_some_and(|piece| talk.write(piece)) {}
    });
    let tetap = Tetap::to(&[upstream.address()]);
    let file = large_file(&tetap);
    let (url, got) = (format!("http://{}/", tetap.address("web")), format!("{file}.got"));
    run("curl", &["-sS", "-m", "30", "-H", "Expect:", "-o", &got, "-T", &file, &url]);
    run("cmp", &[&file, &got]);
}
