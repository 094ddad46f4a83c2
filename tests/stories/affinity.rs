//! The same endpoint for the same client: by key, by cookie.

use crate::support::{Answer, Client, Scripted, Tetap};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Each answers with its name, once a connection: a server that is dropped leaves none behind.
fn servers() -> [Scripted; 3] {
    NAMES.map(|name| {
        Scripted::start(move |talk| {
            talk.request();
            talk.write(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n{name}"));
        })
    })
}

fn ask(client: &mut Client, path: &str, header: &str) -> Answer {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n{header}\r\n\r\n"));
    client.read_answer()
}

/// Path and header of a request with a key.
type Request = fn(usize) -> (String, String);

/// One answer for each of twenty keys.
fn by_key(tetap: &Tetap, request: impl Fn(usize) -> (String, String)) -> Vec<String> {
    let mut client = tetap.client();
    (0..20)
        .map(|key| {
            let (path, header) = request(key);
            ask(&mut client, &path, &header).text()
        })
        .collect()
}

#[test]
fn a_key_always_meets_the_same_endpoint() {
    let servers = servers();
    let cases: [(&str, Request); 4] = [
        ("header: X-User", |key| ("/".into(), format!("X-User: user-{key}"))),
        ("cookie: id", |key| ("/".into(), format!("Cookie: a=1; id=user-{key}"))),
        ("query: id", |key| (format!("/?x=1&id=user-{key}"), "X-Y: z".into())),
        ("path: true", |key| (format!("/user-{key}"), "X-Y: z".into())),
    ];
    for (hash, request) in cases {
        let options = format!("balance: {{hash: {{{hash}}}}}");
        let tetap = Tetap::with("", &servers.each_ref().map(Scripted::address), &options);
        let first = by_key(&tetap, request);
        assert_eq!(first, by_key(&tetap, request), "{hash}");
        assert!(NAMES.iter().all(|name| first.iter().any(|met| met == name)), "{hash}: {first:?}");
    }
}

#[test]
fn a_client_address_is_a_key() {
    let servers = servers();
    let options = "balance: {hash: {client_ip: true}}";
    let tetap = Tetap::with("", &servers.each_ref().map(Scripted::address), options);
    let first = tetap.get("/").text();
    assert!((0..9).all(|_| tetap.get("/").text() == first));
}

#[test]
fn when_an_endpoint_dies_only_its_own_keys_move() {
    let mut servers: Vec<_> = servers().into_iter().collect();
    let addresses: Vec<_> = servers.iter().map(Scripted::address).collect();
    let tetap = Tetap::with("", &addresses, "balance: {hash: {header: X-User}}");
    let request = |key| ("/".to_string(), format!("X-User: user-{key}"));
    let before = by_key(&tetap, request);
    servers.remove(1);
    let after = by_key(&tetap, request);
    assert!(after.iter().all(|met| met != "b"));
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
    assert!(moved.clone().all(|(before, _)| before == "b") && moved.count() > 0);
}

const STICKY: &str = "sticky_cookie: {name: home, secret: 0123456789abcdef0123456789, ttl: 1h}";

fn cookie(answer: &Answer) -> Option<String> {
    let set = answer.head.one("set-cookie")?;
    Some(set.split(';').next().unwrap().to_string())
}

#[test]
fn a_cookie_brings_a_client_back() {
    let servers = servers();
    let tetap = Tetap::with("", &servers.each_ref().map(Scripted::address), STICKY);
    let first = tetap.get("/");
    let set = first.head.one("set-cookie").unwrap();
    assert!(
        set.starts_with("home=") && set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600"),
        "{set}"
    );
    assert!(!set.contains("127.0.0.1"));
    let header = format!("Cookie: {}", cookie(&first).unwrap());
    for _ in 0..7 {
        let again = ask(&mut tetap.client(), "/", &header);
        assert_eq!((again.text(), again.head.one("set-cookie")), (first.text(), None));
    }
}

#[test]
fn a_client_whose_endpoint_is_gone_gets_another_one_and_stays_there() {
    let mut servers: Vec<_> = servers().into_iter().collect();
    let addresses: Vec<_> = servers.iter().map(Scripted::address).collect();
    let tetap = Tetap::with("", &addresses, STICKY);
    let first = tetap.get("/");
    let old = format!("Cookie: {}", cookie(&first).unwrap());
    servers.remove(NAMES.iter().position(|name| *name == first.text()).unwrap());
    let second = ask(&mut tetap.client(), "/", &old);
    assert!(second.status == 200 && second.text() != first.text());
    let new = format!("Cookie: {}", cookie(&second).expect("a new cookie"));
    assert!((0..6).all(|_| ask(&mut tetap.client(), "/", &new).text() == second.text()));
}

#[test]
fn nobody_can_choose_an_endpoint() {
    let servers = servers();
    let tetap = Tetap::with("", &servers.each_ref().map(Scripted::address), STICKY);
    let forged = format!("Cookie: home={}", "0".repeat(32));
    let answers: Vec<_> = (0..6).map(|_| ask(&mut tetap.client(), "/", &forged)).collect();
    assert!(answers.iter().all(|answer| answer.head.one("set-cookie").is_some()));
    assert!(answers.windows(2).all(|pair| pair[0].text() != pair[1].text()), "as without a cookie: in turn");
}

#[test]
fn two_proxies_with_one_secret_understand_each_other() {
    let servers = servers();
    let addresses = servers.each_ref().map(Scripted::address);
    let (one, other) = (Tetap::with("", &addresses, STICKY), Tetap::with("", &addresses, STICKY));
    let first = one.get("/");
    let header = format!("Cookie: {}", cookie(&first).unwrap());
    assert!((0..6).all(|_| ask(&mut other.client(), "/", &header).text() == first.text()));
}
