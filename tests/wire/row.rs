//! The rows of the request tables, and what checks them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::support::message::Head;
use crate::support::{Answer, Client, End, Received, Scripted, Tetap};

/// The configuration that most tables run on: one route for everything, tight limits, one trusted neighbour.
pub const EVERYTHING_TO_ECHO: &str = "
listeners:
  - name: web
    address: 127.0.0.1:{port:web}
    limits: {header: 4KiB, header_count: 20, uri: 1KiB, body: 1KiB}
    timeouts: {header: 3s, read: 3s}
trusted_proxies: [127.0.0.9]
upstreams:
  echo: {endpoints: [\"{echo}\"]}
routes:
  - {name: all, match: {path: {prefix: /}}, upstream: echo}
";

/// Who is trusted there.
pub const TRUSTED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

/// One connection: what is sent, and what each answer must be.
pub struct Row {
    name: &'static str,
    rfc: &'static str,
    send: Vec<u8>,
    from: Option<IpAddr>,
    want: Vec<Want>,
}

/// A row with one answer.
pub fn row(name: &'static str, rfc: &'static str, send: impl AsRef<[u8]>, want: Want) -> Row {
    rows(name, rfc, send, vec![want])
}

/// A row with several answers, in order.
pub fn rows(name: &'static str, rfc: &'static str, send: impl AsRef<[u8]>, want: Vec<Want>) -> Row {
    Row { name, rfc, send: send.as_ref().to_vec(), from: None, want }
}

impl Row {
    /// Sent by the trusted neighbour.
    pub fn from_trusted(mut self) -> Row {
        self.from = Some(TRUSTED);
        self
    }
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum After {
    Kept,
    Closed,
    Either,
}

/// What the upstream may have seen.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reaches {
    Nothing,
    /// The beginning perhaps, but never a request that looks whole.
    NothingWhole,
    Request(&'static str),
}

/// What one request must come to. In expected values, `{web}` stands for the listener's port.
#[derive(Clone, Debug)]
pub struct Want {
    status: u16,
    cause: &'static str,
    after: After,
    reaches: Reaches,
    answer_has: Vec<&'static str>,
    answer_lacks: Vec<&'static str>,
    answer_body: Option<&'static str>,
    upstream_has: Vec<&'static str>,
    upstream_lacks: Vec<&'static str>,
    upstream_body: &'static [u8],
    to_head: bool,
    made_id: bool,
    allow: &'static [&'static str],
}

/// Answered by the proxy itself, upstream untouched, connection kept.
pub fn answered(status: u16) -> Want {
    Want {
        status,
        cause: "",
        after: After::Kept,
        reaches: Reaches::Nothing,
        answer_has: vec![],
        answer_lacks: vec![],
        answer_body: None,
        upstream_has: vec![],
        upstream_lacks: vec![],
        upstream_body: b"",
        to_head: false,
        made_id: false,
        allow: &[],
    }
}

/// A problem document and the end of the connection; the upstream never hears of it.
pub fn refused(status: u16, cause: &'static str) -> Want {
    Want { cause, after: After::Closed, answer_has: vec!["Connection: close"], ..answered(status) }
}

/// A problem document; the connection may stand.
pub fn declined(status: u16, cause: &'static str) -> Want {
    Want { cause, after: After::Either, ..answered(status) }
}

/// Reaches the upstream with this request line and is answered 200; connection kept.
pub fn forwarded(line: &'static str) -> Want {
    Want { reaches: Reaches::Request(line), ..answered(200) }
}

impl Want {
    pub fn closed(mut self) -> Want {
        self.after = After::Closed;
        self
    }

    pub fn answer_has(mut self, field: &'static str) -> Want {
        self.answer_has.push(field);
        self
    }

    pub fn answer_lacks(mut self, name: &'static str) -> Want {
        self.answer_lacks.push(name);
        self
    }

    pub fn answer_body(mut self, body: &'static str) -> Want {
        self.answer_body = Some(body);
        self
    }

    pub fn has(mut self, field: &'static str) -> Want {
        self.upstream_has.push(field);
        self
    }

    pub fn lacks(mut self, name: &'static str) -> Want {
        self.upstream_lacks.push(name);
        self
    }

    pub fn body(mut self, body: &'static str) -> Want {
        self.upstream_body = body.as_bytes();
        self
    }

    /// Answers a HEAD although nothing was forwarded.
    pub fn to_head(mut self) -> Want {
        self.to_head = true;
        self
    }

    /// The request id is the proxy's own, the same on both sides.
    pub fn made_id(mut self) -> Want {
        self.made_id = true;
        self
    }

    /// `Allow` lists at least these.
    pub fn answer_has_allow(mut self, methods: &'static [&'static str]) -> Want {
        self.allow = methods;
        self
    }

    /// The fault is in the body, so that the upstream may have seen the beginning.
    pub fn midway(mut self) -> Want {
        self.reaches = Reaches::NothingWhole;
        self
    }

    fn is_forwarded(&self) -> bool {
        matches!(self.reaches, Reaches::Request(_))
    }

    fn is_to_head(&self) -> bool {
        self.to_head || matches!(self.reaches, Reaches::Request(line) if line.starts_with("HEAD "))
    }
}

/// Runs a table against one proxy and prints every row that fails.
pub fn run_table(yaml: &str, table: Vec<Row>) {
    let bench = Bench::start(yaml);
    let failures: Vec<String> = table.iter().filter_map(|row| bench.run(row).err()).collect();
    assert!(failures.is_empty(), "{} of {} rows fail\n{}", failures.len(), table.len(), failures.join("\n"));
    bench.nothing_came_late(&table);
}

const PROBE: &str = "GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n";

/// A proxy between the rows and an upstream that records.
struct Bench {
    tetap: Tetap,
    echo: Scripted,
}

impl Bench {
    fn start(yaml: &str) -> Bench {
        let echo = Scripted::answering("echo");
        let tetap = Tetap::start(&yaml.replace("{echo}", &echo.address().to_string()));
        Bench { tetap, echo }
    }

    fn run(&self, row: &Row) -> Result<(), String> {
        let before = self.whole().len();
        let mut faults = self.talk(row);
        let reached = self.whole().split_off(before);
        faults.extend(self.compare_reached(row, &reached));
        if faults.is_empty() {
            return Ok(());
        }
        Err(format!("  {} (RFC {})\n      {}", row.name, row.rfc, faults.join("\n      ")))
    }

    fn talk(&self, row: &Row) -> Vec<String> {
        let address = self.tetap.address("web");
        let mut client =
            row.from.map_or_else(|| Client::connect(address), |ip| Client::connect_from(ip, address));
        client.send(&row.send);
        let mut faults = Vec::new();
        for want in &row.want {
            match client.try_answer(want.is_to_head()) {
                Ok(answer) => faults.extend(self.compare_answer(want, &answer)),
                Err(end) => return vec![format!("wanted {}, got no answer: {end:?}", want.status)],
            }
        }
        faults.extend(row.want.last().and_then(|want| after(want.after, &mut client)));
        faults
    }

    fn compare_answer(&self, want: &Want, answer: &Answer) -> Vec<String> {
        let mut faults = Vec::new();
        if answer.end != End::Whole {
            return vec![format!("the answer is not whole: {answer:?}")];
        }
        if answer.verdict() != (want.status, want.cause.to_string()) {
            faults.push(format!("wanted {} {:?}, got {:?}", want.status, want.cause, answer.verdict()));
        }
        match answer.head.one("x-request-id") {
            None => faults.push("the answer has no X-Request-Id".into()),
            Some(id) if want.made_id && !is_uuid_v7(id) => faults.push(format!("{id:?} is no UUIDv7")),
            Some(_) => {}
        }
        let missing = want.allow.iter().filter(|method| !answer.head.lists("allow", method));
        faults.extend(missing.map(|method| format!("Allow lacks {method}: {:?}", answer.head.all("allow"))));
        faults.extend(self.fields("answer", &answer.head, &want.answer_has, &want.answer_lacks));
        let body = String::from_utf8_lossy(&answer.body);
        let differs = want.answer_body.filter(|wanted| *wanted != body);
        faults.extend(differs.map(|wanted| format!("wanted body {wanted:?}, got {body:?}")));
        faults
    }

    fn fields(&self, side: &str, head: &Head, has: &[&str], lacks: &[&str]) -> Vec<String> {
        let missing = has.iter().map(|field| self.fill_in(field)).filter(|field| !carries(head, field));
        let missing = missing.map(|field| format!("{side} lacks {field:?}: {:?}", head.fields));
        let present = lacks.iter().filter(|name| !head.all(name).is_empty());
        let present = present.map(|name| format!("{side} has {name}: {:?}", head.all(name)));
        missing.chain(present).collect()
    }

    fn fill_in(&self, text: &str) -> String {
        text.replace("{web}", &self.tetap.address("web").port().to_string())
    }

    fn compare_reached(&self, row: &Row, reached: &[Received]) -> Vec<String> {
        let reached: Vec<_> = reached.iter().filter(|request| request.target() != "/probe").collect();
        let wanted: Vec<_> = row.want.iter().filter(|want| want.is_forwarded()).collect();
        if reached.len() != wanted.len() {
            let lines: Vec<_> = reached.iter().map(|request| &request.head.line).collect();
            return vec![format!("wanted {} requests at the upstream, got {lines:?}", wanted.len())];
        }
        wanted.iter().zip(reached).flat_map(|(want, request)| self.compare_request(want, request)).collect()
    }

    fn compare_request(&self, want: &Want, request: &Received) -> Vec<String> {
        let mut faults = Vec::new();
        if !matches!(want.reaches, Reaches::Request(line) if line == request.head.line) {
            faults.push(format!("wanted {:?}, the upstream got {:?}", want.reaches, request.head.line));
        }
        if want.upstream_body != request.body {
            let (wanted, got) = (want.upstream_body, &request.body);
            faults.push(format!("wanted body {:?}, the upstream got {:?}", lossy(wanted), lossy(got)));
        }
        if want.made_id && !request.head.one("x-request-id").is_some_and(is_uuid_v7) {
            faults.push(format!("the upstream got the request id {:?}", request.head.all("x-request-id")));
        }
        faults.extend(self.fields("request", &request.head, &want.upstream_has, &want.upstream_lacks));
        faults
    }

    fn whole(&self) -> Vec<Received> {
        self.echo.requests().into_iter().filter(|request| request.end == End::Whole).collect()
    }

    /// A smuggled request could arrive after its row: then the whole count is off.
    fn nothing_came_late(&self, table: &[Row]) {
        let wanted = table.iter().flat_map(|row| &row.want).filter(|want| want.is_forwarded()).count();
        let whole = self.whole();
        let reached = whole.iter().filter(|request| request.target() != "/probe").count();
        assert_eq!(reached, wanted, "requests at the upstream, all rows together");
    }
}

fn carries(head: &Head, field: &str) -> bool {
    let (name, value) = field.split_once(": ").expect("name: value");
    head.all(name).contains(&value)
}

fn is_uuid_v7(id: &str) -> bool {
    let groups: Vec<usize> = id.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && id.as_bytes()[14] == b'7'
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn after(wanted: After, client: &mut Client) -> Option<String> {
    client.set_patience(Duration::from_secs(5)); // the answer is there: what is to come comes soon
    match wanted {
        After::Closed if !client.is_closed() => Some("the connection should have been closed".into()),
        After::Kept if !client.is_kept(PROBE) => Some("the connection should have been kept".into()),
        _ => None,
    }
}
