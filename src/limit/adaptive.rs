//! Finding out how many requests at a time an upstream bears.
//!
//! A server has so many workers. With fewer requests than that at a time, some idle; with more, requests wait inside it,
//! where nobody sees them, cannot be given up, and are served in no particular order. The right number is seldom known and
//! changes with every deployment. But it shows: up to it answers take the time that the work takes, beyond it they take
//! longer in proportion (Little's law: requests at a time = rate × latency, and past that point the rate stands still).
//!
//! So the limit follows the *gradient*, unloaded latency ÷ present latency: while answers take no longer than they do
//! without load, it rises little by little; when they do, it falls in proportion. That is the idea of Netflix's
//! concurrency-limits (`Gradient2Limit`; "Performance Under Load", 2018) and of Envoy's adaptive concurrency filter, and
//! so are a [`TOLERANCE`] and a [`headroom`] that grows with the root of the limit: they let a short queue stand inside the
//! server, so that no worker idles while an answer travels.
//!
//! All depends on knowing the unloaded latency. Netflix takes a long-term average for it; under lasting overload that
//! becomes the loaded one, and the limit climbs. Envoy measures it now and then with next to no requests, which costs
//! nearly all throughput for that while. Here the limit is [halved](Look) now and then, much as TCP BBR holds back in its
//! `ProbeRTT` (draft-ietf-ccwg-bbr), and halved again until that no longer makes answers quicker: then nobody was waiting
//! inside. And a limit that has come down without making answers quicker shows the same: the server is just slower than
//! it was.
//!
//! Latency is looked at in [rounds](Round) of requests that began within the round, so that an effect is never put down to
//! the wrong limit, and is averaged geometrically: a slow answer among quick ones counts by its ratio, not by its length.
//! What this cannot see: how much of the load comes from elsewhere. If others keep the upstream's queue full, that is how
//! quick it seems to be.

use crate::clock::{Duration, Moment};
use crate::estate;

/// Bounds of a limit that moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Never fewer.
    pub min: usize,
    /// Where it begins.
    pub start: usize,
    /// Never more.
    pub max: usize,
}

/// How a request ended, where that says something about the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an answer, so long after the request.
    Answered(Duration),
    /// With none, in all the time that it had.
    TimedOut,
}

/// A limit that moves.
#[derive(Debug)]
pub struct Adaptive {
    policy: Policy,
    limit: f64,
    round: Round,
    /// The latency without a queue, in seconds, once it is known.
    unloaded: Option<f64>,
    /// The point that the limit came down from.
    above: Option<Point>,
    /// The last round was used: what the next one finds is no beginning.
    settled: bool,
    look: Option<Look>,
    looked: Option<Moment>,
}

/// What a limit came to.
#[derive(Clone, Copy, Debug)]
struct Point {
    limit: f64,
    /// In seconds.
    latency: f64,
}

/// The limit is held down to see how quick answers are without a queue.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// Where it began, and what is gone back to.
    from: Point,
    /// The limit before the last halving.
    above: Point,
    /// Given up at this time: the requests have stopped.
    until: Moment,
}

/// How much longer than unloaded answers may take before the limit falls (`Gradient2Limit`'s default): latencies differ
/// by themselves, and a limit that took each difference for a queue would end at its minimum.
const TOLERANCE: f64 = 1.5;

/// The lowest gradient: no round is so sure of itself that it may do more than halve the limit.
const STEEPEST: f64 = 0.5;

/// What the share of requests that timed out takes off the gradient: when a quarter does, the limit is halved.
const TIME_OUT: f64 = 2.0;

/// How often to look again: as often as the first TCP BBR. A look costs about two rounds with fewer requests than could
/// be served, in a busy time about one percent.
const LOOK_EVERY: Duration = Duration::from_secs(10);

impl Adaptive {
    /// A limit that nothing has been learnt for.
    pub fn new(policy: Policy, now: Moment) -> Adaptive {
        let limit = policy.start as f64;
        let round = Round::begun(now);
        Adaptive {
            policy,
            limit,
            round,
            unloaded: None,
            above: None,
            settled: false,
            look: None,
            looked: None,
        }
    }

    /// What it leaves. While it is held down to look, that is what it will go back to.
    pub fn bequeath(&self) -> estate::Limit {
        let limit = self.look.map_or(self.limit, |look| look.from.limit);
        let unloaded = self.unloaded.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        estate::Limit { limit: limit as u32, unloaded: unloaded.map(Into::into) }
    }

    /// Begins where the other stood, within the bounds of this policy. Where the unloaded latency is known it need not
    /// be looked for at once: a look costs throughput, and reloads may come often.
    pub fn inherit(policy: Policy, known: estate::Limit, now: Moment) -> Adaptive {
        let estate::Limit { limit, unloaded } = known;
        let mut adaptive = Adaptive::new(policy, now);
        adaptive.move_to(f64::from(limit));
        let unloaded = unloaded.map(Duration::from).filter(|unloaded| !unloaded.is_zero());
        adaptive.unloaded = unloaded.map(|unloaded| unloaded.as_secs_f64());
        adaptive.looked = adaptive.unloaded.map(|_| now);
        adaptive
    }

    /// As it stands.
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// A request has ended; `in_flight` counts it too.
    pub fn note(&mut self, ended: Ended, in_flight: usize, now: Moment) {
        self.round.note(ended, in_flight, now);
        if self.round.is_whole(self.limit, now) {
            let round = std::mem::replace(&mut self.round, Round::begun(now));
            self.judge(&round, now);
        } else if let Some(look) = self.look.filter(|look| now > look.until) {
            self.round = Round::begun(now);
            self.end_look(look, self.unloaded.unwrap_or(look.from.latency), now);
        }
    }

    fn judge(&mut self, round: &Round, now: Moment) {
        let (latency, took, used) = (round.latency(), now.since(round.began), self.is_used(round));
        let settled = std::mem::replace(&mut self.settled, used) && used;
        match (self.look, latency.filter(|_| round.timed_out == 0)) {
            (Some(look), Some(latency)) => self.look_on(look, latency, took, now),
            (None, Some(latency)) if settled && self.is_time_to_look(now) => {
                let from = Point { limit: self.limit, latency };
                self.halve(Look { from, above: from, until: now }, latency, took, now);
            }
            _ => {
                self.look = None; // where requests time out there are other troubles
                if let Some(latency) = latency.filter(|_| settled) {
                    self.compare(Point { limit: self.limit, latency });
                }
                self.steer(round, latency);
            }
        }
    }

    /// The limit has been reached, so it is what decided how many were in flight.
    fn is_used(&self, round: &Round) -> bool {
        round.most_in_flight >= self.limit()
    }

    fn is_time_to_look(&self, now: Moment) -> bool {
        self.looked.is_none_or(|looked| now.since(looked) >= LOOK_EVERY)
    }

    fn look_on(&mut self, look: Look, latency: f64, took: Duration, now: Moment) {
        let here = Point { limit: self.limit, latency };
        match here.beside(look.above) {
            Answers::Quicker => self.halve(Look { above: here, ..look }, latency, took, now),
            Answers::Alike => self.end_look(look, latency, now),
            Answers::Slower => self.end_look(look, self.unloaded.unwrap_or(latency), now),
        }
    }

    /// Goes on with half, or leaves it at this latency where there is no half.
    fn halve(&mut self, look: Look, latency: f64, took: Duration, now: Moment) {
        let half = (self.limit / 2.0).max(self.policy.min as f64);
        if half.floor() < self.limit.floor() {
            self.limit = half;
            self.look = Some(Look { until: now + took * 4, ..look });
        } else {
            self.end_look(look, latency, now);
        }
    }

    /// Back to where it was, as far as that is right by what was found.
    fn end_look(&mut self, look: Look, unloaded: f64, now: Moment) {
        self.unloaded = Some(unloaded);
        self.looked = Some(now);
        self.look = None;
        self.above = None;
        self.settled = false;
        self.limit = look.from.limit;
        self.move_to(self.aim(gradient(unloaded, look.from.latency)));
    }

    /// A limit that has come down by half while answers are as slow as before: it is not the load.
    fn compare(&mut self, here: Point) {
        let above = *self.above.get_or_insert(here);
        let lower = here.limit <= (above.limit / 2.0).max(self.policy.min as f64) && here.limit < above.limit;
        if lower && here.beside(above) == Answers::Alike {
            self.unloaded = Some(here.latency);
        }
        if lower || here.limit >= above.limit {
            self.above = Some(here);
        }
    }

    /// Up only while it is used, since a limit that nobody reaches proves nothing; down while at least half of it is, since
    /// otherwise it is not the load that makes answers slow.
    fn steer(&mut self, round: &Round, latency: Option<f64>) {
        let known = self.unloaded.zip(latency);
        let gradient = known.map_or(1.0, |(unloaded, latency)| gradient(unloaded, latency));
        let aim = self.aim((gradient - TIME_OUT * round.share_timed_out()).max(STEEPEST));
        let is_moved = match aim > self.limit {
            true => known.is_some() && self.is_used(round),
            false => round.most_in_flight * 2 >= self.limit(),
        };
        if is_moved {
            self.move_to(aim);
        }
    }

    fn aim(&self, gradient: f64) -> f64 {
        self.limit * gradient + headroom(self.limit)
    }

    fn move_to(&mut self, limit: f64) {
        self.limit = limit.clamp(self.policy.min as f64, self.policy.max as f64);
    }
}

fn gradient(unloaded: f64, latency: f64) -> f64 {
    (TOLERANCE * unloaded / latency).clamp(STEEPEST, 1.0)
}

/// How far the limit rises in a round, and how many more it lets wait inside the server than the tolerance does.
fn headroom(limit: f64) -> f64 {
    limit.sqrt() / 2.0
}

/// What has become of answers under a lower limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// Some were waiting inside the server.
    Quicker,
    /// Nobody was.
    Alike,
    /// Something else has changed as well.
    Slower,
}

impl Point {
    /// If it was queueing, latency fell as much as the limit did; if it was the work, not at all. The middle between the
    /// two decides.
    fn beside(self, above: Point) -> Answers {
        let middle = (self.limit / above.limit).sqrt();
        match self.latency / above.latency {
            ratio if ratio < middle => Answers::Quicker,
            ratio if ratio > 1.0 / middle => Answers::Slower,
            _ => Answers::Alike,
        }
    }
}

/// What some requests came to.
#[derive(Clone, Copy, Debug)]
struct Round {
    began: Moment,
    answered: u32,
    timed_out: u32,
    /// Sum of the logarithms of the latencies in seconds.
    logarithms: f64,
    most_in_flight: usize,
}

/// How many requests a round has at least; fewer say more about themselves than about the load.
const ROUND: f64 = 20.0;

/// And how long it takes at least, so that many time-outs at once count once.
const SHORTEST_ROUND: Duration = Duration::from_millis(50);

impl Round {
    fn begun(now: Moment) -> Round {
        Round { began: now, answered: 0, timed_out: 0, logarithms: 0.0, most_in_flight: 0 }
    }

    fn note(&mut self, ended: Ended, in_flight: usize, now: Moment) {
        match ended {
            Ended::Answered(latency) if latency > now.since(self.began) => return, // it began under another limit
            Ended::Answered(latency) => {
                self.answered += 1;
                self.logarithms += latency.as_secs_f64().max(1e-6).ln();
            }
            Ended::TimedOut => self.timed_out += 1,
        }
        self.most_in_flight = self.most_in_flight.max(in_flight);
    }

    /// Every request that the limit lets in at a time has had its turn.
    fn is_whole(&self, limit: f64, now: Moment) -> bool {
        let noted = f64::from(self.answered + self.timed_out);
        noted >= ROUND.max(limit) && now.since(self.began) >= SHORTEST_ROUND
    }

    /// The geometric mean, in seconds.
    fn latency(&self) -> Option<f64> {
        (self.answered > 0).then(|| (self.logarithms / f64::from(self.answered)).exp())
    }

    fn share_timed_out(&self) -> f64 {
        f64::from(self.timed_out) / f64::from((self.answered + self.timed_out).max(1))
    }
}

#[cfg(test)]
mod tests;
