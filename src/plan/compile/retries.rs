//! When a request is tried again: the route's words over the upstream's.

use crate::config::route::RouteRetry;
use crate::config::units::Unit;
use crate::config::upstream::{Backoff, Budget, Retry, RetryOn, RetryWord};
use crate::config::{Fault, KeyPath};
use crate::retry::{self, When, backoff, budget};

/// Checks an upstream's own words.
pub fn check_upstream(path: &KeyPath, retry: &Retry, faults: &mut Vec<Fault>) {
    let path = path.key("retry");
    faults.extend(reversed(&retry.backoff, &path.key("backoff")));
    faults.extend(twice(&retry.when, &path.key("when")));
}

/// Overlays the upstream's words with the route's, and checks the latter.
pub fn of_route(
    path: &KeyPath,
    own: Option<&RouteRetry>,
    upstream: &Retry,
    faults: &mut Vec<Fault>,
) -> retry::Policy {
    let path = path.key("retry");
    let nothing = RouteRetry::default();
    let RouteRetry { attempts, when, per_try_timeout, backoff, idempotency_key } = own.unwrap_or(&nothing);
    faults.extend(backoff.as_ref().and_then(|backoff| reversed(backoff, &path.key("backoff"))));
    faults.extend(when.as_ref().and_then(|when| twice(when, &path.key("when"))));
    let Backoff { base, max } = backoff.unwrap_or(upstream.backoff);
    retry::Policy {
        attempts: attempts.unwrap_or(upstream.attempts),
        when: plan_when(when.as_ref().unwrap_or(&upstream.when)),
        per_try: per_try_timeout.or(upstream.per_try_timeout).map(|span| span.as_std()),
        backoff: backoff::Backoff { base: base.as_std(), max: max.as_std() },
        idempotency_key: idempotency_key.unwrap_or(upstream.idempotency_key),
    }
}

/// The upstream's budget.
pub fn plan_budget(budget: &Budget) -> budget::Policy {
    let Budget { ratio, min_per_second } = budget;
    budget::Policy { percent: ratio.percent(), min_per_second: *min_per_second }
}

fn plan_when(when: &[RetryOn]) -> When {
    let has = |word| when.contains(&RetryOn::Word(word));
    let status = |on: &RetryOn| match on {
        RetryOn::Status(status) => Some(*status),
        RetryOn::Word(_) => None,
    };
    When {
        connect: has(RetryWord::Connect),
        reset: has(RetryWord::Reset),
        timeout: has(RetryWord::Timeout),
        statuses: when.iter().filter_map(status).collect(),
    }
}

fn reversed(backoff: &Backoff, path: &KeyPath) -> Option<Fault> {
    let Backoff { base, max } = backoff;
    let found = format!("max {} below base {}", max.write(), base.write());
    (max < base)
        .then(|| Fault::new(path.key("max"), found, "the longest wait to be no shorter than the first"))
}

/// Of texts the check finds it; numbers it leaves to us.
fn twice(when: &[RetryOn], path: &KeyPath) -> Option<Fault> {
    let is_again =
        |(index, on): &(usize, &RetryOn)| matches!(on, RetryOn::Status(_)) && when[..*index].contains(on);
    let (index, on) = when.iter().enumerate().find(is_again)?;
    let RetryOn::Status(status) = on else { return None };
    Some(Fault::new(path.index(index), format!("{status} a second time"), "each item once"))
}
