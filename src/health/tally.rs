//! What an endpoint's requests of late came to.
//!
//! Two things are counted: failures in a row, which find an endpoint that has died within a handful of requests, and
//! failures among all requests of a window, which find one that fails every third. The window is ten buckets that are
//! used in turn, so that what is old leaves a tenth at a time and nothing is kept of single requests.

use super::ejection::{Ejection, Why};
use crate::clock::{Duration, Moment};
use crate::estate;

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// An answer that is none of the endpoint's faults, so long after the request.
    Well(Duration),
    /// A bad answer, such as 503.
    Badly,
    /// No answer: no connection, a broken one, or none in time.
    Silent,
    /// The client went away after it had waited in vain for so long.
    GivenUp(Duration),
    /// It says nothing about the endpoint.
    Unknown,
    /// Nor does this: the proxy itself had run out of what it takes to ask. The next to ask would fare no better.
    Unmade,
}

const BUCKETS: u32 = 10;

/// One endpoint's counts.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    in_a_row: u32,
    buckets: [Bucket; BUCKETS as usize],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Which stretch of time it counts, by number.
    number: u64,
    well: u32,
    failed: u32,
    latency: Duration,
}

/// What the window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Requests that ended well.
    pub well: u32,
    /// Requests that failed.
    pub failed: u32,
    latency: Duration,
}

impl Sum {
    /// All of them.
    pub fn all(&self) -> u32 {
        self.well.saturating_add(self.failed)
    }

    /// The average latency of those that ended well.
    pub fn average(&self) -> Option<Duration> {
        self.latency.checked_div(self.well)
    }
}

impl Tally {
    /// Counts a request. Whether this is reason enough to eject, as far as the endpoint alone can tell.
    pub fn count(&mut self, ended: Ended, policy: &Ejection, now: Moment) -> Option<Why> {
        let bucket = self.bucket(policy.window, now);
        match ended {
            Ended::Unknown | Ended::Unmade | Ended::GivenUp(_) => None,
            Ended::Well(latency) => {
                bucket.well = bucket.well.saturating_add(1);
                bucket.latency = bucket.latency.saturating_add(latency);
                self.in_a_row = 0;
                None
            }
            Ended::Badly | Ended::Silent => {
                bucket.failed = bucket.failed.saturating_add(1);
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.judge(ended == Ended::Badly, policy, now)
            }
        }
    }

    fn judge(&self, answered: bool, policy: &Ejection, now: Moment) -> Option<Why> {
        if self.in_a_row >= policy.consecutive_failures {
            return Some(Why::Consecutive { failures: self.in_a_row, answered });
        }
        let sum = self.sum(policy.window, now);
        let failed = u64::from(sum.failed) * 100 >= u64::from(sum.all()) * u64::from(policy.failure_percent);
        let enough = sum.all() >= policy.min_requests;
        (enough && failed).then_some(Why::Ratio { failed: sum.failed, of: sum.all() })
    }

    /// What the window holds.
    pub fn sum(&self, window: Duration, now: Moment) -> Sum {
        let present = number(window, now);
        let recent = |bucket: &&Bucket| bucket.number + u64::from(BUCKETS) > present;
        self.buckets.iter().filter(recent).fold(Sum::default(), |sum, bucket| Sum {
            well: sum.well.saturating_add(bucket.well),
            failed: sum.failed.saturating_add(bucket.failed),
            latency: sum.latency.saturating_add(bucket.latency),
        })
    }

    /// What it leaves. `window` is that of the policy that it was counted under.
    pub fn bequeath(&self, window: Duration, now: Moment) -> estate::Tally {
        let Tally { in_a_row, buckets } = self;
        let is_used = |bucket: &&Bucket| bucket.well > 0 || bucket.failed > 0;
        let left = |bucket: &Bucket| {
            let Bucket { number, well, failed, latency } = *bucket;
            estate::Bucket { age: age(number, window, now).into(), well, failed, latency: latency.into() }
        };
        let buckets = buckets.iter().filter(is_used).map(left).collect();
        estate::Tally { in_a_row: *in_a_row, buckets }
    }

    /// Counts on. Buckets go where their age puts them in a window of another length or by another clock; what is older
    /// than the window, or than the clock, is dropped.
    pub fn inherit(known: &estate::Tally, window: Duration, now: Moment) -> Tally {
        let mut tally = Tally { in_a_row: known.in_a_row, ..Tally::default() };
        let present = number(window, now);
        for known in &known.buckets {
            let estate::Bucket { age, well, failed, latency } = *known;
            let age = Duration::from(age);
            let then = now.before(age);
            let is_recent = number(window, then) + u64::from(BUCKETS) > present;
            if is_recent && now.since(Moment::ORIGIN) >= age {
                tally.bucket(window, then).add(well, failed, latency.into());
            }
        }
        tally
    }

    fn bucket(&mut self, window: Duration, now: Moment) -> &mut Bucket {
        let number = number(window, now);
        let bucket = &mut self.buckets[(number % u64::from(BUCKETS)) as usize];
        if bucket.number != number {
            *bucket = Bucket { number, ..Bucket::default() };
        }
        bucket
    }
}

impl Bucket {
    fn add(&mut self, well: u32, failed: u32, latency: Duration) {
        self.well = self.well.saturating_add(well);
        self.failed = self.failed.saturating_add(failed);
        self.latency = self.latency.saturating_add(latency);
    }
}

/// Which tenth of a window it is, counted from the clock's origin.
fn number(window: Duration, now: Moment) -> u64 {
    micros(now.since(Moment::ORIGIN)) / micros(width(window))
}

/// How long ago the last moment of a bucket was; nothing for the present one.
fn age(number: u64, window: Duration, now: Moment) -> Duration {
    let last = micros(width(window)).saturating_mul(number + 1) - 1;
    Duration::from_micros(micros(now.since(Moment::ORIGIN)).saturating_sub(last))
}

fn width(window: Duration) -> Duration {
    (window / BUCKETS).max(Duration::from_millis(1))
}

/// As 64 bits: they hold half a million years, and are divided several times as fast as 128.
fn micros(span: Duration) -> u64 {
    span.as_micros() as u64
}

/// Whether an average is that of an outlier: above the threshold, and above three times what the siblings' middle one
/// has. If they are as slow, it is the requests.
pub fn is_outlier(own: Duration, siblings: &mut [Duration], threshold: Duration) -> bool {
    siblings.sort_unstable();
    let middle = siblings.get(siblings.len().saturating_sub(1) / 2);
    own > threshold && middle.is_some_and(|middle| own > *middle * 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Ejection = Ejection {
        consecutive_failures: 5,
        failure_percent: 50,
        window: Duration::from_secs(10),
        min_requests: 20,
        latency: None,
        base: Duration::from_secs(10),
        max_percent: 50,
    };

    fn at(millis: u64) -> Moment {
        Moment::ORIGIN + Duration::from_millis(millis)
    }

    /// `+` ends well and `-` badly, one each 10 ms from 5 s on; the first reason.
    fn first_reason(ends: &str) -> Option<Why> {
        let mut tally = Tally::default();
        let ended = |end| if end == '+' { Ended::Well(Duration::from_millis(3)) } else { Ended::Badly };
        ends.chars()
            .enumerate()
            .find_map(|(nth, end)| tally.count(ended(end), &POLICY, at(5000 + 10 * nth as u64)))
    }

    #[test]
    fn failures_in_a_row() {
        assert_eq!(first_reason("----"), None);
        assert_eq!(first_reason("+-----"), Some(Why::Consecutive { failures: 5, answered: true }));
        assert_eq!(first_reason("----+----+----"), None);
    }

    #[test]
    fn a_share_of_failures_once_there_are_enough() {
        assert_eq!(first_reason(&"+-".repeat(9)), None, "18 requests say nothing");
        assert_eq!(first_reason(&"+-".repeat(10)), Some(Why::Ratio { failed: 10, of: 20 }));
        assert_eq!(first_reason(&"++-".repeat(30)), None);
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let mut tally = Tally::default();
        for nth in 0..19 {
            tally.count(
                if nth % 2 == 0 { Ended::Badly } else { Ended::Well(Duration::ZERO) },
                &POLICY,
                at(nth),
            );
        }
        assert_eq!(tally.sum(POLICY.window, at(9_999)).all(), 19);
        assert_eq!(tally.sum(POLICY.window, at(10_000)).all(), 0);
        assert_eq!(tally.count(Ended::Silent, &POLICY, at(20_500)), None, "the first of a new window");
    }

    #[test]
    fn who_goes_away_says_nothing() {
        let mut tally = Tally::default();
        for nth in 0..100 {
            assert_eq!(tally.count(Ended::Unknown, &POLICY, at(nth)), None);
        }
        assert_eq!(tally.sum(POLICY.window, at(100)), Sum::default());
    }

    #[test]
    fn the_average_is_that_of_good_answers() {
        let mut tally = Tally::default();
        tally.count(Ended::Well(Duration::from_millis(10)), &POLICY, at(0));
        tally.count(Ended::Well(Duration::from_millis(30)), &POLICY, at(1500));
        tally.count(Ended::Silent, &POLICY, at(1600));
        assert_eq!(tally.sum(POLICY.window, at(2000)).average(), Some(Duration::from_millis(20)));
        assert_eq!(Sum::default().average(), None);
    }

    /// One good and one bad request each 100 ms, from 5 s on for 10 s.
    fn steady() -> Tally {
        let mut tally = Tally::default();
        for nth in 50..150 {
            tally.count(Ended::Well(Duration::from_millis(nth)), &POLICY, at(100 * nth));
            tally.count(Ended::Badly, &POLICY, at(100 * nth));
        }
        tally
    }

    fn handed_over(tally: &Tally, then: Moment, window: Duration, now: Moment) -> Tally {
        Tally::inherit(&tally.bequeath(POLICY.window, then), window, now)
    }

    #[test]
    fn by_the_same_clock_nothing_changes() {
        let (tally, now) = (steady(), at(15_300));
        let heir = handed_over(&tally, now, POLICY.window, now);
        assert_eq!(heir.in_a_row, 1);
        for later in (15_300..26_000).step_by(100) {
            assert_eq!(heir.sum(POLICY.window, at(later)), tally.sum(POLICY.window, at(later)), "{later}");
        }
    }

    /// Each request is forgotten when the window is over, or a tenth of it sooner or later.
    #[test]
    fn by_another_clock_all_is_as_old_as_it_was() {
        let (tally, then) = (steady(), 15_300);
        for now in [20_000, 20_700, 123_456] {
            let heir = handed_over(&tally, at(then), POLICY.window, at(now));
            for later in (0..11_000).step_by(100) {
                let failed = |tally: &Tally, now: u64| tally.sum(POLICY.window, at(now + later)).failed;
                let (kept, known) = (failed(&heir, now), failed(&tally, then));
                assert!(kept.abs_diff(known) <= 10, "{kept} for {known} after {later} ms, at {now}");
            }
        }
    }

    #[test]
    fn a_shorter_window_keeps_what_fits_and_a_longer_one_all() {
        let now = at(15_000);
        let of = |window| handed_over(&steady(), now, window, now).sum(window, now).failed;
        assert_eq!(
            [POLICY.window, POLICY.window * 6].map(of),
            [90, 100],
            "nine full tenths and one that begins, or all"
        );
        assert!((8..=20).contains(&of(Duration::from_secs(2))), "{}", of(Duration::from_secs(2)));
    }

    #[test]
    fn what_is_older_than_the_clock_is_dropped_and_nothing_overflows() {
        let bucket =
            |age| estate::Bucket { age, well: u32::MAX, failed: u32::MAX, latency: Duration::MAX.into() };
        let second = Duration::from_secs(1);
        let buckets = [second * 2, second * 2, second * 4, Duration::MAX].map(|age| bucket(age.into()));
        let known = estate::Tally { in_a_row: u32::MAX, buckets: buckets.into() };
        let mut heir = Tally::inherit(&known, POLICY.window, at(3_000));
        assert_eq!(heir.buckets.iter().filter(|bucket| bucket.failed > 0).count(), 1);
        assert!(heir.count(Ended::Silent, &POLICY, at(3_000)).is_some());
    }

    #[test]
    fn an_outlier_is_slow_and_alone_in_it() {
        let ms = Duration::from_millis;
        assert!(is_outlier(ms(800), &mut [ms(1), ms(2)], ms(100)));
        assert!(!is_outlier(ms(90), &mut [ms(1), ms(2)], ms(100)), "below the threshold");
        assert!(!is_outlier(ms(800), &mut [ms(500), ms(600)], ms(100)), "they are all slow");
        assert!(!is_outlier(ms(800), &mut [], ms(100)), "nobody to compare with");
    }
}
