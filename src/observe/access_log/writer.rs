//! The buffer that all requests append to, and the thread that empties it.
//!
//! Waking the thread for each line would cost a request a system call, so it looks for itself, every [`INTERVAL`]; only a
//! line that completes a batch of [`BATCH_BYTES`] wakes it. What it has taken counts against the bound until it is
//! written: a pipe that nobody reads holds one batch for ever, and must not hold twice the memory.
//!
//! The thread may be stuck in a write when the log is closed. Nothing can be done for those lines, so closing waits
//! for [`LAST_WORDS`] and then leaves the thread behind.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;

use super::Output;
use super::sink::Sink;
use crate::limits;

/// How long a line waits in memory at most: short for who follows the log, long beside a write's cost.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// A buffer of this size is written at once: as much as a pipe takes, and still in the processor's cache.
pub const BATCH_BYTES: usize = 64 * 1024;

/// How long closing waits for an output that does not take its lines.
pub const LAST_WORDS: Duration = Duration::from_millis(800);

/// Buffers that a burst has made larger than this are given back.
const KEPT_BYTES: usize = 4 * BATCH_BYTES;

/// The requests' side.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    dropped: IntCounter,
}

impl Writer {
    /// Opens the output and starts the thread; nothing of both where lines go nowhere.
    pub(super) fn start(output: &Output, dropped: IntCounter) -> io::Result<Option<Writer>> {
        let Some(file) = open(output)? else { return Ok(None) };
        let shared = Arc::new(Shared::default());
        let (theirs, sink) = (shared.clone(), Sink::new(Box::new(file), dropped.clone()));
        thread::Builder::new().name("access-log".into()).spawn(move || run(&theirs, sink))?;
        Ok(Some(Writer { shared, dropped }))
    }

    /// Appends a line that ends in a line feed, or drops it when the queue is full.
    pub(super) fn append(&self, line: &[u8]) {
        match self.shared.queue.lock().append(line) {
            Appended::Waiting => {}
            Appended::BatchComplete => drop(self.shared.wake.notify_one()),
            Appended::Dropped => self.dropped.inc(),
        }
    }

    /// Writes out what is there, within [`LAST_WORDS`], and ends the thread. Lines that come later are lost.
    pub(super) fn close(&self) {
        let mut queue = self.shared.queue.lock();
        if std::mem::replace(&mut queue.closing, true) {
            return;
        }
        self.shared.wake.notify_one();
        let deadline = Instant::now() + LAST_WORDS;
        while !queue.closed {
            if self.shared.closed.wait_until(&mut queue, deadline).timed_out() {
                return log::warn!("access log: the output is blocked, {} bytes are lost", queue.held());
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

fn open(output: &Output) -> io::Result<Option<File>> {
    match output {
        Output::Stdout => io::stdout().as_fd().try_clone_to_owned().map(|fd| Some(fd.into())),
        Output::Stderr => io::stderr().as_fd().try_clone_to_owned().map(|fd| Some(fd.into())),
        Output::File(path) => open_file(path).map(Some),
        Output::Off => Ok(None),
    }
}

/// Opening a FIFO for writing alone would wait for a reader, so it is opened for both.
fn open_file(path: &Path) -> io::Result<File> {
    let is_fifo = path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
    OpenOptions::new().append(true).create(true).read(is_fifo).mode(0o640).open(path)
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// A batch is complete, or the log is being closed.
    wake: Condvar,
    /// The thread has written everything and ends.
    closed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: Vec<u8>,
    being_written: usize,
    closing: bool,
    closed: bool,
}

enum Appended {
    Waiting,
    BatchComplete,
    Dropped,
}

impl Queue {
    fn append(&mut self, line: &[u8]) -> Appended {
        if self.closing || self.held() + line.len() > limits::ACCESS_LOG_QUEUE_BYTES {
            return Appended::Dropped;
        }
        let was_due = self.is_due();
        self.lines.extend_from_slice(line);
        if self.is_due() && !was_due { Appended::BatchComplete } else { Appended::Waiting }
    }

    fn held(&self) -> usize {
        self.lines.len() + self.being_written
    }

    fn is_due(&self) -> bool {
        self.closing || self.lines.len() >= BATCH_BYTES
    }

    /// Changes the lines for an empty buffer.
    fn take(&mut self, batch: &mut Vec<u8>) {
        std::mem::swap(&mut self.lines, batch);
        self.being_written = batch.len();
    }
}

fn run(shared: &Shared, mut sink: Sink) {
    let mut batch = Vec::new();
    while shared.next(&mut batch) {
        sink.write(&batch);
    }
}

impl Shared {
    /// Waits for lines, or for the end: then it is `false`, and everything before has been written.
    fn next(&self, batch: &mut Vec<u8>) -> bool {
        batch.clear();
        batch.shrink_to(KEPT_BYTES);
        let mut queue = self.queue.lock();
        queue.being_written = 0;
        self.wait(&mut queue);
        queue.take(batch);
        queue.closed = queue.closing && batch.is_empty();
        if queue.closed {
            self.closed.notify_one();
        }
        !queue.closed
    }

    fn wait(&self, queue: &mut parking_lot::MutexGuard<'_, Queue>) {
        let deadline = Instant::now() + INTERVAL;
        while !queue.is_due() && !self.wake.wait_until(queue, deadline).timed_out() {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    /// As long as a shared machine may need for what takes milliseconds.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "for this test").unwrap()
    }

    fn start(path: &Path, dropped: &IntCounter) -> Writer {
        Writer::start(&Output::File(path.into()), dropped.clone()).unwrap().unwrap()
    }

    fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn lines_reach_the_file_while_the_log_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let writer = start(&path, &counter());
        writer.append(b"one\n");
        writer.append(b"two\n");
        wait_until("the lines are written", || fs::read(&path).unwrap() == b"one\ntwo\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
    }

    #[test]
    fn closing_writes_what_is_left_behind_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        fs::write(&path, "old\n").unwrap();
        let writer = start(&path, &counter());
        writer.append(b"last\n");
        drop(writer);
        assert_eq!(fs::read(&path).unwrap(), b"old\nlast\n");
    }

    #[test]
    fn a_line_that_comes_after_closing_is_counted_as_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let dropped = counter();
        let writer = start(&path, &dropped);
        writer.append(b"last\n");
        writer.close();
        writer.append(b"late\n");
        drop(writer);
        assert_eq!((fs::read(&path).unwrap(), dropped.get()), (b"last\n".into(), 1));
    }

    #[test]
    fn threads_do_not_mix_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let writer = start(&path, &counter());
        let line = |thread: usize, number: usize| format!("{thread} {number} {}\n", "x".repeat(thread * 100));
        thread::scope(|scope| {
            for thread in 0..4 {
                let writer = &writer;
                scope.spawn(move || (0..500).for_each(|n| writer.append(line(thread, n).as_bytes())));
            }
        });
        drop(writer);
        let text = fs::read_to_string(&path).unwrap();
        for thread in 0..4 {
            let own: String =
                text.split_inclusive('\n').filter(|l| l.starts_with(&format!("{thread} "))).collect();
            assert_eq!(own, (0..500).map(|n| line(thread, n)).collect::<String>());
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_blocks_neither_requests_nor_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let dropped = counter();
        let writer = start(&path, &dropped);
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        let offered = 2 * limits::ACCESS_LOG_QUEUE_BYTES / line.len();
        (0..offered).for_each(|_| writer.append(&line));
        assert!(dropped.get() > 0, "the queue has a bound");
        let held = writer.shared.queue.lock().held();
        assert!(held <= limits::ACCESS_LOG_QUEUE_BYTES, "{held}");
        let start = Instant::now();
        drop(writer);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }

    #[test]
    fn a_reader_that_comes_late_gets_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let writer = start(&path, &counter());
        writer.append(b"kept\n");
        let mut read = [0; 5];
        File::open(&path).unwrap().read_exact(&mut read).unwrap();
        assert_eq!(&read, b"kept\n");
    }

    #[test]
    fn lines_for_a_full_disk_are_counted_as_lost() {
        let dropped = counter();
        let writer = start(Path::new("/dev/full"), &dropped);
        writer.append(b"one\ntwo\n");
        drop(writer);
        assert_eq!(dropped.get(), 2);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs").join("access.log");
        assert!(Writer::start(&Output::File(path), counter()).is_err());
    }

    #[test]
    fn only_the_line_that_completes_a_batch_wakes_the_thread() {
        let mut queue = Queue::default();
        let half = vec![b'x'; BATCH_BYTES / 2];
        assert!(matches!(queue.append(&half), Appended::Waiting));
        assert!(matches!(queue.append(&half), Appended::BatchComplete));
        assert!(matches!(queue.append(&half), Appended::Waiting));
    }

    #[test]
    fn what_is_being_written_counts_against_the_bound() {
        let mut queue = Queue::default();
        let line = vec![b'x'; limits::ACCESS_LOG_QUEUE_BYTES];
        queue.append(&line);
        queue.take(&mut Vec::new());
        assert!(matches!(queue.append(b"\n"), Appended::Dropped));
    }
}
