//! The end of the road: bytes go to the output, or are lost in a way that can be counted.
//!
//! A full disk takes half a batch and refuses the rest, perhaps in the middle of a line. The lines whose end it refused are
//! lost; the torn one gets its line feed before the next batch, so that it spoils no other. Each change between "it works"
//! and "it does not" is told once, not once a batch.

use std::io::{self, ErrorKind, Write};
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;

/// Between two tries at an output that somebody else has made non-blocking.
const AGAIN: Duration = Duration::from_millis(10);

/// An output and what has become of the lines so far.
pub(super) struct Sink {
    output: Box<dyn Write + Send>,
    dropped: IntCounter,
    is_torn: bool,
    is_failing: bool,
}

impl Sink {
    pub(super) fn new(output: Box<dyn Write + Send>, dropped: IntCounter) -> Sink {
        Sink { output, dropped, is_torn: false, is_failing: false }
    }

    /// Writes whole lines, for as long as it takes; counts those that the output refuses.
    pub(super) fn write(&mut self, batch: &[u8]) {
        let mut rest = batch;
        match self.mend().and_then(|()| self.push(&mut rest)) {
            Ok(()) => self.works(batch),
            Err(error) => self.fails(batch, rest, &error),
        }
    }

    fn mend(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.push(&mut &b"\n"[..])?;
        }
        self.is_torn = false;
        Ok(())
    }

    /// Shortens `rest` by what has been written.
    fn push(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match self.output.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => *rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(AGAIN),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn works(&mut self, batch: &[u8]) {
        if self.is_failing && !batch.is_empty() {
            self.is_failing = false;
            log::info!("access log: lines are written again");
        }
    }

    fn fails(&mut self, batch: &[u8], rest: &[u8], error: &io::Error) {
        let written = &batch[..batch.len() - rest.len()];
        self.is_torn |= written.last().is_some_and(|byte| *byte != b'\n');
        self.dropped.inc_by(memchr::memchr_iter(b'\n', rest).count() as u64);
        if !self.is_failing {
            self.is_failing = true;
            log::error!("access log: lines are lost: {error}");
        }
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("is_torn", &self.is_torn).field("is_failing", &self.is_failing).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use parking_lot::Mutex;
    use std::sync::Arc;

    /// Takes as many bytes a call as its script says, then everything.
    struct Scripted {
        script: Vec<io::Result<usize>>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = if self.script.is_empty() { usize::MAX } else { self.script.remove(0)? };
            let count = most.min(bytes.len());
            self.taken.lock().extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What an output with this script has taken of the batches, and how many lines were lost.
    fn play(script: Vec<io::Result<usize>>, batches: &[&str]) -> (String, u64) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let dropped = IntCounter::new("dropped", "for this test").unwrap();
        let mut sink = Sink::new(Box::new(Scripted { script, taken: taken.clone() }), dropped.clone());
        batches.iter().for_each(|batch| sink.write(batch.as_bytes()));
        let text = String::from_utf8(taken.lock().clone()).unwrap();
        (text, dropped.get())
    }

    fn full() -> io::Result<usize> {
        Err(ErrorKind::StorageFull.into())
    }

    #[test]
    fn an_output_that_takes_little_at_a_time_gets_everything() {
        let (interrupted, busy) = (Err(ErrorKind::Interrupted.into()), Err(ErrorKind::WouldBlock.into()));
        let script = vec![Ok(1), interrupted, Ok(2), busy, Ok(1)];
        assert_eq!(play(script, &["one\ntwo\n", "three\n"]), ("one\ntwo\nthree\n".into(), 0));
    }

    #[test]
    fn a_line_torn_by_a_full_disk_spoils_no_other() {
        assert_eq!(play(vec![Ok(5), full()], &["one\ntwo\nsix\n", "", "ten\n"]), ("one\nt\nten\n".into(), 2));
    }

    #[test]
    fn a_torn_line_is_remembered_while_the_disk_stays_full() {
        assert_eq!(play(vec![Ok(1), full(), full()], &["one\n", "two\n", "six\n"]), ("o\nsix\n".into(), 2));
    }

    #[test]
    fn a_disk_that_is_full_between_lines_needs_no_mending() {
        assert_eq!(play(vec![Ok(4), full()], &["one\ntwo\n", "six\n"]), ("one\nsix\n".into(), 1));
    }

    #[test]
    fn an_output_that_takes_nothing_is_not_asked_for_ever() {
        assert_eq!(play(vec![Ok(0)], &["one\n"]), (String::new(), 1));
    }
}
