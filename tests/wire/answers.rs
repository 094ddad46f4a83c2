//! What an upstream sends against what the client sees. Upstreams lie too: an answer whose end is ambiguous would let
//! one client read another's, and a body that broke off must never look whole.

use std::time::Duration;

use crate::support::{Answer, Client, End, Scripted, Talk, Tetap, until};

/// How the upstream goes on after its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// Waits for the next request.
    Stays,
    /// FIN.
    Closes,
    /// RST.
    Resets,
}

/// What the client must see.
#[derive(Clone, Debug)]
enum Want {
    /// This status and body, whole, with these fields and without those.
    Whole { status: u16, body: &'static str, has: Vec<&'static str>, lacks: Vec<&'static str>, reused: bool },
    /// 502 and this cause.
    Refused(&'static str),
    /// The beginning of an answer, and an end that cannot be mistaken for its own; or 502, where it had not begun.
    Cut,
}

/// One request and the bytes that answer it.
struct Row {
    name: &'static str,
    rfc: &'static str,
    request: &'static str,
    sends: Vec<u8>,
    then: Then,
    want: Want,
}

/// A POST is asked once: what happens to it is not hidden by another try.
const ASK: &str = "POST /N HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n";
const ASK_AS_1_0: &str = "POST /N HTTP/1.0\r\nHost: t\r\nContent-Length: 0\r\n\r\n";
const ASK_AS_1_0_TO_KEEP: &str =
    "POST /N HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n";
const HEAD: &str = "HEAD /N HTTP/1.1\r\nHost: t\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\n";

fn row(name: &'static str, rfc: &'static str, sends: impl AsRef<[u8]>, want: Want) -> Row {
    Row { name, rfc, request: ASK, sends: sends.as_ref().to_vec(), then: Then::Stays, want }
}

/// A 200 with these fields (each ended by CRLF) and this body.
fn ok(name: &'static str, rfc: &'static str, fields: &str, body: &str, want: Want) -> Row {
    row(name, rfc, format!("{OK}{fields}\r\n{body}"), want)
}

fn bad(name: &'static str, rfc: &'static str, fields: &str, body: &str) -> Row {
    ok(name, rfc, fields, body, invalid())
}

fn bad_line(name: &'static str, rfc: &'static str, line: &str) -> Row {
    row(name, rfc, format!("{line}\r\nContent-Length: 0\r\n\r\n"), invalid())
}

impl Row {
    fn asked(mut self, request: &'static str) -> Row {
        self.request = request;
        self
    }

    fn then(mut self, then: Then) -> Row {
        self.then = then;
        self
    }

    fn play(&self, talk: &mut Talk) -> Then {
        talk.write(&self.sends);
        if self.then == Then::Resets {
            talk.pause(Duration::from_millis(30)); // so that the reset does not overtake the bytes
            talk.reset();
        }
        self.then
    }
}

fn whole(body: &'static str) -> Want {
    status(200, body)
}

fn status(status: u16, body: &'static str) -> Want {
    Want::Whole { status, body, has: vec![], lacks: vec![], reused: true }
}

fn invalid() -> Want {
    Want::Refused("upstream_invalid")
}

impl Want {
    fn has(mut self, field: &'static str) -> Want {
        if let Want::Whole { has, .. } = &mut self {
            has.push(field);
        }
        self
    }

    fn lacks(mut self, name: &'static str) -> Want {
        if let Want::Whole { lacks, .. } = &mut self {
            lacks.push(name);
        }
        self
    }

    fn but_not_reused(mut self) -> Want {
        if let Want::Whole { reused, .. } = &mut self {
            *reused = false;
        }
        self
    }

    fn reused(&self) -> bool {
        matches!(self, Want::Whole { reused: true, .. })
    }

    fn fault(&self, answer: &Result<Answer, End>) -> Option<String> {
        match (self, answer) {
            (Want::Cut, Ok(answer)) if answer.end == End::Whole && answer.status != 502 => {
                Some(format!("looks whole: {answer:?}"))
            }
            (Want::Cut, Err(End::Late)) => Some("the connection was left open".into()),
            (Want::Cut, _) => None,
            (Want::Refused(cause), Ok(answer)) if answer.verdict() == (502, cause.to_string()) => None,
            (Want::Whole { status, body, has, lacks, .. }, Ok(answer)) if answer.end == End::Whole => {
                differs(answer, *status, body).or_else(|| fields(answer, has, lacks))
            }
            _ => Some(format!("wanted {self:?}, got {answer:?}")),
        }
    }
}

fn differs(answer: &Answer, status: u16, body: &str) -> Option<String> {
    let same = answer.status == status && answer.body == body.as_bytes();
    (!same).then(|| format!("wanted {status} {body:?}, got {answer:?}"))
}

fn fields(answer: &Answer, has: &[&str], lacks: &[&str]) -> Option<String> {
    let carries = |field: &&&str| {
        let (name, value) = field.split_once(": ").unwrap();
        answer.head.all(name).contains(&value)
    };
    let missing = has.iter().find(|field| !carries(field)).map(|field| format!("lacks {field:?}"));
    let present =
        lacks.iter().find(|name| !answer.head.all(name).is_empty()).map(|name| format!("has {name}"));
    missing.or(present).map(|fault| format!("{fault}: {:?}", answer.head.fields))
}

/// The same table for the upstream, who answers `/N` with row N, and for the client, who asks for it.
fn run_table(table: fn() -> Vec<Row>) {
    let rows = table();
    let upstream = Scripted::start(move |talk| serve(talk, &rows));
    let tetap = Tetap::start(&format!(
        "upstreams: {{u: {{endpoints: [\"{}\"]}}}}\nroutes: [{{match: {{path: {{prefix: /}}}}, upstream: u}}]",
        upstream.address()
    ));
    let rows = table();
    let runs = rows.iter().enumerate().map(|(number, row)| (row, run(row, number, &tetap, &upstream)));
    let failures: Vec<_> = runs.filter_map(|(row, fault)| Some(described(row, &fault?))).collect();
    assert!(failures.is_empty(), "{} of {} rows fail\n{}", failures.len(), rows.len(), failures.join("\n"));
}

fn described(row: &Row, fault: &str) -> String {
    format!("  {} (RFC {})\n      {fault}", row.name, row.rfc)
}

fn serve(talk: &mut Talk, rows: &[Row]) {
    while let Some(request) = talk.request() {
        let Some(row) = request.target()[1..].parse::<usize>().ok().and_then(|number| rows.get(number))
        else {
            talk.answer("probe");
            continue;
        };
        if row.play(talk) != Then::Stays {
            return;
        }
    }
}

fn run(row: &Row, number: usize, tetap: &Tetap, upstream: &Scripted) -> Option<String> {
    let mut client = Client::connect(tetap.address("web"));
    client.send(row.request.replace("/N", &format!("/{number}")));
    let answer = client.try_answer(row.request == HEAD);
    row.want.fault(&answer).or_else(|| reuse(row, number, tetap, upstream))
}

/// The upstream connection of a whole answer is kept; that of any other ends, and serves nobody before it does.
fn reuse(row: &Row, number: usize, tetap: &Tetap, upstream: &Scripted) -> Option<String> {
    let probe = format!("/probe-{number}");
    tetap.get(&probe);
    let connection = |target: &str| {
        let requests = upstream.requests();
        requests.iter().rev().find(|request| request.target() == target).map(|request| request.connection)
    };
    let asked = connection(&format!("/{number}"))?;
    if row.want.reused() && row.then == Then::Stays {
        return (!upstream.is_open(asked)).then(|| "the upstream connection should have been kept".into());
    }
    until(&format!("the upstream connection of {:?} ends", row.name), || !upstream.is_open(asked));
    (connection(&probe) == Some(asked)).then(|| "the upstream connection was used again".into())
}

const SPLIT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";

#[test]
fn an_answer_whose_end_is_ambiguous_is_never_passed_on() {
    run_table(|| {
        vec![
            bad(
                "both lengths",
                "9112 6.3",
                "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            bad(
                "both lengths, TE first",
                "9112 6.3",
                "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                "0\r\n\r\n",
            ),
            bad("CL twice, equal", "9112 6.3", "Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
            bad("CL twice, different", "9112 6.3", "Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"),
            bad("CL as a list", "9112 6.3", "Content-Length: 3, 3\r\n", "abc"),
            bad("CL with a plus", "9110 8.6", "Content-Length: +3\r\n", "abc"),
            bad("CL negative", "9110 8.6", "Content-Length: -1\r\n", "abc"),
            bad("CL empty", "9110 8.6", "Content-Length:\r\n", "abc"),
            bad("CL not a number", "9110 8.6", "Content-Length: abc\r\n", "abc"),
            bad("CL over 64 bits", "9110 8.6", "Content-Length: 18446744073709551619\r\n", "abc"),
            bad("gzip", "9112 6.3", "Transfer-Encoding: gzip\r\n", "abc").then(Then::Closes),
            bad("gzip and chunked", "9112 7", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
            bad("identity", "9112 7", "Transfer-Encoding: identity\r\n", "abc"),
            bad("chunked twice", "9112 6.1", "Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
            bad(
                "two TE lines",
                "9112 6.1",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            row(
                "TE from HTTP/1.0",
                "9112 6.1",
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                invalid(),
            ),
            row(
                "204 with a length",
                "9110 8.6",
                "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nforged",
                invalid(),
            ),
            row(
                "204 in chunks",
                "9112 6.1",
                "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                invalid(),
            ),
            row(
                "304 in chunks",
                "9112 6.1",
                "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                invalid(),
            ),
            row(
                "103 with a length",
                "9110 8.6",
                format!("HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\nabc{SPLIT}"),
                invalid(),
            ),
            row(
                "101 that nobody asked for",
                "9110 15.2.2",
                "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
                invalid(),
            ),
            row(
                "a flood of 1xx",
                "9110 15.2",
                format!(
                    "{}{OK}Content-Length: 0\r\n\r\n",
                    "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n".repeat(200)
                ),
                invalid(),
            ),
        ]
    });
}

#[test]
fn an_answer_that_is_not_http_is_never_passed_on() {
    run_table(|| {
        vec![
            bad_line("another protocol", "9112 4", "ICY 200 OK"),
            bad_line("a status that is no number", "9112 4", "HTTP/1.1 2OO OK"),
            bad_line("a status of two digits", "9110 15", "HTTP/1.1 20 OK"),
            bad_line("a status of four digits", "9110 15", "HTTP/1.1 2000 OK"),
            bad_line("a status below 100", "9110 15", "HTTP/1.1 099 Odd"),
            bad_line("a status over 599", "9110 15", "HTTP/1.1 600 Odd"),
            bad_line("version 2", "9112 2.3", "HTTP/2.0 200 OK"),
            bad_line("two spaces", "9112 4", "HTTP/1.1  200 OK"),
            bad("no colon", "9112 5", "X\r\nContent-Length: 0\r\n", ""),
            bad("empty name", "9110 5.1", ": 1\r\nContent-Length: 0\r\n", ""),
            bad("a space before the colon", "9112 5.1", "Content-Length : 3\r\n", "abc"),
            bad("folded", "9112 5.2", "X: a\r\n b\r\nContent-Length: 0\r\n", ""),
            bad("NUL in a value", "9110 5.5", "X: a\0b\r\nContent-Length: 0\r\n", ""),
            bad("bare CR in a value", "9110 5.5", "X: a\rb\r\nContent-Length: 0\r\n", ""),
            row("bare LF", "9112 2.2", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", invalid()),
            row("a header without end", "9112 5", format!("{OK}X: {}", "x".repeat(400_000)), invalid()),
            row("a banner", "9112 4", "220 mail.test ESMTP\r\n\r\n", invalid()),
            row("nothing, then FIN", "9112 8", "", Want::Refused("upstream_reset")).then(Then::Closes),
            row("nothing, then RST", "9112 8", "", Want::Refused("upstream_reset")).then(Then::Resets),
            row("half a head, then FIN", "9112 8", "HTTP/1.1 200 OK\r\nX: ", Want::Refused("upstream_reset"))
                .then(Then::Closes),
            row(
                "only 103, then FIN",
                "9112 8",
                "HTTP/1.1 103 Early Hints\r\n\r\n",
                Want::Refused("upstream_reset"),
            )
            .then(Then::Closes),
        ]
    });
}

#[test]
fn a_short_body_is_seen_to_be_short() {
    run_table(|| {
        let cut = |name, fields, body, then| ok(name, "9112 8", fields, body, Want::Cut).then(then);
        let chunked = "Transfer-Encoding: chunked\r\n";
        vec![
            cut("a length, then FIN", "Content-Length: 9\r\n", "abc", Then::Closes),
            cut("a length, then RST", "Content-Length: 9\r\n", "abc", Then::Resets),
            cut("a length and no byte, then FIN", "Content-Length: 9\r\n", "", Then::Closes),
            cut("chunks, then FIN", chunked, "3\r\nabc\r\n", Then::Closes),
            cut("chunks, then RST", chunked, "3\r\nabc\r\n", Then::Resets),
            cut("half a chunk, then FIN", chunked, "9\r\nabc", Then::Closes),
            cut("no end of the trailers, then FIN", chunked, "3\r\nabc\r\n0\r\n", Then::Closes),
            cut("until close, then RST", "", "abc", Then::Resets),
            cut("a chunk size that is none", chunked, "3\r\nabc\r\nxyz\r\n", Then::Stays),
            cut("a chunk longer than its size", chunked, "3\r\nabcd\r\n0\r\n\r\n", Then::Stays),
            cut("a chunk size over 64 bits", chunked, "fffffffffffffffff\r\nabc\r\n", Then::Stays),
            cut("a length, then FIN, to HTTP/1.0", "Content-Length: 9\r\n", "abc", Then::Closes)
                .asked(ASK_AS_1_0),
            cut("chunks, then FIN, to HTTP/1.0", chunked, "3\r\nabc\r\n", Then::Closes).asked(ASK_AS_1_0),
            cut("chunks, then RST, to HTTP/1.0", chunked, "3\r\nabc\r\n", Then::Resets).asked(ASK_AS_1_0),
            cut("until close, then RST, to HTTP/1.0", "", "abc", Then::Resets).asked(ASK_AS_1_0),
        ]
    });
}

#[test]
fn an_answer_that_is_framed_well_arrives() {
    run_table(|| {
        let chunked = "Transfer-Encoding: chunked\r\n";
        vec![
            ok("a length", "9112 6.3", "Content-Length: 3\r\n", "abc", whole("abc").has("Content-Length: 3")),
            ok(
                "chunks",
                "9112 7.1",
                chunked,
                "3\r\nabc\r\n0\r\n\r\n",
                whole("abc").has("Transfer-Encoding: chunked"),
            ),
            ok("chunks with extensions", "9112 7.1.1", chunked, "3;a=b\r\nabc\r\n0;c\r\n\r\n", whole("abc")),
            ok("trailers", "9112 7.1.2", chunked, "3\r\nabc\r\n0\r\nX: 1\r\n\r\n", whole("abc")),
            ok("until close", "9112 6.3", "", "abc", whole("abc")).then(Then::Closes),
            ok("an empty body until close", "9112 6.3", "", "", whole("")).then(Then::Closes),
            row("from HTTP/1.0", "9112 9.3", "HTTP/1.0 200 OK\r\n\r\nabc", whole("abc")).then(Then::Closes),
            ok(
                "chunks to HTTP/1.0",
                "9112 7.1",
                chunked,
                "3\r\nabc\r\n0\r\n\r\n",
                whole("abc").lacks("transfer-encoding").has("Connection: close"),
            )
            .asked(ASK_AS_1_0),
            ok(
                "chunks to HTTP/1.0 that would stay",
                "9112 9.3",
                chunked,
                "3\r\nabc\r\n0\r\n\r\n",
                whole("abc").lacks("transfer-encoding").has("Connection: close"),
            )
            .asked(ASK_AS_1_0_TO_KEEP),
            ok(
                "a length to HTTP/1.0 that would stay",
                "9112 9.3",
                "Content-Length: 3\r\n",
                "abc",
                whole("abc").has("Connection: keep-alive"),
            )
            .asked(ASK_AS_1_0_TO_KEEP),
            ok("until close to HTTP/1.0", "9112 6.3", "", "abc", whole("abc"))
                .then(Then::Closes)
                .asked(ASK_AS_1_0),
            ok(
                "to HEAD, a length",
                "9110 9.3.2",
                "Content-Length: 3\r\n",
                "",
                whole("").has("Content-Length: 3"),
            )
            .asked(HEAD),
            ok("to HEAD, chunks", "9110 9.3.2", chunked, "", whole("")).asked(HEAD),
            ok("a body to HEAD", "9112 6.3", "Content-Length: 49\r\n", SPLIT, whole("").but_not_reused())
                .asked(HEAD),
            ok(
                "more than its length",
                "9112 6.3",
                "Content-Length: 3\r\n",
                "abcHTTP/1.1 200 OK\r\n\r\n",
                whole("abc").but_not_reused(),
            ),
            row(
                "204",
                "9112 6.3",
                "HTTP/1.1 204 No Content\r\n\r\n",
                status(204, "").lacks("content-length"),
            ),
            row(
                "304 with a length",
                "9110 8.6",
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\nETag: \"x\"\r\n\r\n",
                status(304, "").has("ETag: \"x\""),
            ),
            row(
                "a status nobody knows",
                "9110 15",
                "HTTP/1.1 299 Odd\r\nContent-Length: 1\r\n\r\nx",
                status(299, "x"),
            ),
            row("no reason phrase", "9112 4", "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx", whole("x")),
            row(
                "103 before",
                "9110 15.2",
                format!("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n{OK}Content-Length: 3\r\n\r\nabc"),
                whole("abc"),
            ),
            row(
                "100 that nobody asked for",
                "9110 15.2.1",
                format!("HTTP/1.1 100 Continue\r\n\r\n{OK}Content-Length: 3\r\n\r\nabc"),
                whole("abc"),
            ),
            row(
                "103 before, to HTTP/1.0",
                "9110 15.2",
                format!("HTTP/1.1 103 E\r\n\r\n{OK}Content-Length: 1\r\n\r\nx"),
                whole("x"),
            )
            .asked(ASK_AS_1_0),
            ok(
                "close",
                "9112 9.6",
                "Content-Length: 1\r\nConnection: close\r\n",
                "x",
                whole("x").but_not_reused(),
            ),
        ]
    });
}

#[test]
fn fields_that_belong_to_one_hop_end_there() {
    run_table(|| {
        let length = |fields: &str| format!("Content-Length: 0\r\n{fields}");
        vec![
            ok(
                "what Connection names",
                "9110 7.6.1",
                &length("Connection: X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n"),
                "",
                whole("").lacks("x-hop").has("X-End: 2"),
            ),
            ok(
                "Keep-Alive",
                "9110 7.6.1",
                &length("Keep-Alive: timeout=5\r\n"),
                "",
                whole("").lacks("keep-alive"),
            ),
            ok(
                "Proxy-Connection",
                "9110 7.6.1",
                &length("Proxy-Connection: x\r\n"),
                "",
                whole("").lacks("proxy-connection"),
            ),
            ok(
                "Upgrade",
                "9110 7.8",
                &length("Connection: Upgrade\r\nUpgrade: h2c\r\n"),
                "",
                whole("").lacks("upgrade"),
            ),
            ok("Via", "9110 7.6.3", &length(""), "", whole("").has("Via: 1.1 tetap")),
            ok(
                "the upstream's Server",
                "9110 10.2.4",
                &length("Server: mine\r\n"),
                "",
                whole("").has("Server: mine"),
            ),
            ok("no Server of the proxy's", "9110 10.2.4", &length(""), "", whole("").lacks("server")),
            ok(
                "two cookies",
                "6265 3",
                &length("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"),
                "",
                whole("").has("Set-Cookie: a=1").has("Set-Cookie: b=2"),
            ),
            ok(
                "the upstream's Date",
                "9110 6.6.1",
                &length("Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n"),
                "",
                whole("").has("Date: Tue, 15 Nov 1994 08:12:31 GMT"),
            ),
        ]
    });
}

/// A head that comes in one piece passes by as bytes, one that comes in two is taken apart: clients must not see which.
#[test]
fn an_answer_is_the_same_however_it_comes() {
    const HEADS: &[(&str, &str)] = &[
        ("Content-Length: 2", "ok"),
        (
            "Server: s\r\nDate: Wed, 25 Nov 2026 10:00:00 GMT\r\nETag: \"1\"\r\nContent-Length: 2\r\nVia: 1.1 inner",
            "ok",
        ),
        ("Transfer-Encoding: chunked\r\nX-A: 1\r\nx-a: 2", "2\r\nok\r\n0\r\n\r\n"),
        ("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: keep-alive\r\nContent-Length: 2", "ok"),
        ("Connection: close\r\nX-Request-Id: theirs\r\nContent-Length: 2", "ok"),
        ("Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2", "ok"),
        ("X-Empty:\r\nX-Wide: \t a  b \t\r\nContent-Length: 2", "ok"),
        ("X-Until-Close: 1", "ok"),
    ];
    let upstream = Scripted::start(|talk| {
        while let Some(request) = talk.request() {
            let target = request.target();
            let (number, pieces) = target[1..].split_once('/').unwrap();
            let (fields, body) = HEADS[number.parse::<usize>().unwrap()];
            let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}");
            if pieces == "one" {
                talk.write(&answer);
            } else {
                talk.write(&answer[..20]);
                talk.pause(Duration::from_millis(20));
                talk.write(&answer[20..]);
            }
            if fields.contains("close") || fields.contains("Close") {
                return;
            }
        }
    });
    let tetap = Tetap::to(&[upstream.address()]);
    for (number, (head, _)) in HEADS.iter().enumerate() {
        let seen = ["one", "two"].map(|pieces| {
            let mut client = tetap.client();
            client.send(format!("GET /{number}/{pieces} HTTP/1.1\r\nHost: t\r\nX-Request-Id: mine\r\n\r\n"));
            let answer = client.read_answer();
            let mut fields: Vec<_> =
                answer.head.fields.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
            if number != 1 {
                fields.retain(|(name, _)| name != "date"); // the proxy's own, which goes on
            }
            fields.sort_by(|a, b| a.0.cmp(&b.0)); // their order says nothing, but among those of one name
            (answer.status, fields, answer.text())
        });
        assert_eq!(seen[0], seen[1], "{head}");
        assert_eq!(seen[0].2, "ok");
    }
}
