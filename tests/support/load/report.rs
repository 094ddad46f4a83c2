//! What a load has come to: the one line of the table, and the questions that a test asks.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeBounds;
use std::time::Duration;

use super::super::ask::Kind;
use super::super::{Server, target_folder};
use super::{Outcome, Verdict};

/// All outcomes of one scenario, and what the servers have written down.
pub struct Report {
    scenario: String,
    outcomes: Vec<Outcome>,
    /// Which servers received a request, and how often: `POST 17`.
    received: BTreeMap<String, Vec<String>>,
}

impl Report {
    /// Joins what the client saw with the servers' books.
    pub fn new(scenario: &str, outcomes: Vec<Outcome>, servers: &[Server]) -> Report {
        let mut received: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for server in servers {
            for request in server.received() {
                received.entry(request).or_default().push(server.name().to_owned());
            }
        }
        Report { scenario: scenario.into(), outcomes, received }
    }

    /// Every request of this kind.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(move |outcome| outcome.ask.kind == kind)
    }

    /// Requests of this kind that failed, but for answers that had begun and were cut.
    pub fn failed(&self, kind: Kind) -> Vec<&Outcome> {
        let bad = self.all(kind).filter(|outcome| !outcome.verdict.is_good());
        bad.filter(|outcome| !matches!(outcome.verdict, Verdict::Cut(_))).collect()
    }

    /// Requests of this kind whose answers had begun and were cut, visibly.
    pub fn cut(&self, kind: Kind) -> Vec<&Outcome> {
        self.all(kind).filter(|outcome| matches!(outcome.verdict, Verdict::Cut(_))).collect()
    }

    /// Requests whose answers looked whole and were not what the server must answer.
    pub fn deceived(&self) -> Vec<&Outcome> {
        let lies = |verdict: &Verdict| matches!(verdict, Verdict::Short { .. } | Verdict::False(_));
        self.outcomes.iter().filter(|outcome| lies(&outcome.verdict)).collect()
    }

    /// POSTs that were delivered more than once, and to whom.
    pub fn doubled(&self) -> Vec<(&String, &Vec<String>)> {
        let posts = self.received.iter().filter(|(request, _)| request.starts_with("POST"));
        posts.filter(|(_, servers)| servers.len() > 1).collect()
    }

    /// POSTs that were answered by a server which never had them: if there are any, the books are wrong.
    pub fn unrecorded(&self) -> Vec<&Outcome> {
        let recorded = |outcome: &Outcome, by| self.receivers(outcome).contains(by);
        let posts = self.all(Kind::Post);
        posts.filter(|o| matches!(&o.verdict, Verdict::Good { by } if !recorded(o, by))).collect()
    }

    /// Who received a request.
    pub fn receivers(&self, outcome: &Outcome) -> &[String] {
        let key = format!("{} {}", outcome.ask.method(), outcome.ask.id);
        self.received.get(&key).map_or(&[], Vec::as_slice)
    }

    /// How many requests the client sent.
    pub fn requests(&self) -> usize {
        self.outcomes.len()
    }

    /// How many requests the servers received.
    pub fn deliveries(&self) -> usize {
        self.received.values().map(Vec::len).sum()
    }

    /// The requests that were due within this time.
    pub fn within(&self, time: impl RangeBounds<Duration>) -> Vec<&Outcome> {
        self.outcomes.iter().filter(|outcome| time.contains(&outcome.due)).collect()
    }

    /// How long the requests took that were due within this time, failed ones included.
    pub fn latency(&self, time: impl RangeBounds<Duration>) -> Latency {
        Latency::of(self.within(time).iter().map(|outcome| outcome.took).collect())
    }

    /// Prints the line, and puts it into `faults.tsv` in the target folder in place of the scenario's last one, so that the
    /// table is there after a run, whichever scenarios were run.
    pub fn publish(&self) {
        println!("{self}");
        let file = target_folder().join("faults.tsv");
        let old = std::fs::read_to_string(&file).unwrap_or_default();
        let others = old.lines().filter(|line| !line.starts_with(&format!("{}\t", self.scenario)));
        let row = self.row().join("\t");
        let lines: Vec<&str> =
            others.filter(|line| *line != HEADINGS.join("\t")).chain([row.as_str()]).collect();
        std::fs::write(file, format!("{}\n{}\n", HEADINGS.join("\t"), lines.join("\n"))).unwrap();
    }

    fn row(&self) -> Vec<String> {
        let Latency { p50, p99, max } = self.latency(..);
        let counts = [
            self.requests(),
            self.failed(Kind::Get).len(),
            self.cut(Kind::Get).len(),
            self.failed(Kind::Post).len() + self.cut(Kind::Post).len(),
            self.doubled().len(),
            self.deceived().len(),
        ];
        let times = [p50, p99, max].map(|time| format!("{:.1}", time.as_secs_f64() * 1e3));
        std::iter::once(self.scenario.clone())
            .chain(counts.map(|count| count.to_string()))
            .chain(times)
            .collect()
    }
}

const HEADINGS: [&str; 10] = [
    "scenario",
    "requests",
    "failed GETs",
    "GETs cut",
    "failed POSTs",
    "duplicated POSTs",
    "false answers",
    "p50 ms",
    "p99 ms",
    "max ms",
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row();
        write!(f, "{:<46}", row[0])?;
        HEADINGS.iter().zip(&row).skip(1).try_for_each(|(heading, cell)| write!(f, " | {heading} {cell}"))
    }
}

/// How long requests took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Half of them at most.
    pub p50: Duration,
    /// 99 of 100 at most.
    pub p99: Duration,
    /// All of them at most.
    pub max: Duration,
}

impl Latency {
    /// By nearest rank; all zero when there are none.
    pub fn of(mut times: Vec<Duration>) -> Latency {
        times.sort_unstable();
        let rank = |percent: usize| times.get((times.len() * percent).div_ceil(100).max(1) - 1).copied();
        let [p50, p99, max] = [50, 99, 100].map(|percent| rank(percent).unwrap_or_default());
        Latency { p50, p99, max }
    }
}
