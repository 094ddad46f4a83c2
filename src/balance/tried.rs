//! The endpoints that one request has already tried.

use smallvec::SmallVec;

/// A set of endpoints by their slot, one bit each. Up to 128 endpoints need no allocation.
///
/// A slot that changes hands while a request is under way keeps its bit, and the new owner counts as tried. That is borne:
/// the request has one endpoint less to try, until it has tried the others or has waited and begins anew; it never meets one
/// twice that it should not. To tell them apart would take a look at every serial number in each choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried(SmallVec<[u64; 2]>);

impl Tried {
    /// Takes an endpoint out of all further choices.
    pub fn insert(&mut self, slot: usize) {
        let (word, bit) = place(slot);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= bit;
    }

    /// Whether the endpoint was tried.
    pub fn contains(&self, slot: usize) -> bool {
        let (word, bit) = place(slot);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Whether none was tried yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn place(slot: usize) -> (usize, u64) {
    (slot / 64, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_and_nothing_else_is_contained() {
        let indices = [0, 1, 63, 64, 127, 128, 1000];
        let mut tried = Tried::default();
        assert!(tried.is_empty() && !tried.contains(0));
        for (at, index) in indices.into_iter().enumerate() {
            tried.insert(index);
            let contained: Vec<usize> = (0..2000).filter(|index| tried.contains(*index)).collect();
            assert_eq!(contained, indices[..=at]);
        }
    }
}
