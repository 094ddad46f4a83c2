//! Whether a new worker fails more requests than the old one did.
//!
//! A new version can be well by its own account and still answer every third request with 500. What tells is the share of
//! failed requests before and after. It must not be fooled by chance, though: an upgrade that is taken back for nothing is
//! a failed upgrade. So the new share has to be worse by a clear margin *and* a clear factor, over enough requests; an
//! upstream that was failing before goes on failing, and that is no reason.

use crate::clock::{Duration, Moment};

/// Requests so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered, in whatever way.
    pub requests: u64,
    /// Of those, failed.
    pub failures: u64,
}

impl Tally {
    /// What has come since an earlier look.
    pub fn since(self, earlier: Tally) -> Tally {
        Tally {
            requests: self.requests.saturating_sub(earlier.requests),
            failures: self.failures.saturating_sub(earlier.failures),
        }
    }

    fn share(self) -> f64 {
        self.failures as f64 / self.requests.max(1) as f64
    }
}

/// Fewer failures than this are chance.
const LEAST: u64 = 10;

/// The share of failures must have risen by so much,
const MARGIN: f64 = 0.05;

/// and be so many times what it was.
const FACTOR: f64 = 2.0;

/// Whether requests fail clearly more often `after` than `before`; why, if so.
pub fn is_worse(before: Tally, after: Tally) -> Option<String> {
    let (old, new) = (before.share(), after.share());
    let worse = after.failures >= LEAST && new > old + MARGIN && new > old * FACTOR;
    worse.then(|| {
        format!(
            "{} of {} requests failed, which is {:.0} %, and {:.0} % before",
            after.failures,
            after.requests,
            new * 100.0,
            old * 100.0
        )
    })
}

/// How far back a worker's record is looked at.
const WINDOW: Duration = Duration::from_secs(60);

/// One worker's record of late.
#[derive(Clone, Copy, Debug, Default)]
pub struct Judge {
    now: Tally,
    /// Where the present and the last window began.
    began: Tally,
    before: Tally,
    at: Moment,
}

impl Judge {
    /// It has said what it has done so far.
    pub fn note(&mut self, tally: Tally, now: Moment) {
        self.now = tally;
        if now.since(self.at) >= WINDOW {
            (self.before, self.began, self.at) = (self.began, tally, now);
        }
    }

    /// What it did in the last one to two windows.
    pub fn recent(&self) -> Tally {
        self.now.since(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(failures: u64, requests: u64) -> Tally {
        Tally { requests, failures }
    }

    #[test]
    fn it_takes_a_margin_a_factor_and_a_number() {
        for (before, after, worse) in [
            (tally(0, 1000), tally(0, 1000), false),
            (tally(0, 1000), tally(9, 9), false),
            (tally(0, 1000), tally(10, 10), true),
            (tally(0, 1000), tally(10, 1000), false),
            (tally(0, 1000), tally(60, 1000), true),
            (tally(0, 0), tally(60, 1000), true),
            (tally(0, 0), tally(40, 1000), false),
            (tally(300, 1000), tally(400, 1000), false),
            (tally(300, 1000), tally(650, 1000), true),
            (tally(1000, 1000), tally(1000, 1000), false),
        ] {
            assert_eq!(is_worse(before, after).is_some(), worse, "{before:?} {after:?}");
        }
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let (mut judge, mut total) = (Judge::default(), Tally::default());
        for second in 0..600 {
            total.requests += 10;
            total.failures += if second < 300 { 10 } else { 0 };
            judge.note(total, Moment::ORIGIN + Duration::from_secs(second));
        }
        let recent = judge.recent();
        assert!(recent.failures == 0 && (600..=1200).contains(&recent.requests), "{recent:?}");
    }
}
