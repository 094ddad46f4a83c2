//! How long to wait before trying again.
//!
//! Clients that failed together and wait for the same time come back together. With "full jitter" each waits a random
//! time between nothing and a bound that doubles, which spreads them best for the same average (M. Brooker, "Exponential
//! Backoff And Jitter", 2015).

use crate::clock::Duration;

/// The bounds of the waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest first wait.
    pub base: Duration,
    /// The longest wait at all.
    pub max: Duration,
}

impl Backoff {
    /// The wait before attempt number `made` + 1; `chance` from 0 to 1.
    pub fn wait(&self, made: u32, chance: f64) -> Duration {
        let doubled = self.base.saturating_mul(1_u32.checked_shl(made.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(self.max).mul_f64(chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_millis(25), max: Duration::from_millis(250) };

    #[test]
    fn the_bound_doubles_up_to_the_longest() {
        let longest = |made| BACKOFF.wait(made, 1.0).as_millis();
        assert_eq!([0, 1, 2, 3, 4, 5, 40].map(longest), [25, 25, 50, 100, 200, 250, 250]);
    }

    #[test]
    fn chance_spreads_from_nothing_on() {
        assert_eq!(BACKOFF.wait(2, 0.0), Duration::ZERO);
        assert_eq!(BACKOFF.wait(2, 0.5), Duration::from_millis(25));
    }
}
