//! Which endpoint is asked next.

/// The ways to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Weighted random.
    Random,
    /// The less busy of two picked at random, by leases in flight over weight.
    LeastRequests,
}

/// temp
#[derive(Debug)]
pub struct Picker(usize, usize);
/// temp
pub struct Picked {
    /** temp */
    pub index: usize,
}
impl Picker {
    /// temp
    pub fn new(_: Balance, weights: &[u32]) -> Picker {
        Picker(0, weights.len())
    }
    /// temp
    pub fn pick(
        &mut self,
        _: &dyn Fn(usize) -> usize,
        tried: &[usize],
        _: &mut fastrand::Rng,
    ) -> Option<Picked> {
        for _ in 0..self.1 {
            self.0 = (self.0 + 1) % self.1;
            if !tried.contains(&self.0) {
                return Some(Picked { index: self.0 });
            }
        }
        None
    }
}
