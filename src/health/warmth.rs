//! How long an idle connection may be trusted.
//!
//! An upstream closes connections that were idle for too long, and says nothing beforehand. If a request leaves while
//! that end is still on its way, the connection is reset, and nobody can tell whether the request was carried out. One
//! that is idempotent is sent again. For one that is not, the risk must not be taken: it gets an idle connection only
//! where that is surely alive, and a fresh one otherwise.
//!
//! How long an upstream keeps idle connections is learnt by looking: one that was seen open after being idle for two
//! seconds says that two seconds are safe, and half of that, less a round trip, is trusted. One that is found closed before
//! that age takes it back to the age at which it was last seen open. So nothing is believed before it was seen, an upstream that was
//! given a shorter time-out is found out by its first closed connection, and one that restarts costs a few fresh
//! connections.

use crate::clock::Duration;

/// What has been learnt about the idle connections of one upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warmth {
    /// The longest that a connection was idle and yet open.
    survived: Duration,
    /// The longest that a connection took to open, of late.
    round_trip: Duration,
}

impl Warmth {
    /// A connection that was idle for so long is open, or was, since it carried an answer.
    pub fn seen_open(&mut self, idle: Duration) {
        self.survived = self.survived.max(idle);
    }

    /// A connection was closed from the other side: after it was seen open for the last time, at the one age, and before
    /// it was found closed, at the other. If the latter is an age that others survived, that is true no longer.
    pub fn seen_closed(&mut self, last_seen_open: Duration, found_closed: Duration) {
        if found_closed <= self.survived {
            self.survived = last_seen_open;
        }
    }

    /// A connection took so long to open: one round trip, on the way that a request and an end take, too.
    pub fn opened(&mut self, took: Duration) {
        self.round_trip = took.max(self.round_trip * 7 / 8);
    }

    /// A connection that was idle for less than this is alive when a request gets there.
    pub fn trusted(&self) -> Duration {
        (self.survived / 2).saturating_sub(self.round_trip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn nothing_is_believed_before_it_was_seen() {
        assert_eq!(Warmth::default().trusted(), Duration::ZERO);
    }

    #[test]
    fn half_of_what_was_survived_is_trusted_less_a_round_trip() {
        let mut warmth = Warmth::default();
        warmth.seen_open(ms(2000));
        warmth.seen_open(ms(100));
        assert_eq!(warmth.trusted(), ms(1000));
        warmth.opened(ms(10));
        assert_eq!(warmth.trusted(), ms(990));
    }

    #[test]
    fn a_closed_connection_takes_it_back() {
        let mut warmth = Warmth::default();
        warmth.seen_open(ms(2000));
        warmth.seen_closed(ms(1900), ms(2100));
        assert_eq!(warmth.trusted(), ms(1000), "it may have ended after 2 s");
        warmth.seen_closed(ms(200), ms(300));
        assert_eq!(warmth.trusted(), ms(100));
        warmth.seen_closed(ms(1500), ms(1600));
        assert_eq!(warmth.trusted(), ms(100), "a later end says nothing new");
        warmth.seen_closed(Duration::ZERO, ms(50));
        assert_eq!(warmth.trusted(), Duration::ZERO);
    }

    /// Whatever the upstream's time-out, round trip and habits: a request that trusts gets there in time.
    #[test]
    fn trust_is_never_misplaced_where_the_time_out_is_constant() {
        let mut random = fastrand::Rng::with_seed(9);
        for _ in 0..1000 {
            let time_out = ms(random.u64(50..60_000));
            let round_trip = ms(random.u64(0..20));
            let mut warmth = Warmth::default();
            warmth.opened(round_trip);
            for _ in 0..50 {
                let looked = time_out.mul_f64(random.f64() * 2.0);
                match looked < time_out {
                    true => warmth.seen_open(looked),
                    false => warmth.seen_closed(time_out / 2, looked),
                }
                assert!(warmth.trusted() + round_trip < time_out || warmth.trusted().is_zero());
            }
        }
    }
}
