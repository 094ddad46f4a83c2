//! How long an endpoint takes to answer, as one number that follows the latest.
//!
//! A peak-sensitive, exponentially weighted moving average (Finagle's "Peak EWMA"): a slower answer is believed at once,
//! a quicker one little by little, so that an endpoint which has become slow is noticed with its first answer. With no
//! answers at all the number fades, so that an endpoint which is avoided for having been slow is tried again some day.
//! And a request that has been waiting for longer than the average is news already, before its answer comes.

use crate::clock::{Duration, Moment};
use crate::estate;

/// After so long the past counts for a third.
pub const FADING: Duration = Duration::from_secs(5);

/// What a failure counts as, at least: an endpoint that fails at once must not seem quick.
const FAILURE: Duration = Duration::from_millis(250);

/// The moving average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// In seconds; zero before the first answer.
    cost: f64,
    at: Moment,
}

impl Latency {
    /// Notes an answer, so long after its request.
    pub fn answered(&mut self, latency: Duration, now: Moment) {
        let latency = latency.as_secs_f64();
        let past = self.faded(now);
        let weight = weight(now.since(self.at));
        self.cost =
            if latency > past { latency } else { past.max(self.cost * weight + latency * (1.0 - weight)) };
        self.at = now;
    }

    /// Notes a request that failed.
    pub fn failed(&mut self, now: Moment) {
        self.answered(FAILURE.max(self.average(now) * 2).min(FAILURE * 40), now);
    }

    /// The average as it stands; nothing before the first answer.
    pub fn average(&self, now: Moment) -> Duration {
        Duration::from_secs_f64(self.faded(now))
    }

    /// What it leaves.
    pub fn bequeath(&self, now: Moment) -> estate::Latency {
        let Latency { cost, at } = *self;
        let cost = Duration::try_from_secs_f64(cost).unwrap_or_default();
        estate::Latency { cost: cost.into(), age: now.since(at).into() }
    }

    /// The average that was left, as old as it is.
    pub fn inherit(known: estate::Latency, now: Moment) -> Latency {
        let estate::Latency { cost, age } = known;
        Latency { cost: Duration::from(cost).as_secs_f64(), at: now.before(age.into()) }
    }

    fn faded(&self, now: Moment) -> f64 {
        self.cost * weight(now.since(self.at))
    }
}

fn weight(age: Duration) -> f64 {
    (-age.as_secs_f64() / FADING.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::ORIGIN + Duration::from_millis(millis)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_slower_answer_is_believed_at_once_and_a_quicker_one_little_by_little() {
        let mut latency = Latency::default();
        latency.answered(ms(2), at(0));
        latency.answered(ms(800), at(10));
        assert_eq!(latency.average(at(10)), ms(800));
        latency.answered(ms(2), at(20));
        assert!(latency.average(at(20)) > ms(790), "{:?}", latency.average(at(20)));
        for nth in 3..3000 {
            latency.answered(ms(2), at(10 * nth));
        }
        assert!(latency.average(at(30_000)) < ms(6), "{:?}", latency.average(at(30_000)));
    }

    #[test]
    fn steady_answers_give_their_own_latency() {
        let mut latency = Latency::default();
        for nth in 0..1000 {
            latency.answered(ms(20), at(10 * nth));
        }
        assert!((ms(19)..=ms(20)).contains(&latency.average(at(9_990))), "{:?}", latency.average(at(9_990)));
    }

    #[test]
    fn without_answers_it_fades() {
        let mut latency = Latency::default();
        assert_eq!(latency.average(at(0)), Duration::ZERO);
        latency.answered(ms(800), at(0));
        assert!(latency.average(at(5_000)) < ms(300));
        assert!(latency.average(at(60_000)) < ms(1));
    }

    #[test]
    fn an_average_is_inherited_with_its_age() {
        let mut latency = Latency::default();
        latency.answered(ms(800), at(10_000));
        let mut heir = Latency::inherit(latency.bequeath(at(12_000)), at(7_000));
        assert_eq!(heir.average(at(8_000)), latency.average(at(13_000)));
        latency.answered(ms(2), at(13_000));
        heir.answered(ms(2), at(8_000));
        assert_eq!(heir.average(at(8_000)), latency.average(at(13_000)));
        assert_eq!(Latency::inherit(Latency::default().bequeath(at(5)), at(9)).average(at(9)), ms(0));
    }

    #[test]
    fn what_is_older_than_the_clock_fades_from_its_origin_on() {
        let known = estate::Latency { cost: ms(800).into(), age: ms(60_000).into() };
        let heir = Latency::inherit(known, at(1_000));
        assert!((ms(600)..ms(800)).contains(&heir.average(at(1_000))), "{heir:?}");
        let known = estate::Latency { cost: Duration::MAX.into(), age: Duration::MAX.into() };
        Latency::inherit(known, at(0)).failed(at(1));
    }

    #[test]
    fn failures_are_slow_and_bounded() {
        let mut latency = Latency::default();
        for nth in 0..100 {
            latency.failed(at(nth));
        }
        assert!((ms(250)..=ms(10_000)).contains(&latency.average(at(100))));
    }
}
