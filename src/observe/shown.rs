//! A gauge that several hold at a time, of whom the youngest is believed.
//!
//! When an upstream is replaced, the old one lives on until its last request has ended, and both have the same name. What
//! they count adds up. What they *show*, a limit or a verdict, does not: the old one would overwrite what is true by what was.
//! So each says what it has to say, and the gauge shows the word of the youngest that has said anything. When that leaves
//! first, since the change came to nothing, the gauge goes back to the word of the one before it.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::IntGauge;

/// A gauge, and who holds it.
#[derive(Debug)]
pub struct Board {
    gauge: IntGauge,
    holders: Mutex<Holders>,
}

#[derive(Debug, Default)]
struct Holders {
    joined: u64,
    /// The oldest first: a serial number, and the last word.
    words: Vec<(u64, Option<i64>)>,
}

impl Board {
    /// One that nobody holds.
    pub fn new(gauge: IntGauge) -> Arc<Board> {
        Arc::new(Board { gauge, holders: Mutex::default() })
    }

    /// One more holds it, until that and all its copies are dropped.
    pub fn hold(self: &Arc<Board>) -> Shown {
        let mut holders = self.holders.lock();
        holders.joined += 1;
        let serial = holders.joined;
        holders.words.push((serial, None));
        Shown(Arc::new(Holder { board: self.clone(), serial }))
    }

    fn change(&self, change: impl FnOnce(&mut Vec<(u64, Option<i64>)>)) {
        let mut holders = self.holders.lock();
        change(&mut holders.words);
        if let Some(shown) = holders.words.iter().rev().find_map(|(_, word)| *word) {
            self.gauge.set(shown);
        }
    }
}

/// One holder's side of a gauge. Copies are the same holder.
#[derive(Clone, Debug)]
pub struct Shown(Arc<Holder>);

#[derive(Debug)]
struct Holder {
    board: Arc<Board>,
    serial: u64,
}

impl Shown {
    /// What this holder has to say. It is shown unless a younger one has said something.
    pub fn set(&self, value: i64) {
        let Holder { board, serial } = self.0.as_ref();
        board.change(|words| {
            let own = words.iter_mut().find(|(other, _)| other == serial);
            own.into_iter().for_each(|(_, word)| *word = Some(value));
        });
    }

    /// What is shown, whoever said it.
    pub fn get(&self) -> i64 {
        self.0.board.gauge.get()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.board.change(|words| words.retain(|(serial, _)| *serial != self.serial));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn board() -> Arc<Board> {
        Board::new(IntGauge::new("g", "g").unwrap())
    }

    #[test]
    fn the_word_of_the_youngest_is_shown_and_the_old_ones_does_not_overwrite_it() {
        let board = board();
        let old = board.hold();
        old.set(1);
        let young = board.hold();
        assert_eq!(young.get(), 1, "it has said nothing yet");
        young.set(2);
        old.set(3);
        assert_eq!(young.get(), 2);
        drop(old);
        assert_eq!(young.get(), 2);
    }

    #[test]
    fn when_the_youngest_leaves_first_the_one_before_is_believed_again() {
        let board = board();
        let (old, young) = (board.hold(), board.hold());
        young.set(2);
        old.set(3);
        let copy = young.clone();
        drop(young);
        assert_eq!(old.get(), 2, "a copy holds it still");
        drop(copy);
        assert_eq!(old.get(), 3);
    }

    #[test]
    fn the_last_word_stays_and_nothing_is_kept_of_those_who_left() {
        let board = board();
        (0..5).for_each(|value| board.hold().set(value));
        assert_eq!((board.gauge.get(), board.holders.lock().words.len()), (4, 0));
    }
}
