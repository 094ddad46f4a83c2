//! Who the members of an upstream are, where that has to be found out.
//!
//! Names and files change while requests are served, and those who answer for them fail more often than the servers that
//! they lead to: a name server that is down must not take a working upstream down with it. So a source tells whole lists,
//! never an empty one, and only such as differ from what it told before. When it cannot find out, that is a [`Trouble`]:
//! it is counted, and logged when it is new; what was known before stays.
//!
//! | source | asked again |
//! |---|---|
//! | a [name](dns), or its [services](srv) | when the answer's lifetime is over; soon, and then less and less soon, while it fails |
//! | a [file](mod@file) | at fixed intervals |

mod dns;
mod file;
mod pace;
mod srv;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::limits;
use crate::plan::{Endpoint, Members};
use dns::{Addresses, Servers, Services};
use file::EndpointFile;
use pace::Pace;

/// Why the members cannot be found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A name server has not answered in time.
    Silent(Question),
    /// There is no answer: SERVFAIL, REFUSED and the like, or no way to the name server.
    Unanswered(Question, String),
    /// There is no such name (NXDOMAIN).
    NoSuchName(Question),
    /// The name has no record that could be used.
    NoRecords(Question),
    /// The name says that there is no such service (RFC 2782: a target that is the root).
    NoService(Question),
    /// The system does not say which name servers to ask.
    NoServers(String),
    /// So many endpoints, of which only the first [`limits::ENDPOINTS`] are used.
    TooMany(usize),
    /// A file cannot be read.
    Unreadable(String, String),
    /// A file is no list of endpoints; everything that is wrong with it.
    Malformed(String),
}

/// What a name server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Without the final dot.
    pub name: String,
    /// `A`, `AAAA` or `SRV`.
    pub kind: &'static str,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.kind, self.name)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Silent(question) => {
                write!(f, "{question}: no answer from the name server within {:?}", limits::LOOK_UP)
            }
            Trouble::Unanswered(question, why) => write!(f, "{question}: {why}"),
            Trouble::NoSuchName(question) => write!(f, "{}: no such name", question.name),
            Trouble::NoRecords(question) => write!(f, "{question}: nothing that could be used"),
            Trouble::NoService(question) => write!(f, "{question}: the service is not offered"),
            Trouble::NoServers(why) => write!(f, "no name server is known: {why}"),
            Trouble::TooMany(found) => {
                write!(f, "found {found} endpoints, used the first {}", limits::ENDPOINTS)
            }
            Trouble::Unreadable(path, why) => write!(f, "{path}: {why}"),
            Trouble::Malformed(report) => f.write_str(report),
        }
    }
}

/// Finds out who the members are, again and again.
#[derive(Debug)]
pub struct Source {
    kind: Kind,
    pace: Pace,
    due: Instant,
    known: HashSet<Endpoint>,
}

#[derive(Debug)]
enum Kind {
    Dns(Addresses),
    Srv(Services),
    File(EndpointFile),
}

/// What one look has brought.
#[derive(Debug)]
pub struct Look {
    /// All members, at least one, where they are other than before.
    pub members: Option<Vec<Endpoint>>,
    /// What stood in the way. There may be members all the same.
    pub trouble: Option<Trouble>,
}

/// What a source of some kind has found.
#[derive(Debug, Default)]
struct Found {
    /// Empty where nothing was found out.
    members: Vec<Endpoint>,
    trouble: Option<Trouble>,
    /// How long that is good for, as far as the source says.
    lifetime: Option<Duration>,
}

impl From<Trouble> for Found {
    fn from(trouble: Trouble) -> Found {
        Found { trouble: Some(trouble), ..Found::default() }
    }
}

impl Source {
    /// Where these members come from; `None` if they are fixed.
    pub fn of(members: &Members) -> Option<Source> {
        let (kind, pace) = match members {
            Members::Fixed(_) => return None,
            Members::Dns { name, port, resolver, refresh } => {
                (Kind::Dns(Addresses::new(name, *port, Servers::new(*resolver))), Pace::of_names(*refresh))
            }
            Members::Srv { name, resolver, refresh } => {
                (Kind::Srv(Services::new(name, Servers::new(*resolver))), Pace::of_names(*refresh))
            }
            Members::File { path, refresh } => {
                (Kind::File(EndpointFile::new(path.clone())), Pace::of_files(*refresh))
            }
        };
        Some(Source { kind, pace, due: Instant::now(), known: HashSet::new() })
    }

    /// Waits until it is time to look, and looks.
    pub async fn next(&mut self) -> Look {
        sleep_until(self.due).await;
        let Found { members, trouble, lifetime } = match &mut self.kind {
            Kind::Dns(addresses) => addresses.look().await,
            Kind::Srv(services) => services.look().await,
            Kind::File(file) => file.look().await,
        };
        self.due = Instant::now() + self.pace.pause(trouble.is_none(), lifetime);
        let (members, too_many) = bounded(members);
        Look { members: self.news(members), trouble: trouble.or(too_many) }
    }

    /// The members where they are others than those told before.
    fn news(&mut self, members: Vec<Endpoint>) -> Option<Vec<Endpoint>> {
        let found: HashSet<Endpoint> = members.iter().copied().collect();
        if found.is_empty() || found == self.known {
            return None;
        }
        self.known = found;
        Some(members)
    }
}

/// In the order of their tiers and addresses, each address once, and no more than are allowed.
fn bounded(mut members: Vec<Endpoint>) -> (Vec<Endpoint>, Option<Trouble>) {
    members.sort_by_key(|member| (member.tier, member.address, u32::MAX - member.weight));
    let mut seen = HashSet::new();
    members.retain(|member| seen.insert(member.address));
    let found = members.len();
    members.truncate(limits::ENDPOINTS);
    (members, (found > limits::ENDPOINTS).then_some(Trouble::TooMany(found)))
}

/// Which troubles are told: each once, and again after a while if it stays.
#[derive(Debug, Default)]
pub struct Complaints {
    told: Option<(Trouble, Instant)>,
    /// All has not been well since.
    open: bool,
}

/// A trouble that stays is told again after so long: often enough to be found in the log of the day.
const REMINDER: Duration = Duration::from_secs(3600);

/// One that comes back sooner than this is not told again: a name server that fails every other time fills no disk.
const FLAPPING: Duration = Duration::from_secs(60);

impl Complaints {
    /// Whether this trouble has to be told.
    pub fn is_news(&mut self, trouble: &Trouble, now: Instant) -> bool {
        let pause = if self.open { REMINDER } else { FLAPPING };
        let told = self.told.as_ref();
        if told.is_some_and(|(last, at)| last == trouble && now.duration_since(*at) < pause) {
            return false;
        }
        *self = Complaints { told: Some((trouble.clone(), now)), open: true };
        true
    }

    /// All is well; whether that has to be told.
    pub fn are_over(&mut self) -> bool {
        std::mem::take(&mut self.open)
    }
}

/// How the members have changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    now: usize,
    joined: BTreeSet<SocketAddr>,
    left: BTreeSet<SocketAddr>,
}

impl Change {
    /// From those at these addresses to these endpoints.
    pub fn between(before: impl Iterator<Item = SocketAddr>, now: &[Endpoint]) -> Change {
        let before: BTreeSet<SocketAddr> = before.collect();
        let addresses: BTreeSet<SocketAddr> = now.iter().map(|endpoint| endpoint.address).collect();
        Change { now: now.len(), joined: &addresses - &before, left: &before - &addresses }
    }
}

/// So many addresses are named; a log line is read by somebody.
const NAMED: usize = 8;

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} endpoint{}", self.now, if self.now == 1 { "" } else { "s" })?;
        for (word, addresses) in [("joined", &self.joined), ("left", &self.left)] {
            let named: Vec<String> = addresses.iter().take(NAMED).map(SocketAddr::to_string).collect();
            match addresses.len().checked_sub(NAMED) {
                _ if named.is_empty() => {}
                None | Some(0) => write!(f, "; {word}: {}", named.join(", "))?,
                Some(more) => write!(f, "; {word}: {} and {more} more", named.join(", "))?,
            }
        }
        if self.joined.is_empty() && self.left.is_empty() {
            f.write_str("; their weights, tiers or drains are others")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn endpoint(port: u16, weight: u32, tier: u8) -> Endpoint {
        Endpoint { address: at(port), weight, tier, drained: false }
    }

    fn trouble(name: &str) -> Trouble {
        Trouble::NoSuchName(Question { name: name.to_owned(), kind: "A" })
    }

    #[test]
    fn an_address_is_one_member_in_its_best_tier_and_with_its_greatest_weight() {
        let (members, trouble) =
            bounded(vec![endpoint(2, 1, 1), endpoint(1, 3, 1), endpoint(2, 5, 0), endpoint(1, 4, 1)]);
        assert_eq!((members, trouble), (vec![endpoint(2, 5, 0), endpoint(1, 4, 1)], None));
    }

    #[test]
    fn what_does_not_fit_is_always_the_same() {
        let many: Vec<Endpoint> = (1..=1200).map(|port| endpoint(port, 1, u8::from(port < 300))).collect();
        let reversed = many.iter().rev().copied().collect();
        assert_eq!(bounded(many), bounded(reversed));
    }

    #[test]
    fn a_trouble_is_told_once_an_hour_while_it_stays() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let seconds = (0..7300).step_by(10);
        let told: Vec<u64> = seconds
            .filter(|at| complaints.is_news(&trouble("a"), start + Duration::from_secs(*at)))
            .collect();
        assert_eq!(told, [0, 3600, 7200]);
        assert!(complaints.is_news(&trouble("b"), start + Duration::from_secs(7300)), "another one is told");
        assert!(complaints.are_over() && !complaints.are_over());
    }

    #[test]
    fn a_trouble_that_comes_and_goes_is_told_once_a_minute() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let mut told = (0, 0);
        for second in (0..600).step_by(2) {
            told.0 += u64::from(complaints.is_news(&trouble("a"), start + Duration::from_secs(second)));
            told.1 += u64::from(complaints.are_over());
        }
        assert_eq!(told, (10, 10));
    }

    #[test]
    fn a_change_names_who_joined_and_who_left() {
        let change = |before: &[u16], now: &[u16]| {
            let now: Vec<Endpoint> = now.iter().map(|port| endpoint(*port, 1, 0)).collect();
            Change::between(before.iter().map(|port| at(*port)), &now).to_string()
        };
        assert_eq!(change(&[], &[1]), "1 endpoint; joined: 10.0.0.1:1");
        assert_eq!(change(&[1, 2], &[2, 3]), "2 endpoints; joined: 10.0.0.1:3; left: 10.0.0.1:1");
        assert_eq!(change(&[1], &[1]), "1 endpoint; their weights, tiers or drains are others");
        let many: Vec<u16> = (1..=11).collect();
        assert!(change(&[], &many).ends_with("10.0.0.1:8 and 3 more"), "{}", change(&[], &many));
    }
}
