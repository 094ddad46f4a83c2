//! Bodies: large ones, slow ones, and answers that come before them.

use std::io::Write;

use serde_json::Value;

use crate::support::{Gate, Nginx, Python, Scripted, Tetap, run, until};

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
