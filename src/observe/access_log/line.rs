//! How a line looks.
//!
//! The keys and their order are a contract with whoever parses the log; a key is always there, `null` (in text: `-`) where
//! there is nothing to say. Both formats are printed from the one list in [`append_details`], after what a text line shows without keys.
//!
//! | key | value |
//! |---|---|
//! | `time` | when the first byte of the request came; RFC 3339, UTC, milliseconds |
//! | `client` | address of the client, behind trusted proxies the one that they name; `unix` |
//! | `method`, `target`, `protocol` | the request line, its path in normal form; `null` where there was none |
//! | `status` | of the answer; 499 where the client went away before it |
//! | `listener`, `scheme`, `host` | how the client came in; behind trusted proxies `scheme` is what they say |
//! | `cause` | a word of [`Cause`], where the answer is not an upstream's own |
//! | `route`, `upstream` | names from the configuration |
//! | `attempts` | in order: `endpoint`, `outcome`, `reused`, `connect_ms`, `first_byte_ms`, `status` |
//! | `queued_ms` | wait for the upstream to have room, and for an endpoint to come back |
//! | `first_byte_ms`, `duration_ms` | from the request's first byte to the answer's first, and last |
//! | `bytes_received`, `bytes_sent` | of the bodies |
//! | `request_id` | as in `X-Request-Id`, for the upstream and for the client |
//! | `user_agent`, `referer` | as sent |
//! | `generation` | of the configuration that served it |
//!
//! Of a head that was refused, the target is shown as sent, its first
//! [`REFUSED_TARGET_BYTES`](crate::limits::REFUSED_TARGET_BYTES) at most, and no field is believed: `host` is `null`, and
//! `client` the peer itself. `OPTIONS *`, which the proxy answers, has the peer for its client, too.
//!
//! Text is for people: `time client "request line" status`, then `key=value`, quoted where a value has blanks in it.
//! An attempt is `endpoint/outcome/new` (or `reused`), its two times and its status, commas between attempts.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::{AttemptRecord, Client, Format, Record, escape};
use crate::failure::Cause;

/// What a line takes at most, but for unusually long targets and user agents. Only saves growing the buffer.
pub const USUAL_BYTES: usize = 1024;

/// 9999-12-31T23:59:59Z, after 1970.
const END_OF_9999: Duration = Duration::from_secs(253_402_300_799);

/// What stands behind a key.
enum Value<'a> {
    Nothing,
    /// A word of this program, or a name that the configuration allows: safe as it is.
    Word(&'a str),
    /// From the client.
    Text(&'a [u8]),
    Integer(u64),
    Millis(Duration),
    Ip(IpAddr),
    Attempts(&'a [AttemptRecord<'a>]),
}

/// A key as each format writes it before its value. Put together when this is compiled: a line has two dozen.
#[derive(Clone, Copy)]
struct Key {
    json: &'static [u8],
    text: &'static [u8],
}

macro_rules! key {
    ($name:literal) => {
        Key { json: concat!(",\"", $name, "\":").as_bytes(), text: concat!(" ", $name, "=").as_bytes() }
    };
}

/// How a format writes a key and its value.
trait Notation {
    fn field(out: &mut Vec<u8>, key: Key, value: Value<'_>);
}

struct Json;

struct Text;

/// A time in words, of which all but the milliseconds are the same for all the lines of a second: they are kept, since to
/// print them takes longer than all the other numbers of a line.
#[derive(Debug, Default)]
pub struct Stamp(Mutex<Second>);

#[derive(Debug, Default)]
struct Second {
    number: u64,
    /// `2026-01-02T03:04:05`; empty before the first.
    text: Vec<u8>,
}

impl Stamp {
    /// RFC 3339, UTC, with milliseconds. A clock set before 1970 or after 9999 prints as the nearest time that can be said.
    fn append(&self, out: &mut Vec<u8>, time: SystemTime) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(END_OF_9999);
        let mut second = self.0.lock();
        if second.number != since.as_secs() || second.text.is_empty() {
            let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string();
            *second = Second { number: since.as_secs(), text: text.trim_end_matches('Z').into() };
        }
        out.extend_from_slice(&second.text);
        drop(second);
        append_fraction(out, since.subsec_millis().into());
        out.push(b'Z');
    }
}

/// Appends one line, its end included.
pub fn append(out: &mut Vec<u8>, format: Format, record: &Record<'_>, stamp: &Stamp) {
    match format {
        Format::Json => append_json(out, record, stamp),
        Format::Text => append_text(out, record, stamp),
    }
    out.push(b'\n');
}

/// Everything but what a text line shows without keys.
fn append_details<N: Notation>(out: &mut Vec<u8>, record: &Record<'_>) {
    N::field(out, key!("listener"), Value::Word(record.listener));
    N::field(out, key!("scheme"), word(Some(record.scheme)));
    N::field(out, key!("host"), known(record.host));
    N::field(out, key!("cause"), word(record.cause.map(Cause::as_str)));
    N::field(out, key!("route"), word(record.route));
    N::field(out, key!("upstream"), word(record.upstream));
    N::field(out, key!("attempts"), Value::Attempts(record.attempts));
    N::field(out, key!("queued_ms"), millis(record.queued));
    N::field(out, key!("first_byte_ms"), millis(record.first_byte));
    N::field(out, key!("duration_ms"), Value::Millis(record.duration));
    N::field(out, key!("bytes_received"), Value::Integer(record.bytes_received));
    N::field(out, key!("bytes_sent"), Value::Integer(record.bytes_sent));
    N::field(out, key!("request_id"), known(record.request_id));
    N::field(out, key!("user_agent"), text(record.user_agent));
    N::field(out, key!("referer"), text(record.referer));
    N::field(out, key!("generation"), Value::Integer(record.generation));
}

fn client(client: Client) -> Value<'static> {
    match client {
        Client::Ip(address) => Value::Ip(address),
        Client::Unix => Value::Word("unix"),
    }
}

fn known(value: &[u8]) -> Value<'_> {
    text(Some(value).filter(|value| !value.is_empty()))
}

fn word(value: Option<&str>) -> Value<'_> {
    value.filter(|value| !value.is_empty()).map_or(Value::Nothing, Value::Word)
}

fn text(value: Option<&[u8]>) -> Value<'_> {
    value.map_or(Value::Nothing, Value::Text)
}

fn millis(value: Option<Duration>) -> Value<'static> {
    value.map_or(Value::Nothing, Value::Millis)
}

fn number(value: Option<u16>) -> Value<'static> {
    value.map_or(Value::Nothing, |value| Value::Integer(value.into()))
}

fn append_json(out: &mut Vec<u8>, record: &Record<'_>, stamp: &Stamp) {
    out.extend_from_slice(b"{\"time\":\"");
    stamp.append(out, record.time);
    out.push(b'"');
    Json::field(out, key!("client"), client(record.client));
    Json::field(out, key!("method"), known(record.method.as_bytes()));
    Json::field(out, key!("target"), known(record.target));
    Json::field(out, key!("protocol"), known(record.protocol.as_bytes()));
    Json::field(out, key!("status"), Value::Integer(record.status.into()));
    append_details::<Json>(out, record);
    out.push(b'}');
}

impl Notation for Json {
    /// Inline, so that a key is a constant and a value's kind is known where it is written.
    #[inline(always)]
    fn field(out: &mut Vec<u8>, key: Key, value: Value<'_>) {
        out.extend_from_slice(key.json);
        append_json_value(out, &value);
    }
}

#[inline(always)]
fn append_json_value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Nothing => out.extend_from_slice(b"null"),
        Value::Integer(_) | Value::Millis(_) => append_bare(out, value),
        Value::Attempts(attempts) => append_json_attempts(out, attempts),
        Value::Word(_) | Value::Text(_) | Value::Ip(_) => append_quoted(out, value),
    }
}

fn append_json_attempts(out: &mut Vec<u8>, attempts: &[AttemptRecord<'_>]) {
    out.push(b'[');
    for (index, attempt) in attempts.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { b"," });
        append_json_attempt(out, attempt);
    }
    out.push(b']');
}

fn append_json_attempt(out: &mut Vec<u8>, attempt: &AttemptRecord<'_>) {
    let AttemptRecord { endpoint, outcome, reused, connect, first_byte, status } = attempt;
    out.extend_from_slice(b"{\"endpoint\":");
    append_json_value(out, &Value::Word(endpoint));
    Json::field(out, key!("outcome"), Value::Word(outcome.as_str()));
    out.extend_from_slice(if *reused { b",\"reused\":true" } else { b",\"reused\":false" });
    Json::field(out, key!("connect_ms"), millis(*connect));
    Json::field(out, key!("first_byte_ms"), millis(*first_byte));
    Json::field(out, key!("status"), number(*status));
    out.push(b'}');
}

fn append_text(out: &mut Vec<u8>, record: &Record<'_>, stamp: &Stamp) {
    stamp.append(out, record.time);
    out.push(b' ');
    append_text_value(out, &client(record.client));
    append_request_line(out, &[record.method.as_bytes(), record.target, record.protocol.as_bytes()]);
    append_integer(out, record.status.into());
    append_details::<Text>(out, record);
}

fn append_request_line(out: &mut Vec<u8>, parts: &[&[u8]; 3]) {
    for (before, part) in [&b" \""[..], b" ", b" "].into_iter().zip(parts) {
        out.extend_from_slice(before);
        append_bare(out, &known(part));
    }
    out.extend_from_slice(b"\" ");
}

impl Notation for Text {
    fn field(out: &mut Vec<u8>, key: Key, value: Value<'_>) {
        out.extend_from_slice(key.text);
        append_text_value(out, &value);
    }
}

fn append_text_value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Attempts([]) => append_bare(out, &Value::Nothing),
        Value::Attempts(attempts) => append_text_attempts(out, attempts),
        Value::Text(text) if !stands_alone(text) => append_quoted(out, value),
        _ => append_bare(out, value),
    }
}

/// Needs no quotes in a text line, and cannot be taken for "nothing".
fn stands_alone(text: &[u8]) -> bool {
    !text.is_empty()
        && text != b"-"
        && text.iter().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(byte))
}

fn append_text_attempts(out: &mut Vec<u8>, attempts: &[AttemptRecord<'_>]) {
    for (index, attempt) in attempts.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { b"," });
        append_text_attempt(out, attempt);
    }
}

fn append_text_attempt(out: &mut Vec<u8>, attempt: &AttemptRecord<'_>) {
    let AttemptRecord { endpoint, outcome, reused, connect, first_byte, status } = attempt;
    escape::append(out, endpoint.as_bytes());
    for word in ["/", outcome.as_str(), if *reused { "/reused/" } else { "/new/" }] {
        out.extend_from_slice(word.as_bytes());
    }
    append_bare(out, &millis(*connect));
    out.push(b'/');
    append_bare(out, &millis(*first_byte));
    out.push(b'/');
    append_bare(out, &number(*status));
}

#[inline(always)]
fn append_quoted(out: &mut Vec<u8>, value: &Value<'_>) {
    out.push(b'"');
    append_bare(out, value);
    out.push(b'"');
}

/// The value without what its format puts around it. Lists have their own functions.
#[inline(always)]
fn append_bare(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Nothing | Value::Attempts(_) => out.push(b'-'),
        Value::Word(word) => out.extend_from_slice(word.as_bytes()),
        Value::Text(text) => escape::append(out, text),
        Value::Integer(integer) => append_integer(out, *integer),
        Value::Millis(duration) => append_millis(out, *duration),
        Value::Ip(address) => append_ip(out, *address),
    }
}

/// Digits by hand: `write!` takes several times as long, and a line has eight numbers.
#[inline]
fn append_integer(out: &mut Vec<u8>, integer: u64) {
    if integer < 10 {
        return out.push(b'0' + integer as u8);
    }
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = integer;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Whole microseconds, with the point three digits from the end.
fn append_millis(out: &mut Vec<u8>, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    append_integer(out, micros / 1000);
    append_fraction(out, micros % 1000);
}

/// A point and three digits.
fn append_fraction(out: &mut Vec<u8>, thousandths: u64) {
    let digit = |divisor| b'0' + (thousandths / divisor % 10) as u8;
    out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
}

fn append_ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => append_octets(out, address.octets()),
        IpAddr::V6(address) => append_display(out, &address),
    }
}

fn append_octets(out: &mut Vec<u8>, [a, b, c, d]: [u8; 4]) {
    append_integer(out, a.into());
    for octet in [b, c, d] {
        out.push(b'.');
        append_integer(out, octet.into());
    }
}

/// Writing to memory does not fail.
fn append_display(out: &mut Vec<u8>, value: &dyn std::fmt::Display) {
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::observe::metrics::Outcome;

    fn full<'a>(attempts: &'a [AttemptRecord<'a>]) -> Record<'a> {
        Record {
            time: UNIX_EPOCH + Duration::from_millis(1_767_323_045_678),
            listener: "web",
            client: Client::Ip([203, 0, 113, 7].into()),
            method: "GET",
            scheme: "http",
            host: b"api.example.com",
            target: b"/orders?a=1",
            protocol: "HTTP/1.1",
            status: 503,
            cause: Some(Cause::ConnectFailed),
            route: Some("orders"),
            upstream: Some("api"),
            attempts,
            queued: Some(Duration::from_micros(5)),
            first_byte: Some(Duration::from_micros(1_200)),
            duration: Duration::from_micros(1_234_567),
            bytes_received: 0,
            bytes_sent: u64::MAX,
            request_id: b"0196-x",
            user_agent: Some(b"curl/8 \"x\""),
            referer: None,
            generation: 7,
        }
    }

    fn attempts() -> [AttemptRecord<'static>; 2] {
        [
            AttemptRecord {
                endpoint: "10.0.0.1:80",
                outcome: Outcome::ConnectFailed,
                reused: false,
                connect: None,
                first_byte: None,
                status: None,
            },
            AttemptRecord {
                endpoint: "10.0.0.2:80",
                outcome: Outcome::Ok,
                reused: true,
                connect: None,
                first_byte: Some(Duration::from_micros(999)),
                status: Some(200),
            },
        ]
    }

    fn nothing_known() -> Record<'static> {
        Record {
            time: UNIX_EPOCH,
            client: Client::Unix,
            method: "",
            host: b"",
            target: b"",
            protocol: "",
            cause: None,
            route: None,
            upstream: None,
            queued: None,
            first_byte: None,
            duration: Duration::ZERO,
            request_id: b"",
            user_agent: None,
            ..full(&[])
        }
    }

    fn print(format: Format, record: &Record<'_>) -> String {
        let mut out = Vec::new();
        append(&mut out, format, record, &Stamp::default());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_full_line_in_json() {
        let expected = concat!(
            r#"{"time":"2026-01-02T03:04:05.678Z","client":"203.0.113.7","method":"GET","target":"/orders?a=1","#,
            r#""protocol":"HTTP/1.1","status":503,"listener":"web","scheme":"http","host":"api.example.com","#,
            r#""cause":"connect_failed","route":"orders","upstream":"api","attempts":["#,
            r#"{"endpoint":"10.0.0.1:80","outcome":"connect_failed","reused":false,"connect_ms":null,"first_byte_ms":null,"status":null},"#,
            r#"{"endpoint":"10.0.0.2:80","outcome":"ok","reused":true,"connect_ms":null,"first_byte_ms":0.999,"status":200}],"#,
            r#""queued_ms":0.005,"first_byte_ms":1.200,"duration_ms":1234.567,"bytes_received":0,"#,
            r#""bytes_sent":18446744073709551615,"request_id":"0196-x","user_agent":"curl/8 \"x\"","#,
            r#""referer":null,"generation":7}"#,
            "\n"
        );
        assert_eq!(print(Format::Json, &full(&attempts())), expected);
    }

    #[test]
    fn a_full_line_in_text() {
        let expected = concat!(
            r#"2026-01-02T03:04:05.678Z 203.0.113.7 "GET /orders?a=1 HTTP/1.1" 503 listener=web scheme=http "#,
            "host=api.example.com cause=connect_failed route=orders upstream=api ",
            "attempts=10.0.0.1:80/connect_failed/new/-/-/-,10.0.0.2:80/ok/reused/-/0.999/200 ",
            "queued_ms=0.005 first_byte_ms=1.200 duration_ms=1234.567 bytes_received=0 ",
            r#"bytes_sent=18446744073709551615 request_id=0196-x user_agent="curl/8 \"x\"" referer=- generation=7"#,
            "\n"
        );
        assert_eq!(print(Format::Text, &full(&attempts())), expected);
    }

    #[test]
    fn every_key_is_there_when_nothing_is_known() {
        let line = print(Format::Json, &nothing_known());
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read.as_object().unwrap().len(), 22);
        for key in ["method", "target", "protocol", "host", "cause", "route", "user_agent", "request_id"] {
            assert!(read[key].is_null(), "{key} in {line}");
        }
        assert_eq!(read["client"], "unix");
    }

    #[test]
    fn nothing_known_in_text() {
        let line = print(Format::Text, &nothing_known());
        assert!(line.starts_with("1970-01-01T00:00:00.000Z unix \"- - -\" 503 listener=web "), "{line}");
        assert!(line.contains(" cause=- route=- upstream=- attempts=- queued_ms=- "), "{line}");
    }

    #[test]
    fn a_dash_that_the_client_sent_is_told_from_nothing() {
        let record = Record { user_agent: Some(b"-"), referer: Some(b""), ..nothing_known() };
        assert!(print(Format::Text, &record).contains(r#"user_agent="-" referer="""#));
    }

    #[test]
    fn a_client_cannot_forge_a_line() {
        let forged = b"x\n{\"status\":200}\r\n\"y\" status=200";
        let strange = Record {
            host: forged,
            target: forged,
            request_id: forged,
            user_agent: Some(forged),
            referer: Some(forged),
            ..full(&[])
        };
        for format in [Format::Json, Format::Text] {
            let line = print(format, &strange);
            assert_eq!(line.find(['\n', '\r']), Some(line.len() - 1), "{line}");
        }
        let read: serde_json::Value = serde_json::from_str(&print(Format::Json, &strange)).unwrap();
        assert_eq!(read["referer"].as_str().unwrap().as_bytes(), forged);
    }

    #[test]
    fn strange_clocks_are_no_reason_to_crash() {
        let before = Record { time: UNIX_EPOCH - Duration::from_secs(1), ..full(&[]) };
        assert!(print(Format::Json, &before).starts_with(r#"{"time":"1970-01-01T00:00:00.000Z""#));
        let after = Record { time: UNIX_EPOCH + Duration::from_secs(300_000_000_000), ..full(&[]) };
        assert!(print(Format::Json, &after).starts_with(r#"{"time":"9999-12-31T23:59:59.000Z""#));
    }

    #[test]
    fn the_second_that_is_kept_is_that_of_the_line() {
        let stamp = Stamp::default();
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..10_000 {
            let time = UNIX_EPOCH + Duration::from_millis(1_767_323_045_000 + random.u64(0..5_000));
            let mut out = Vec::new();
            stamp.append(&mut out, time);
            assert_eq!(out, humantime::format_rfc3339_millis(time).to_string().as_bytes());
        }
    }

    #[test]
    fn durations_have_three_decimals() {
        for (micros, expected) in [(0, "0.000"), (1, "0.001"), (999, "0.999"), (60_000_000, "60000.000")] {
            let mut out = Vec::new();
            append_millis(&mut out, Duration::from_micros(micros));
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn addresses_print_as_usual() {
        for address in ["0.0.0.0", "255.10.0.1", "::1", "2001:db8::7"] {
            let mut out = Vec::new();
            append_ip(&mut out, address.parse().unwrap());
            assert_eq!(out, address.as_bytes());
        }
    }
}
