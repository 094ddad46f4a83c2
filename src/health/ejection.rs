//! Taking an endpoint out because real requests fail, and letting it back in.
//!
//! It is a circuit breaker of one endpoint: *closed* it is asked; *open* it is not, for a while that grows with each
//! time; then *half-open* it gets one request, the trial, whose end decides. What it takes to open is in
//! [`tally`](super::tally); how many may be open at a time is the [roster's](crate::roster) to know.
//!
//! Time grows by doubling, up to ten times the first: an endpoint that is broken for good costs a trial now and then,
//! one that stumbled is back soon. Time well spent, twice as long as the last ejection, is forgiven.

use std::fmt;

use crate::clock::{Duration, Moment};
use crate::estate;

/// What it takes to be ejected, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Ejection {
    /// So many failures in a row.
    pub consecutive_failures: u32,
    /// Or such a share of failures within `window`, in percent, 1 to 100.
    pub failure_percent: u8,
    /// What the share and the latency look back on.
    pub window: Duration,
    /// With so many requests at least.
    pub min_requests: u32,
    /// Or an average latency above this, and above three times the siblings'.
    pub latency: Option<Duration>,
    /// How long the first time.
    pub base: Duration,
    /// Most endpoints that may be ejected at a time, in percent of all, rounded down; 0 ejects none.
    pub max_percent: u8,
}

impl Ejection {
    /// How many of `all` may be ejected at a time.
    pub fn most(&self, all: usize) -> usize {
        all * usize::from(self.max_percent) / 100
    }

    /// How long one lasts at most.
    fn longest(&self) -> Duration {
        self.base.saturating_mul(LONGEST)
    }
}

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    /// So many failures in a row; the last one was a failure to get any answer at all (or not).
    Consecutive {
        /// How many.
        failures: u32,
        /// The last one was an answer, if a bad one.
        answered: bool,
    },
    /// So many of the requests of late.
    Ratio {
        /// Failed.
        failed: u32,
        /// Of so many.
        of: u32,
    },
    /// Slower than its siblings.
    Slow {
        /// The average of late.
        average: Duration,
    },
    /// The trial request failed.
    Trial {
        /// It was an answer, if a bad one.
        answered: bool,
    },
}

impl Why {
    /// Whether somebody is there who answers.
    pub fn answers(self) -> bool {
        match self {
            Why::Consecutive { answered, .. } | Why::Trial { answered } => answered,
            Why::Ratio { .. } | Why::Slow { .. } => true,
        }
    }

    /// The word that stands in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Why::Consecutive { .. } => "consecutive_failures",
            Why::Ratio { .. } => "failure_ratio",
            Why::Slow { .. } => "latency",
            Why::Trial { .. } => "trial",
        }
    }

    fn bequeath(self) -> estate::Why {
        match self {
            Why::Consecutive { failures, answered } => estate::Why::Consecutive { failures, answered },
            Why::Ratio { failed, of } => estate::Why::Ratio { failed, of },
            Why::Slow { average } => estate::Why::Slow { average: average.into() },
            Why::Trial { answered } => estate::Why::Trial { answered },
        }
    }

    fn inherit(known: estate::Why) -> Why {
        match known {
            estate::Why::Consecutive { failures, answered } => Why::Consecutive { failures, answered },
            estate::Why::Ratio { failed, of } => Why::Ratio { failed, of },
            estate::Why::Slow { average } => Why::Slow { average: average.into() },
            estate::Why::Trial { answered } => Why::Trial { answered },
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Consecutive { failures, .. } => write!(f, "{failures} failures in a row"),
            Why::Ratio { failed, of } => write!(f, "{failed} of {of} requests failed"),
            Why::Slow { average } => write!(f, "{average:.1?} on average, far above its siblings"),
            Why::Trial { .. } => f.write_str("the trial request failed"),
        }
    }
}

/// One endpoint's breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Breaker {
    state: State,
    /// Ejections that are not forgiven yet.
    times: u32,
    /// How long the last one was.
    last: Duration,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    /// It is asked. Since when, if it was ever ejected.
    Closed {
        /// Since when.
        since: Moment,
    },
    /// It is not asked.
    Open {
        /// The end of it.
        until: Moment,
        /// Why.
        why: Why,
    },
    /// One request may find out.
    HalfOpen {
        /// Since when.
        since: Moment,
        /// Since when that request is under way.
        on_trial: Option<Moment>,
        /// Why it was ejected.
        why: Why,
    },
}

impl Default for State {
    fn default() -> State {
        State::Closed { since: Moment::ORIGIN }
    }
}

/// Longest ejection, in units of the first.
const LONGEST: u32 = 10;

impl Breaker {
    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it is open or half-open.
    pub fn is_ejected(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// Whether a trial is to decide.
    pub fn is_half_open(&self) -> bool {
        matches!(self.state, State::HalfOpen { .. })
    }

    /// When its ejection ends, or has ended if it is half-open; `None` where it is closed.
    pub fn ends(&self) -> Option<Moment> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until: end, .. } | State::HalfOpen { since: end, .. } => Some(end),
        }
    }

    /// Opens it.
    pub fn open(&mut self, why: Why, base: Duration, now: Moment) {
        let forgiven = match self.state {
            State::Closed { since } => now.since(since) > self.last * 2,
            _ => false,
        };
        self.times = if forgiven { 1 } else { self.times.saturating_add(1) };
        let factor = 1_u32.checked_shl(self.times - 1).unwrap_or(LONGEST).min(LONGEST);
        self.last = base * factor;
        self.state = State::Open { until: now + self.last, why };
    }

    /// Half-opens it before its time: whoever was ejected for saying nothing at all has been heard of. A request is still to
    /// find out whether that is true.
    pub fn wake_early(&mut self, now: Moment) {
        if let State::Open { why, .. } = self.state
            && !why.answers()
        {
            self.state = State::HalfOpen { since: now, on_trial: None, why };
        }
    }

    /// Half-opens it when its time is over. Whether it did.
    pub fn wake(&mut self, now: Moment) -> bool {
        let State::Open { until, why } = self.state else { return false };
        let over = now >= until;
        if over {
            self.state = State::HalfOpen { since: now, on_trial: None, why };
        }
        over
    }

    /// Since when a trial may begin, if it may: one at a time, but an endless answer does not keep others from finding out.
    pub fn awaits_trial(&self, now: Moment) -> Option<Moment> {
        let State::HalfOpen { since, on_trial, .. } = self.state else { return None };
        on_trial.is_none_or(|begun| self.is_overdue(begun, now)).then_some(since)
    }

    /// A trial is overdue when it takes longer than the ejection did.
    fn is_overdue(&self, begun: Moment, now: Moment) -> bool {
        now.since(begun) > self.last
    }

    /// Waits no longer for a trial that is overdue. Whether there was one.
    pub fn expire_trial(&mut self, now: Moment) -> bool {
        let State::HalfOpen { on_trial: Some(begun), .. } = self.state else { return false };
        let overdue = self.is_overdue(begun, now);
        if overdue {
            self.set_trial(None);
        }
        overdue
    }

    /// Begins a trial.
    pub fn begin_trial(&mut self, now: Moment) {
        self.set_trial(Some(now));
    }

    /// The trial has told nothing.
    pub fn abandon_trial(&mut self) {
        self.set_trial(None);
    }

    fn set_trial(&mut self, begun: Option<Moment>) {
        if let State::HalfOpen { on_trial, .. } = &mut self.state {
            *on_trial = begun;
        }
    }

    /// Closes it.
    pub fn close(&mut self, now: Moment) {
        self.state = State::Closed { since: now };
    }

    /// What it leaves.
    pub fn bequeath(&self, now: Moment) -> estate::Breaker {
        let Breaker { state, times, last } = *self;
        let state = match state {
            State::Closed { since } => estate::State::Closed { age: now.since(since).into() },
            State::Open { until, why } => {
                estate::State::Open { left: until.since(now).into(), why: why.bequeath() }
            }
            // whose request the trial is, hears of the old one only
            State::HalfOpen { since, on_trial: _, why } => {
                estate::State::HalfOpen { age: now.since(since).into(), why: why.bequeath() }
            }
        };
        estate::Breaker { state, times, last: last.into() }
    }

    /// Goes on where the other stood: an ejection lasts for what is left of it, though not longer than any under this
    /// policy may.
    pub fn inherit(known: estate::Breaker, policy: &Ejection, now: Moment) -> Breaker {
        let estate::Breaker { state, times, last } = known;
        let longest = policy.longest();
        let state = match state {
            estate::State::Closed { age } => State::Closed { since: now.before(age.into()) },
            estate::State::Open { left, why } => {
                State::Open { until: now + longest.min(left.into()), why: Why::inherit(why) }
            }
            estate::State::HalfOpen { age, why } => {
                State::HalfOpen { since: now.before(age.into()), on_trial: None, why: Why::inherit(why) }
            }
        };
        Breaker { state, times, last: longest.min(last.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(10);
    const WHY: Why = Why::Consecutive { failures: 5, answered: true };

    fn at(seconds: u64) -> Moment {
        Moment::ORIGIN + Duration::from_secs(seconds)
    }

    fn until(breaker: &Breaker) -> Option<Moment> {
        match breaker.state() {
            State::Open { until, .. } => Some(until),
            _ => None,
        }
    }

    #[test]
    fn it_opens_half_opens_and_closes() {
        let mut breaker = Breaker::default();
        assert!(!breaker.is_ejected());
        breaker.open(WHY, BASE, at(100));
        assert!(!breaker.wake(at(109)) && breaker.is_ejected() && breaker.awaits_trial(at(109)).is_none());
        assert!(breaker.wake(at(110)) && breaker.is_ejected());
        assert_eq!(breaker.awaits_trial(at(112)), Some(at(110)));
        breaker.begin_trial(at(112));
        assert_eq!(breaker.awaits_trial(at(122)), None, "one at a time");
        assert_eq!(breaker.awaits_trial(at(123)), Some(at(110)), "unless that has no end");
        breaker.abandon_trial();
        assert_eq!(breaker.awaits_trial(at(113)), Some(at(110)), "one that was abandoned can be made again");
        breaker.close(at(111));
        assert!(!breaker.is_ejected());
    }

    #[test]
    fn each_time_is_longer_up_to_ten_times_the_first() {
        let mut breaker = Breaker::default();
        let mut now = at(1000);
        let mut seconds = Vec::new();
        for _ in 0..6 {
            breaker.open(WHY, BASE, now);
            let end = until(&breaker).unwrap_or(now);
            seconds.push(end.since(now).as_secs());
            now = end;
            breaker.wake(now);
        }
        assert_eq!(seconds, [10, 20, 40, 80, 100, 100]);
    }

    #[test]
    fn time_well_spent_is_forgiven() {
        let mut breaker = Breaker::default();
        breaker.open(WHY, BASE, at(1000));
        breaker.close(at(1010));
        breaker.open(WHY, BASE, at(1029));
        assert_eq!(until(&breaker), Some(at(1049)), "19 s are less than twice ten");
        breaker.close(at(1050));
        breaker.open(WHY, BASE, at(1091));
        assert_eq!(until(&breaker), Some(at(1101)));
    }

    fn policy(max_percent: u8) -> Ejection {
        Ejection {
            consecutive_failures: 5,
            failure_percent: 50,
            window: BASE,
            min_requests: 20,
            latency: None,
            base: BASE,
            max_percent,
        }
    }

    /// The same breaker by another clock.
    fn handed_over(breaker: &Breaker, then: Moment, now: Moment) -> Breaker {
        Breaker::inherit(breaker.bequeath(then), &policy(50), now)
    }

    #[test]
    fn an_ejection_lasts_for_what_is_left_of_it() {
        let mut breaker = Breaker::default();
        breaker.open(WHY, BASE, at(1000));
        assert_eq!(handed_over(&breaker, at(1004), at(1004)), breaker);
        let mut heir = handed_over(&breaker, at(1004), at(50));
        assert_eq!(heir.state(), State::Open { until: at(56), why: WHY });
        assert!(heir.wake(at(56)));
        heir.open(WHY, BASE, at(56));
        assert_eq!(until(&heir), Some(at(76)), "the second is still longer than the first");
    }

    #[test]
    fn a_trial_begins_anew() {
        let mut breaker = Breaker::default();
        breaker.open(WHY, BASE, at(1000));
        breaker.wake(at(1010));
        breaker.begin_trial(at(1011));
        let heir = handed_over(&breaker, at(1012), at(50));
        assert_eq!(heir.state(), State::HalfOpen { since: at(48), on_trial: None, why: WHY });
        assert_eq!(heir.awaits_trial(at(50)), Some(at(48)));
    }

    #[test]
    fn time_well_spent_before_is_forgiven_after() {
        let mut breaker = Breaker::default();
        breaker.open(WHY, BASE, at(1000));
        breaker.close(at(1010));
        let mut heir = handed_over(&breaker, at(1025), at(1025));
        heir.open(WHY, BASE, at(1031));
        assert_eq!(until(&heir), Some(at(1041)));
    }

    /// By a clock that has hardly begun: it is as if it had closed when that began.
    #[test]
    fn what_was_before_the_origin_was_at_the_origin() {
        let mut breaker = Breaker::default();
        breaker.open(WHY, BASE, at(1000));
        breaker.close(at(1010));
        let heir = handed_over(&breaker, at(2000), at(3));
        assert_eq!(heir.state(), State::Closed { since: Moment::ORIGIN });
    }

    #[test]
    fn no_number_keeps_an_endpoint_out_for_longer_than_the_policy_does() {
        let long = Duration::MAX.into();
        let why = estate::Why::Trial { answered: true };
        let known = estate::Breaker { state: estate::State::Open { left: long, why }, times: 0, last: long };
        let mut heir = Breaker::inherit(estate::Breaker { times: u32::MAX, ..known }, &policy(50), at(5));
        assert_eq!(until(&heir), Some(at(105)));
        heir.close(at(6));
        heir.open(WHY, BASE, at(7));
        assert_eq!(until(&heir), Some(at(107)));
    }

    #[test]
    fn at_most_a_share_rounded_down() {
        let most = |percent, all| policy(percent).most(all);
        assert_eq!([most(50, 1), most(50, 2), most(50, 3), most(50, 4)], [0, 1, 1, 2]);
        assert_eq!([most(0, 100), most(100, 3), most(10, 9), most(34, 3)], [0, 3, 0, 1]);
    }
}
