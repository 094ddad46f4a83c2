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
