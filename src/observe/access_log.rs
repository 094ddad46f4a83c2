//! One line for every request.
//!
//! A proxy that writes its log on the request path stands still when the disk does, and a disk does so at the worst
//! moment: when an incident fills it. Here a request formats its line into memory of its own and appends it to a shared
//! buffer under a lock that is held for one copy. A thread takes the buffer every [`writer::INTERVAL`], or when it has
//! grown to [`writer::BATCH_BYTES`], and writes it out. What does not fit into
//! [`ACCESS_LOG_QUEUE_BYTES`](crate::limits::ACCESS_LOG_QUEUE_BYTES) is dropped and counted: lines are less than answers.
//!
//! The keys of a line, in their order, are in [`mod@line`].

mod escape;
pub mod line;
mod sink;
pub mod writer;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use prometheus::IntCounter;

use crate::failure::Cause;
use crate::observe::metrics::Outcome;
use writer::Writer;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// The request line, then `key=value` pairs.
    Text,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to a file, which is created with mode 0640 where it is missing.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// From this address, after trusted proxies have been believed.
    Ip(IpAddr),
    /// Over a unix socket, without an address behind it.
    Unix,
}

/// One request at one endpoint.
#[derive(Clone, Debug)]
pub struct AttemptRecord<'a> {
    /// `ip:port`.
    pub endpoint: &'a str,
    /// How it ended.
    pub outcome: Outcome,
    /// Over a connection that had served before.
    pub reused: bool,
    /// How long a new connection took, once there was one.
    pub connect: Option<Duration>,
    /// From the attempt's beginning to the first byte of its answer.
    pub first_byte: Option<Duration>,
    /// Of its answer, if there was one.
    pub status: Option<u16>,
}

/// One request, as it stands in the log. Bytes of the client are taken as they came; the line's format makes them safe.
/// Names are those that the configuration allows, which are safe as they are.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// When its first byte came.
    pub time: SystemTime,
    /// The listener's name.
    pub listener: &'a str,
    /// Who asked.
    pub client: Client,
    /// Empty where there was nothing that looks like one.
    pub method: &'a str,
    /// `http` or `https`, as the client used it, as far as that is known.
    pub scheme: &'a str,
    /// Empty where the request names none.
    pub host: &'a [u8],
    /// Path in normal form and query; of a refused head the beginning of what was sent.
    pub target: &'a [u8],
    /// `HTTP/1.0` or `HTTP/1.1`, of a refused head perhaps another; empty where there was none.
    pub protocol: &'a str,
    /// The final status.
    pub status: u16,
    /// Why it did not end with an upstream's own answer.
    pub cause: Option<Cause>,
    /// The route's name.
    pub route: Option<&'a str>,
    /// The upstream's name.
    pub upstream: Option<&'a str>,
    /// In the order in which they were made.
    pub attempts: &'a [AttemptRecord<'a>],
    /// How long it waited for the upstream to have room.
    pub queued: Option<Duration>,
    /// From its first byte to the answer's first byte.
    pub first_byte: Option<Duration>,
    /// From its first byte to the answer's last byte.
    pub duration: Duration,
    /// Body bytes from the client.
    pub bytes_received: u64,
    /// Body bytes to the client.
    pub bytes_sent: u64,
    /// As in `X-Request-Id`.
    pub request_id: &'a [u8],
    /// `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// `Referer`.
    pub referer: Option<&'a [u8]>,
    /// Of the configuration that served it.
    pub generation: u64,
}

/// An open access log. Dropping it writes out what it holds, but waits at most [`writer::LAST_WORDS`] for that.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    stamp: line::Stamp,
    writer: Option<Writer>,
    dropped: IntCounter,
}

impl AccessLog {
    /// Opens the output and starts its thread; a line that is lost counts in `dropped`.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or no thread can be started.
    pub fn open(format: Format, output: &Output, dropped: IntCounter) -> io::Result<AccessLog> {
        let writer = Writer::start(output, dropped.clone())?;
        Ok(AccessLog { format, stamp: line::Stamp::default(), writer, dropped })
    }

    /// Whether anybody reads what is written. Where not, a caller need not gather it.
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Appends one line. Never blocks, and makes no system call but to wake the thread when a batch is full.
    pub fn write(&self, record: &Record<'_>) {
        if let Some(writer) = &self.writer {
            let mut scratch = Vec::with_capacity(line::USUAL_BYTES);
            line::append(&mut scratch, self.format, record, &self.stamp);
            writer.append(&scratch);
        }
    }

    /// Writes out what is there, within [`writer::LAST_WORDS`]; nothing is written after it. For an owner who cannot know
    /// whether somebody else still holds the log when the process ends.
    pub fn close(&self) {
        self.writer.iter().for_each(Writer::close);
    }

    /// Lines lost so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }
}
