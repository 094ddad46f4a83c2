//! What a seed stands for: the policy, the endpoints, and what befalls them.

use std::time::Duration;

use tetap::balance::{Balance, HashKey};
use tetap::health::Policy;
use tetap::health::ejection::Ejection;
use tetap::health::probe::Thresholds;
use tetap::retry;
use tetap::retry::backoff::Backoff;
use tetap::retry::budget;

/// How an endpoint behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    /// Answers after so many milliseconds.
    Well(u64),
    /// Refuses connections.
    Dead,
    /// Takes requests and never answers.
    Hung,
    /// Answers 503.
    Busy,
    /// Takes requests and resets the connection.
    Resetting,
}

/// A change of one endpoint's behaviour.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub at: Duration,
    pub endpoint: usize,
    pub mood: Mood,
    /// Its checks say that all is well, whatever it does.
    pub check_lies: bool,
}

/// Everything that a seed determines.
pub struct Scene {
    pub seed: u64,
    pub endpoints: usize,
    pub tiers: bool,
    pub balance: Balance,
    pub policy: Policy,
    pub retry: retry::Policy,
    pub budget: budget::Policy,
    pub check_interval: Option<Duration>,
    pub changes: Vec<Change>,
    /// When an endpoint is no longer a member, and when it is again.
    pub absences: Vec<(Duration, Duration, usize)>,
    /// When the operator drains one, and no longer.
    pub drains: Vec<(Duration, Duration, usize)>,
    pub clients: Clients,
    pub requests_per_second: u64,
    pub pending_timeout: Duration,
    pub deadline: Duration,
    /// Until then things go wrong; then they are mended.
    pub trouble: Duration,
    /// The end.
    pub end: Duration,
}

/// What part of the clients is not simply there until it has an answer.
pub struct Clients {
    /// They leave before their answer, some of them at once.
    pub impatient: f64,
    /// They say by when they will have given up.
    pub with_deadline: f64,
    /// They open a tunnel, which lasts. As long as there is trouble: a tunnel may be a trial, and a trial without end takes
    /// as long as the ejection before.
    pub tunnels: f64,
}

const MS: fn(u64) -> Duration = Duration::from_millis;

impl Scene {
    pub fn of(seed: u64) -> Scene {
        let mut random = fastrand::Rng::with_seed(seed);
        let endpoints = random.usize(1..=6);
        let trouble = MS(random.u64(3_000..8_000));
        let checked = random.f64() < 0.7;
        Scene {
            seed,
            endpoints,
            tiers: random.f64() < 0.3,
            balance: balance(&mut random),
            policy: policy(&mut random, checked),
            retry: retry_policy(&mut random),
            budget: budget::Policy { percent: random.u8(0..=50), min_per_second: random.u32(0..5) },
            check_interval: checked.then(|| MS(random.u64(100..1_000))),
            changes: changes(&mut random, endpoints, trouble),
            absences: spells(&mut random, endpoints, trouble),
            drains: spells(&mut random, endpoints, trouble),
            clients: clients(&mut random),
            requests_per_second: random.u64(10..80),
            pending_timeout: MS(random.u64(50..2_000)),
            deadline: MS(random.u64(500..4_000)),
            trouble,
            // the longest ejection is ten times the first, and then there is a trial
            end: trouble + MS(16_000),
        }
    }
}

fn balance(random: &mut fastrand::Rng) -> Balance {
    match random.u8(0..5) {
        0 => Balance::RoundRobin,
        1 => Balance::Random,
        2 => Balance::LeastRequests,
        3 => Balance::Ewma,
        _ => Balance::Hash(HashKey::Path),
    }
}

fn policy(random: &mut fastrand::Rng, checked: bool) -> Policy {
    Policy {
        checks: checked.then(|| Thresholds { healthy: random.u32(1..4), unhealthy: random.u32(1..4) }),
        ejection: Ejection {
            consecutive_failures: random.u32(1..8),
            failure_percent: random.u8(10..=100),
            window: MS(random.u64(500..5_000)),
            min_requests: random.u32(5..30),
            latency: (random.f64() < 0.3).then(|| MS(random.u64(20..300))),
            base: MS(random.u64(200..1_000)),
            max_percent: random.u8(0..=100),
        },
        slow_start: (random.f64() < 0.4).then(|| MS(random.u64(200..3_000))),
        panic_percent: random.u8(0..=100),
    }
}

fn retry_policy(random: &mut fastrand::Rng) -> retry::Policy {
    retry::Policy {
        attempts: random.u32(1..=5),
        when: retry::When {
            connect: true,
            reset: true,
            timeout: random.bool(),
            statuses: vec![502, 503, 504],
        },
        per_try: (random.f64() < 0.8).then(|| MS(random.u64(50..500))),
        backoff: Backoff { base: MS(random.u64(1..50)), max: MS(250) },
        idempotency_key: false,
    }
}

fn mood(random: &mut fastrand::Rng) -> Mood {
    match random.u8(0..8) {
        0 | 1 => Mood::Dead,
        2 => Mood::Hung,
        3 => Mood::Busy,
        4 => Mood::Resetting,
        5 => Mood::Well(random.u64(100..900)),
        _ => Mood::Well(random.u64(1..20)),
    }
}

/// Everybody is well at first and at the end.
fn changes(random: &mut fastrand::Rng, endpoints: usize, trouble: Duration) -> Vec<Change> {
    let any = |random: &mut fastrand::Rng| Change {
        at: MS(random.u64(0..trouble.as_millis() as u64)),
        endpoint: random.usize(0..endpoints),
        mood: mood(random),
        check_lies: random.f64() < 0.2,
    };
    let count = random.usize(0..endpoints * 4);
    let mut changes: Vec<Change> = (0..count).map(|_| any(random)).collect();
    let mended = |endpoint| Change { at: trouble, endpoint, mood: Mood::Well(5), check_lies: false };
    changes.extend((0..endpoints).map(mended));
    changes
}

fn clients(random: &mut fastrand::Rng) -> Clients {
    let mut some = || if random.bool() { random.f64() / 4.0 } else { 0.0 };
    Clients { impatient: some(), with_deadline: some(), tunnels: some() / 8.0 }
}

/// From when to when something is so, and of whom; over when the trouble is.
fn spells(
    random: &mut fastrand::Rng,
    endpoints: usize,
    trouble: Duration,
) -> Vec<(Duration, Duration, usize)> {
    let whole = trouble.as_millis() as u64;
    let one = |random: &mut fastrand::Rng| {
        let from = random.u64(0..whole);
        (MS(from), MS(random.u64(from..whole)), random.usize(0..endpoints))
    };
    let count = if random.f64() < 0.3 { random.usize(1..3) } else { 0 };
    (0..count).map(|_| one(random)).collect()
}
