//! What an upstream leaves to the one that takes its place.
//!
//! Who is ejected, who is down, who is slow, how much was tried again: all of that takes a while to find out, and
//! finding out costs requests. An upstream that begins anew, because a reload has changed it or because another worker
//! takes over, would send clients once more to an endpoint that is known to be dead. So what was learnt is written down,
//! in the plain words of this file, and [`Upstream::new`](crate::upstream::Upstream::new) begins with it.
//!
//! Two clocks have two origins, so nothing here is a time: each is how long ago something was, or how long it will still
//! last, a [`Span`]. And the two may be two versions of the program. Keys that are missing have defaults, those that are
//! unknown are passed over, and an upstream or endpoint that makes no sense is left out, alone. No number from here can
//! do harm: spans end at a year, lists at what an upstream may have, and the rest is bounded by whoever inherits it.

use std::fmt;
use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Duration;
use crate::limits;

/// The only revision so far. Another one is for changes of meaning; keys can be added without.
pub const REVISION: u32 = 1;

/// What all upstreams leave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estate {
    /// Of the meaning of all this.
    #[serde(default)]
    pub revision: u32,
    /// In any order.
    #[serde(default, deserialize_with = "each")]
    pub upstreams: Vec<Upstream>,
}

/// What one upstream leaves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    /// From the configuration.
    pub name: String,
    /// Where its members were found; empty where they are those of the configuration.
    #[serde(default)]
    pub source: String,
    /// The members that were found there; none where they are those of the configuration.
    #[serde(default, deserialize_with = "each")]
    pub discovered: Vec<Member>,
    /// What is known of them.
    #[serde(default, deserialize_with = "each")]
    pub endpoints: Vec<Endpoint>,
    /// Of the retry budget.
    #[serde(default, deserialize_with = "each")]
    pub budget: Vec<Second>,
    /// Where it moves.
    #[serde(default, deserialize_with = "if_understood")]
    pub limit: Option<Limit>,
}

/// A member that was found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Where it is.
    pub address: SocketAddr,
    /// Its share beside its siblings'.
    #[serde(default = "one")]
    pub weight: u32,
    /// Its rank.
    #[serde(default)]
    pub tier: u8,
    /// It gets nothing new.
    #[serde(default)]
    pub drained: bool,
}

/// What is known of one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    /// It got nothing new.
    #[serde(default)]
    pub drained: bool,
    /// What its checks say, where there are any.
    #[serde(default)]
    pub probe: Option<Probe>,
    /// Whether requests have had it ejected.
    #[serde(default)]
    pub breaker: Breaker,
    /// How long it takes to answer.
    #[serde(default)]
    pub latency: Latency,
    /// What its requests of late came to.
    #[serde(default)]
    pub tally: Tally,
    /// How long ago it came back, while its slow start goes on.
    #[serde(default)]
    pub back: Option<Span>,
    /// How long ago a request failed there, if none was answered since.
    #[serde(default)]
    pub doubted: Option<Span>,
}

impl Endpoint {
    /// One of which nothing is known.
    pub fn unknown(address: SocketAddr) -> Endpoint {
        Endpoint {
            address,
            drained: false,
            probe: None,
            breaker: Breaker::default(),
            latency: Latency::default(),
            tally: Tally::default(),
            back: None,
            doubted: None,
        }
    }
}

/// See [`health::probe::Probe`](crate::health::probe::Probe).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// No check has ended yet.
    Unknown,
    /// Well.
    Up {
        /// Bad checks in a row.
        #[serde(default)]
        bad: u32,
    },
    /// Not well.
    Down {
        /// Good checks in a row.
        #[serde(default)]
        good: u32,
        /// What the last bad one has found.
        miss: Miss,
    },
}

/// See [`health::probe::Miss`](crate::health::probe::Miss).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twins in the health room say what they mean")]
pub enum Miss {
    Unmade,
    NoConnection,
    TimedOut,
    Broken,
    Invalid,
    Status(u16),
    Body,
    NotServing,
}

/// See [`health::ejection::Breaker`](crate::health::ejection::Breaker).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Breaker {
    /// Where it stands.
    pub state: State,
    /// Ejections that are not forgiven.
    pub times: u32,
    /// How long the last one was.
    pub last: Span,
}

/// See [`health::ejection::State`](crate::health::ejection::State).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is asked.
    Closed {
        /// For so long.
        age: Span,
    },
    /// It is not asked.
    Open {
        /// For so long still.
        left: Span,
        /// Why.
        why: Why,
    },
    /// One request may find out.
    HalfOpen {
        /// For so long.
        age: Span,
        /// Why it was ejected.
        why: Why,
    },
}

impl Default for State {
    fn default() -> State {
        State::Closed { age: Span::default() }
    }
}

/// See [`health::ejection::Why`](crate::health::ejection::Why).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twins in the health room say what they mean")]
pub enum Why {
    Consecutive { failures: u32, answered: bool },
    Ratio { failed: u32, of: u32 },
    Slow { average: Span },
    Trial { answered: bool },
}

/// See [`health::latency::Latency`](crate::health::latency::Latency).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// The average after the last answer.
    pub cost: Span,
    /// How long ago that was.
    pub age: Span,
}

/// See [`health::tally::Tally`](crate::health::tally::Tally).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Failures in a row.
    pub in_a_row: u32,
    /// In any order.
    #[serde(deserialize_with = "each")]
    pub buckets: Vec<Bucket>,
}

/// What the requests of a stretch of time came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bucket {
    /// How long ago it ended.
    pub age: Span,
    /// Requests that ended well.
    pub well: u32,
    /// Requests that failed.
    pub failed: u32,
    /// Of those that ended well, together.
    pub latency: Span,
}

/// One second of a [retry budget](crate::retry::budget).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Second {
    /// How many seconds ago; 0 is the present one.
    pub age_seconds: u64,
    /// That came.
    pub requests: u32,
    /// That were granted.
    pub retries: u32,
}

/// See [`limit::adaptive::Adaptive`](crate::limit::adaptive::Adaptive).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Requests at a time.
    pub limit: u32,
    /// The latency without a queue, once it is known.
    #[serde(default)]
    pub unloaded: Option<Span>,
}

/// How long ago something was, how long it took, or how long it will still last: a year at most, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

/// Nothing that is learnt here matters for so long, and sums of years do not overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl From<Duration> for Span {
    fn from(duration: Duration) -> Span {
        Span(duration.min(LONGEST))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Duration {
        span.0
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.as_micros() as u64) // a year's are 45 bits
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        Ok(Duration::from_micros(u64::deserialize(deserializer)?).into())
    }
}

/// Why there is nothing to inherit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damaged {
    /// Another version of the program means something else by it.
    Revision(u32),
    /// It is not what an estate looks like; with the parser's words.
    Unreadable(String),
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damaged::Revision(found) => write!(f, "its revision is {found}, and {REVISION} is understood"),
            Damaged::Unreadable(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

impl std::error::Error for Damaged {}

impl Default for Estate {
    fn default() -> Estate {
        Estate { revision: REVISION, upstreams: Vec::new() }
    }
}

impl Estate {
    /// As JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default() // there is nothing in it that JSON cannot say
    }

    /// What [`Estate::to_bytes`] wrote, of this version or another. Upstreams and endpoints that are not understood are
    /// not in it.
    ///
    /// # Errors
    /// [`Damaged`]: nothing of it can be believed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Estate, Damaged> {
        let read = serde_json::from_slice::<serde_json::Value>(bytes).and_then(Estate::deserialize);
        let estate = read.map_err(|error| Damaged::Unreadable(error.to_string()))?;
        match estate.revision {
            REVISION => Ok(estate),
            other => Err(Damaged::Revision(other)),
        }
    }

    /// What the upstream of this name leaves.
    pub fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.upstreams.iter().find(|upstream| upstream.name == name)
    }
}

/// The elements of a list that are understood, as many as an upstream may have endpoints.
fn each<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let elements = Vec::<serde_json::Value>::deserialize(deserializer)?.into_iter();
    Ok(elements.filter_map(|element| T::deserialize(element).ok()).take(limits::ENDPOINTS).collect())
}

fn if_understood<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(serde_json::Value::deserialize(deserializer)?).ok())
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn span(seconds: u64) -> Span {
        Duration::from_secs(seconds).into()
    }

    fn read(value: &Value) -> Result<Estate, Damaged> {
        Estate::from_bytes(value.to_string().as_bytes())
    }

    fn upstreams(value: Value) -> Vec<Upstream> {
        read(&json!({"revision": REVISION, "upstreams": value})).unwrap().upstreams
    }

    fn estate() -> Estate {
        let address = "[2001:db8::1]:80".parse().unwrap();
        let why = Why::Slow { average: Duration::from_micros(1_500).into() };
        let endpoint = Endpoint {
            drained: true,
            probe: Some(Probe::Down { good: 1, miss: Miss::Status(503) }),
            breaker: Breaker { state: State::Open { left: span(3), why }, times: 2, last: span(20) },
            latency: Latency { cost: span(1), age: span(2) },
            tally: Tally {
                in_a_row: 3,
                buckets: vec![Bucket { age: span(1), well: 4, failed: 5, latency: span(6) }],
            },
            back: Some(span(7)),
            doubted: Some(span(0)),
            ..Endpoint::unknown(address)
        };
        let upstream = Upstream {
            name: "orders".into(),
            source: "dns orders.internal".into(),
            discovered: vec![Member { address, weight: 3, tier: 1, drained: true }],
            endpoints: vec![endpoint, Endpoint::unknown("10.0.0.1:80".parse().unwrap())],
            budget: vec![Second { age_seconds: 1, requests: 10, retries: 2 }],
            limit: Some(Limit { limit: 50, unloaded: Some(span(1)) }),
        };
        Estate { upstreams: vec![upstream], ..Estate::default() }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Estate::from_bytes(&estate().to_bytes()), Ok(estate()));
        assert_eq!(Estate::from_bytes(&Estate::default().to_bytes()), Ok(Estate::default()));
    }

    #[test]
    fn an_upstream_is_found_by_its_name() {
        let estate = estate();
        assert_eq!(estate.upstream("orders"), estate.upstreams.first());
        assert_eq!(estate.upstream("other"), None);
    }

    #[test]
    fn what_is_no_estate_is_an_error() {
        for bytes in [&b""[..], b"{", b"3", b"\xff\xfe", br#"{"revision": 1, "upstreams": 3}"#] {
            assert!(matches!(Estate::from_bytes(bytes), Err(Damaged::Unreadable(_))), "{bytes:?}");
        }
        assert_eq!(read(&json!({"revision": 2, "upstreams": []})), Err(Damaged::Revision(2)));
        assert_eq!(read(&json!({"upstreams": []})), Err(Damaged::Revision(0)));
        let deep = "[".repeat(100_000);
        assert!(Estate::from_bytes(deep.as_bytes()).is_err());
    }

    #[test]
    fn missing_keys_have_defaults_and_unknown_ones_are_passed_over() {
        let read = upstreams(json!([{
            "name": "orders", "color": "red",
            "discovered": [{"address": "10.0.0.1:80"}],
            "endpoints": [{"address": "10.0.0.1:80", "mood": 3, "breaker": {}, "tally": {}}],
        }]));
        let address = "10.0.0.1:80".parse().unwrap();
        let expected = Upstream {
            name: "orders".into(),
            discovered: vec![Member { address, weight: 1, tier: 0, drained: false }],
            endpoints: vec![Endpoint::unknown(address)],
            ..Upstream::default()
        };
        assert_eq!(read, [expected]);
    }

    #[test]
    fn what_makes_no_sense_spoils_nothing_else() {
        let read = upstreams(json!([
            {"name": 3},
            {"endpoints": []},
            "orders",
            {"name": "orders", "limit": "high", "endpoints": [
                {"address": "10.0.0.1"},
                {"address": "10.0.0.2:80", "probe": {"dead": {}}},
                {"address": "10.0.0.3:80", "probe": {"up": {"bad": 1}}},
            ], "budget": [{"requests": -1}, {"requests": 1}]},
        ]));
        let [upstream] = read.as_slice() else { unreachable!("{read:?}") };
        let addresses: Vec<_> = upstream.endpoints.iter().map(|known| known.address.to_string()).collect();
        assert_eq!((addresses, upstream.limit), (vec!["10.0.0.3:80".to_owned()], None));
        assert_eq!(upstream.budget, [Second { requests: 1, ..Second::default() }]);
    }

    #[test]
    fn lists_and_spans_have_an_end() {
        let endpoint = |nth: usize| json!({"address": format!("10.0.{}.{}:80", nth / 256, nth % 256)});
        let endpoints: Vec<Value> = (0..limits::ENDPOINTS + 1).map(endpoint).collect();
        let read = upstreams(json!([{"name": "u", "endpoints": endpoints}]));
        assert_eq!(read[0].endpoints.len(), limits::ENDPOINTS);
        let long: Span = serde_json::from_value(json!(u64::MAX)).unwrap();
        assert_eq!(long, Span(LONGEST));
        assert_eq!(Span::from(Duration::MAX), long);
    }
}
