//! How much load retries may add.
//!
//! Retries help when one endpoint of many fails, and do harm when all do: three attempts each turn an upstream that
//! cannot keep up into one that gets three times as much. A budget tells the two apart: over the last ten seconds, retries
//! may be a share of the requests that came, plus a few a second, so that an upstream with little traffic has some, too. In normal
//! times it is never felt; in an outage it bounds the load at 1 + ratio (Finagle's RetryBudget; Envoy's `retry_budget`).

use crate::clock::{Duration, Moment};
use crate::estate;

/// The bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Retries for 100 requests.
    pub percent: u8,
    /// Further ones a second.
    pub min_per_second: u32,
}

/// What it looks back on.
const WINDOW_SECONDS: u64 = 10;

/// Requests and retries of one upstream, second by second.
#[derive(Clone, Debug)]
pub struct Budget {
    policy: Policy,
    seconds: [Second; WINDOW_SECONDS as usize],
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    requests: u64,
    retries: u64,
}

impl Budget {
    /// A budget that nothing was taken from.
    pub fn new(policy: Policy) -> Budget {
        Budget { policy, seconds: Default::default() }
    }

    /// So many requests have come, of late.
    pub fn deposit(&mut self, requests: u64, now: Moment) {
        self.second(now).requests += requests;
    }

    /// Takes one retry, if there is one to take.
    pub fn withdraw(&mut self, now: Moment) -> bool {
        let (requests, retries) = self.sum(now);
        let share = requests * u64::from(self.policy.percent) / 100;
        let allowed = share + u64::from(self.policy.min_per_second) * WINDOW_SECONDS;
        let granted = retries < allowed;
        self.second(now).retries += u64::from(granted);
        granted
    }

    /// What it leaves.
    pub fn bequeath(&self, now: Moment) -> Vec<estate::Second> {
        let left = |second: &Second| {
            let Second { number: then, requests, retries } = *second;
            let age_seconds = number(now).saturating_sub(then);
            let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
            estate::Second { age_seconds, requests: count(requests), retries: count(retries) }
        };
        self.seconds.iter().map(left).filter(|second| second.age_seconds < WINDOW_SECONDS).collect()
    }

    /// A budget that so much was taken from already, and that owes something to the requests that came.
    pub fn inherit(policy: Policy, known: &[estate::Second], now: Moment) -> Budget {
        let mut budget = Budget::new(policy);
        for known in known.iter().filter(|known| known.age_seconds < WINDOW_SECONDS) {
            let estate::Second { age_seconds, requests, retries } = *known;
            let age = Duration::from_secs(age_seconds);
            if now.since(Moment::ORIGIN) >= age {
                let second = budget.second(now.before(age));
                second.requests += u64::from(requests);
                second.retries += u64::from(retries);
            }
        }
        budget
    }

    fn sum(&self, now: Moment) -> (u64, u64) {
        let present = number(now);
        let recent = self.seconds.iter().filter(|second| second.number + WINDOW_SECONDS > present);
        recent.fold((0, 0), |(requests, retries), second| {
            (requests + second.requests, retries + second.retries)
        })
    }

    fn second(&mut self, now: Moment) -> &mut Second {
        let number = number(now);
        let second = &mut self.seconds[(number % WINDOW_SECONDS) as usize];
        if second.number != number {
            *second = Second { number, ..Second::default() };
        }
        second
    }
}

fn number(now: Moment) -> u64 {
    now.since(Moment::ORIGIN).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::ORIGIN + Duration::from_millis(millis)
    }

    fn granted(budget: &mut Budget, now: Moment, asked: usize) -> usize {
        (0..asked).filter(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn a_share_of_the_requests_and_a_few_more() {
        let mut budget = Budget::new(Policy { percent: 20, min_per_second: 1 });
        assert_eq!(granted(&mut budget, at(0), 50), 10, "ten seconds' worth of the floor");
        (0..100).for_each(|_| budget.deposit(1, at(500)));
        assert_eq!(granted(&mut budget, at(500), 50), 20);
    }

    #[test]
    fn what_is_ten_seconds_old_is_forgotten() {
        let mut budget = Budget::new(Policy { percent: 50, min_per_second: 0 });
        (0..10).for_each(|_| budget.deposit(1, at(0)));
        assert_eq!(granted(&mut budget, at(9_999), 50), 5);
        assert_eq!(granted(&mut budget, at(10_000), 50), 0, "the requests are gone");
        (0..10).for_each(|_| budget.deposit(1, at(19_000)));
        assert_eq!(granted(&mut budget, at(19_000), 50), 5, "and the retries of 9.999 s, too");
    }

    #[test]
    fn nothing_is_nothing_and_all_is_twice_the_load() {
        let mut none = Budget::new(Policy { percent: 0, min_per_second: 0 });
        none.deposit(1, at(0));
        assert!(!none.withdraw(at(0)));
        let mut all = Budget::new(Policy { percent: 100, min_per_second: 0 });
        (0..7).for_each(|_| all.deposit(1, at(0)));
        assert_eq!(granted(&mut all, at(0), 50), 7);
    }

    #[test]
    fn what_came_and_what_was_granted_is_inherited_second_by_second() {
        let policy = Policy { percent: 50, min_per_second: 0 };
        let mut budget = Budget::new(policy);
        budget.deposit(100, at(20_500));
        assert_eq!(granted(&mut budget, at(21_500), 20), 20);
        budget.deposit(10, at(25_000));
        for now in [26_000, 500_900] {
            let mut heir = Budget::inherit(policy, &budget.bequeath(at(26_000)), at(now));
            assert_eq!(heir.sum(at(now)), (110, 20));
            assert_eq!(heir.sum(at(now + 4_000)), (10, 20), "{now}");
            assert_eq!(heir.sum(at(now + 9_000)), (0, 0));
            assert_eq!(granted(&mut heir, at(now), 100), 35);
        }
    }

    #[test]
    fn a_budget_with_another_policy_counts_what_was_granted() {
        let mut budget = Budget::new(Policy { percent: 50, min_per_second: 0 });
        budget.deposit(100, at(20_000));
        granted(&mut budget, at(20_000), 15);
        let policy = Policy { percent: 20, min_per_second: 0 };
        let mut heir = Budget::inherit(policy, &budget.bequeath(at(20_000)), at(20_000));
        assert_eq!(granted(&mut heir, at(20_000), 100), 5);
    }

    #[test]
    fn what_is_older_than_the_clock_or_the_window_is_dropped() {
        let second = |age_seconds| estate::Second { age_seconds, requests: u32::MAX, retries: 0 };
        let known = [second(1), second(1), second(4), second(WINDOW_SECONDS), second(u64::MAX)];
        let mut heir = Budget::inherit(Policy { percent: 255, min_per_second: u32::MAX }, &known, at(3_000));
        assert_eq!(heir.sum(at(3_000)), (u64::from(u32::MAX) * 2, 0));
        assert!(heir.withdraw(at(3_000)));
    }

    /// Whatever comes when: within any ten seconds no more retries than the share and the floor.
    #[test]
    fn the_bound_holds_over_random_traffic() {
        let policy = Policy { percent: 20, min_per_second: 2 };
        let mut random = fastrand::Rng::with_seed(4);
        let mut budget = Budget::new(policy);
        let (mut requests, mut retries) = (0_u64, 0_u64);
        let mut now = 0;
        for _ in 0..20_000 {
            now += random.u64(0..20);
            if random.bool() {
                budget.deposit(1, at(now));
                requests += 1;
            } else {
                retries += u64::from(budget.withdraw(at(now)));
            }
            let floor = (now / 1000 + 2 * WINDOW_SECONDS) * 2;
            assert!(retries <= requests / 5 + floor, "{retries} retries for {requests} requests at {now} ms");
        }
    }
}
