//! Whether a failed attempt is made again.
//!
//! A second attempt is only safe when the first cannot have had an effect, or may have it twice. So the question is how
//! far the first one came:
//!
//! * **Not connected**: nothing was sent. Any method may go to another endpoint; the same one would refuse again.
//! * **Broken before the answer**: the request may have been carried out. Only an idempotent method (RFC 9110, section
//!   9.2.2) whose body can be sent again goes on; to another endpoint if there is one, else to the same on a fresh
//!   connection, because what broke was most likely an idle connection closed from the other side (RFC 9112, 9.3.1).
//! * **Late, malformed, or broken within the answer**: never.

/// How far an attempt came before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// No connection came about.
    Nothing,
    /// The request was sent, in part or whole, and the connection broke before the answer's header section was whole.
    Upstream,
    /// An answer came, or its time was over.
    Answer,
}

/// What the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// How far this attempt came.
    pub reached: Reached,
    /// The request's method is idempotent.
    pub idempotent: bool,
    /// The request's body is still whole in memory (or there is none).
    pub replayable: bool,
    /// Attempts so far, this one included.
    pub made: u32,
    /// Attempts allowed.
    pub allowed: u32,
    /// The request's deadline has not passed.
    pub in_time: bool,
    /// An endpoint that was not tried yet is left.
    pub others: bool,
}

/// The decision, and why: the reason is for the program log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again.
    Again,
    /// Leave it at that.
    Enough(&'static str),
}

/// Decides.
pub fn verdict(failed: &Failed) -> Verdict {
    match failed.reached {
        Reached::Answer => Verdict::Enough("an answer is never asked for twice"),
        Reached::Upstream if !failed.idempotent => Verdict::Enough("the method is not idempotent"),
        Reached::Upstream if !failed.replayable => Verdict::Enough("the body cannot be sent again"),
        Reached::Nothing if !failed.others => Verdict::Enough("every endpoint was tried"),
        _ if failed.made >= failed.allowed => Verdict::Enough("no attempts left"),
        _ if !failed.in_time => Verdict::Enough("no time left"),
        _ => Verdict::Again,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOPEFUL: Failed = Failed {
        reached: Reached::Upstream,
        idempotent: true,
        replayable: true,
        made: 1,
        allowed: 3,
        in_time: true,
        others: true,
    };

    #[test]
    fn what_was_never_sent_may_always_be_sent() {
        let post = Failed { reached: Reached::Nothing, idempotent: false, replayable: false, ..HOPEFUL };
        assert_eq!(verdict(&post), Verdict::Again);
        assert!(matches!(verdict(&Failed { others: false, ..post }), Verdict::Enough(_)));
    }

    #[test]
    fn what_may_have_had_an_effect_is_sent_again_only_if_that_is_harmless() {
        assert_eq!(verdict(&HOPEFUL), Verdict::Again);
        assert_eq!(
            verdict(&Failed { others: false, ..HOPEFUL }),
            Verdict::Again,
            "a fresh connection will do"
        );
        assert!(matches!(verdict(&Failed { idempotent: false, ..HOPEFUL }), Verdict::Enough(_)));
        assert!(matches!(verdict(&Failed { replayable: false, ..HOPEFUL }), Verdict::Enough(_)));
    }

    #[test]
    fn an_answer_that_began_is_never_asked_for_again() {
        assert!(matches!(verdict(&Failed { reached: Reached::Answer, ..HOPEFUL }), Verdict::Enough(_)));
    }

    #[test]
    fn attempts_and_time_end() {
        assert!(matches!(verdict(&Failed { made: 3, ..HOPEFUL }), Verdict::Enough(_)));
        assert!(matches!(verdict(&Failed { in_time: false, ..HOPEFUL }), Verdict::Enough(_)));
    }
}
