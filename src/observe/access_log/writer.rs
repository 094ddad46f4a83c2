//! placeholder
use super::Output;
use prometheus::IntCounter;
use std::io;
use std::time::Duration;
/// How often.
pub const INTERVAL: Duration = Duration::from_millis(100);
/// A batch.
pub const BATCH_BYTES: usize = 64 * 1024;
/// At most so long.
pub const LAST_WORDS: Duration = Duration::from_millis(800);
#[derive(Debug)]
pub(super) struct Writer;
impl Writer {
    pub(super) fn start(_output: &Output, _dropped: IntCounter) -> io::Result<Option<Writer>> {
        Ok(None)
    }
    pub(super) fn append(&self, _line: &[u8]) {}
    pub(super) fn reopen(&self) -> io::Result<()> {
        Ok(())
    }
}
