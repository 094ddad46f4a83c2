//! Whether a failed attempt is made again.
//!
//! A second attempt is only safe when the first cannot have had an effect, or may have it twice. So the question is how
//! far the first one came:
//!
//! * **Not connected**: nothing was sent, so any method may go to another endpoint, and at no cost. Where each was tried or
//!   no attempts are left, the request may still wait for one to come back; then it begins anew, be it with the same one.
//! * **Broken before the answer**: the request may have been carried out. Only an idempotent method (RFC 9110, section
//!   9.2.2) whose body can be sent again goes on; to another endpoint if there is one, else to the same on a fresh
//!   connection, because what broke was most likely an idle connection closed from the other side (RFC 9112, 9.3.1).
//! * **No answer in time**, or **an answer that says no** (such as 503): the same, but only to another endpoint.
//! * **What is no answer**: the same; an endpoint that talks nonsense has most likely carried nothing out, but who knows.
//! * **An answer that has begun to reach the client**: never.
//!
//! What counts in the end is how often a request is sent: one that met closed doors on its way has not been sent more often.
//!
//! What is safe is still load. An upstream that fails is often one that has too much to do, so repeated attempts have a
//! [`budget`], and those that would meet the same endpoint, or one that may be as busy or about to break as well,
//! [wait](backoff) first.

pub mod backoff;
pub mod budget;
pub mod deadline;

use backoff::Backoff;

use crate::clock::Duration;

/// What the operator wants tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How often a request is sent, the first time included, and how many closed doors it passes before it waits; 1 means
    /// never again.
    pub attempts: u32,
    /// What is tried again.
    pub when: When,
    /// How long one attempt may wait for the first byte of its answer.
    pub per_try: Option<Duration>,
    /// Waits.
    pub backoff: Backoff,
    /// A request with an `Idempotency-Key` counts as idempotent.
    pub idempotency_key: bool,
}

/// What is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// No connection.
    pub connect: bool,
    /// A connection that broke before the answer.
    pub reset: bool,
    /// No answer in time.
    pub timeout: bool,
    /// Answers with these statuses.
    pub statuses: Vec<u16>,
}

/// How far an attempt came before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// No connection came about.
    Nothing,
    /// The request was sent, in part or whole, and the connection broke before the answer's header section was whole.
    Upstream,
    /// It was sent, and what came back is not an answer.
    Nonsense,
    /// It was sent, and no answer came in time.
    Silence,
    /// An answer with this status; nothing of it has reached the client.
    Status(u16),
    /// An answer has begun to reach the client and cannot be taken back.
    Answer,
}

/// What the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'p> {
    /// What the operator wants.
    pub policy: &'p Policy,
    /// How far this attempt came.
    pub reached: Reached,
    /// The request may be carried out twice.
    pub idempotent: bool,
    /// The request's body is still whole in memory (or there is none).
    pub replayable: bool,
    /// Attempts so far, this one included; since an endpoint was last waited for.
    pub made: u32,
    /// Attempts in which something may have been sent, this one included if it is one; however long it has waited.
    pub delivered: u32,
    /// How long until the request's deadline; nothing when it has passed.
    pub left: Duration,
    /// An endpoint that may be asked and was not tried yet is left.
    pub others: bool,
}

/// The decision, and why: the reason is for the program log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again.
    Again {
        /// It may be carried out by two endpoints, so it counts as load: the budget has to allow it.
        costs: bool,
        /// At the earliest after a wait.
        waits: bool,
    },
    /// Nothing was sent, and there is nobody left to ask: wait for an endpoint to come back.
    Wait,
    /// Leave it at that.
    Enough(&'static str),
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another attempt, at once.
    Now,
    /// Another attempt, after a while.
    After(Duration),
    /// Wait for an endpoint to come back.
    Wait,
    /// Nothing: why.
    Enough(&'static str),
}

/// The verdict, the budget and the wait together. `withdraw` takes one retry out of the budget, if there is one; `chance`
/// from 0 to 1.
pub fn next(failed: &Failed<'_>, withdraw: impl FnOnce() -> bool, chance: f64) -> Next {
    let (costs, waits) = match verdict(failed) {
        Verdict::Enough(why) => return Next::Enough(why),
        Verdict::Wait => return Next::Wait,
        Verdict::Again { costs, waits } => (costs, waits),
    };
    // whoever has just seen two break gives the third time to show whether it does, too: at least half of the wait
    let chance = if failed.reached == Reached::Upstream { 0.5 + chance / 2.0 } else { chance };
    let wait = if waits { failed.policy.backoff.wait(failed.made, chance) } else { Duration::ZERO };
    match () {
        () if wait >= failed.left => Next::Enough("no time left to wait"),
        () if costs && !withdraw() => Next::Enough("the retry budget is spent"),
        () if wait.is_zero() => Next::Now,
        () => Next::After(wait),
    }
}

/// Decides what is safe.
pub fn verdict(failed: &Failed<'_>) -> Verdict {
    let when = &failed.policy.when;
    match failed.reached {
        _ if failed.left.is_zero() => Verdict::Enough("no time left"),
        Reached::Nothing => unsent(failed),
        Reached::Answer => Verdict::Enough("an answer is never asked for twice"),
        _ if !failed.idempotent => Verdict::Enough("the request is not idempotent"),
        _ if !failed.replayable => Verdict::Enough("the body cannot be sent again"),
        _ if failed.delivered >= failed.policy.attempts => Verdict::Enough("no attempts left"),
        Reached::Upstream if !when.reset => Verdict::Enough("retry.when has no reset"),
        // two that break in a row are no chance: the third may be about to
        Reached::Upstream => Verdict::Again { costs: true, waits: !failed.others || failed.made > 1 },
        _ if !failed.others => Verdict::Enough("every endpoint was tried"),
        Reached::Nonsense if !when.reset => Verdict::Enough("retry.when has no reset"),
        Reached::Nonsense => Verdict::Again { costs: true, waits: false },
        Reached::Silence if !when.timeout => Verdict::Enough("retry.when has no timeout"),
        Reached::Silence => Verdict::Again { costs: true, waits: false },
        Reached::Status(status) if !when.statuses.contains(&status) => {
            Verdict::Enough("retry.when has no such status")
        }
        Reached::Status(_) => Verdict::Again { costs: true, waits: true },
    }
}

/// A connection that did not come about cost nobody anything.
fn unsent(failed: &Failed<'_>) -> Verdict {
    let spent = failed.made >= failed.policy.attempts;
    match failed.policy.when.connect {
        false => Verdict::Enough("retry.when has no connect"),
        true if failed.others && !spent => Verdict::Again { costs: false, waits: false },
        true => Verdict::Wait,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    fn policy() -> Policy {
        Policy {
            attempts: 3,
            when: When { connect: true, reset: true, timeout: true, statuses: vec![502, 503, 504] },
            per_try: None,
            backoff: Backoff { base: Duration::from_millis(25), max: Duration::from_millis(250) },
            idempotency_key: false,
        }
    }

    fn hopeful(policy: &Policy, reached: Reached) -> Failed<'_> {
        let left = Duration::from_secs(1);
        let delivered = u32::from(reached != Reached::Nothing);
        Failed { policy, reached, idempotent: true, replayable: true, made: 1, delivered, left, others: true }
    }

    const SENT: [Reached; 4] = [Reached::Upstream, Reached::Nonsense, Reached::Silence, Reached::Status(503)];

    fn is_again(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Again { .. })
    }

    #[test]
    fn what_was_never_sent_may_always_be_sent_and_costs_nothing() {
        let policy = policy();
        let post = Failed { idempotent: false, replayable: false, ..hopeful(&policy, Reached::Nothing) };
        assert_eq!(verdict(&post), Verdict::Again { costs: false, waits: false });
        assert_eq!(verdict(&Failed { others: false, ..post }), Verdict::Wait);
        assert_eq!(verdict(&Failed { made: 3, ..post }), Verdict::Wait);
    }

    #[test]
    fn what_may_have_had_an_effect_is_sent_again_only_if_that_is_harmless() {
        let policy = policy();
        for reached in SENT {
            let failed = hopeful(&policy, reached);
            assert!(is_again(verdict(&failed)), "{reached:?}");
            assert!(!is_again(verdict(&Failed { idempotent: false, ..failed })), "{reached:?}");
            assert!(!is_again(verdict(&Failed { replayable: false, ..failed })), "{reached:?}");
        }
    }

    #[test]
    fn the_same_endpoint_is_asked_again_only_over_a_fresh_connection() {
        let policy = policy();
        let alone = |reached| verdict(&Failed { others: false, ..hopeful(&policy, reached) });
        assert_eq!(alone(Reached::Upstream), Verdict::Again { costs: true, waits: true });
        assert!(!is_again(alone(Reached::Silence)) && !is_again(alone(Reached::Status(503))));
    }

    #[test]
    fn an_answer_that_began_is_never_asked_for_again() {
        let policy = policy();
        assert!(!is_again(verdict(&hopeful(&policy, Reached::Answer))));
    }

    #[test]
    fn attempts_and_time_end() {
        let policy = policy();
        for reached in SENT {
            let failed = hopeful(&policy, reached);
            assert!(!is_again(verdict(&Failed { made: 3, delivered: 3, ..failed })), "{reached:?}");
            assert!(!is_again(verdict(&Failed { left: Duration::ZERO, ..failed })), "{reached:?}");
        }
        let late = Failed { left: Duration::ZERO, ..hopeful(&policy, Reached::Nothing) };
        assert!(matches!(verdict(&late), Verdict::Enough(_)), "no time to wait either");
    }

    /// All servers die at the same time: one resets, the next refuses, the third resets.
    #[test]
    fn closed_doors_are_no_attempts_of_a_request_that_was_sent() {
        let policy = policy();
        let failed = Failed { made: 3, delivered: 2, ..hopeful(&policy, Reached::Upstream) };
        assert!(matches!(next(&failed, || true, 0.0), Next::After(_)));
    }

    #[test]
    fn the_budget_is_asked_only_for_what_costs_and_only_last() {
        let policy = policy();
        let never = || panic!("nobody asks");
        assert_eq!(next(&hopeful(&policy, Reached::Nothing), never, 0.5), Next::Now);
        assert!(matches!(next(&hopeful(&policy, Reached::Answer), never, 0.5), Next::Enough(_)));
        let silent = hopeful(&policy, Reached::Silence);
        assert_eq!(next(&silent, || true, 0.5), Next::Now);
        assert_eq!(next(&silent, || false, 0.5), Next::Enough("the retry budget is spent"));
    }

    #[test]
    fn a_busy_endpoint_is_waited_for_unless_there_is_no_time() {
        let policy = policy();
        let busy = hopeful(&policy, Reached::Status(503));
        assert_eq!(next(&busy, || true, 1.0), Next::After(Duration::from_millis(25)));
        let late = Failed { left: Duration::from_millis(20), ..busy };
        assert!(matches!(next(&late, || panic!("nothing is taken"), 1.0), Next::Enough(_)));
    }

    #[test]
    fn what_the_operator_does_not_want_is_not_done() {
        let none = Policy { when: When::default(), ..policy() };
        for reached in SENT.into_iter().chain([Reached::Nothing]) {
            assert!(matches!(verdict(&hopeful(&none, reached)), Verdict::Enough(_)), "{reached:?}");
        }
        let policy = policy();
        assert!(!is_again(verdict(&hopeful(&policy, Reached::Status(500)))));
    }
}
