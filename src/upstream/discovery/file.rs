//! Members that somebody else writes into a file.
//!
//! Whoever writes it does so while it is read. Some put a new file in place of the old one, which then is absent for a
//! moment; some change where a link leads; some write into it, and half a list of endpoints is a list of half the
//! endpoints, or of `10.0.0.1:80` instead of `:8080`. So a change is only believed when two looks, a moment apart, have
//! seen the same; the file is opened anew each time, and what it said stays for as long as it says nothing better.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{Found, Trouble};
use crate::limits;
use crate::plan::{Endpoint, compile};

/// Between the two looks that have to see the same. Writing a list takes microseconds; a minute later is too late.
const SETTLING: Duration = Duration::from_millis(50);

/// Who writes without a pause for longer than so many looks is waited for until the next time.
const SETTLING_LOOKS: usize = 20;

/// A file with a list of endpoints.
#[derive(Debug)]
pub struct EndpointFile {
    path: PathBuf,
    last: Option<Seen>,
}

/// What it said, and what that means.
#[derive(Clone, Debug)]
struct Seen {
    text: Result<String, Trouble>,
    members: Result<Vec<Endpoint>, Trouble>,
}

impl EndpointFile {
    pub(super) fn new(path: PathBuf) -> EndpointFile {
        EndpointFile { path, last: None }
    }

    /// Looks at it, off the threads that serve.
    pub(super) async fn look(&mut self) -> Found {
        if let Some(text) = self.settled().await {
            self.last = Some(understood(self.path.clone(), text).await);
        }
        match self.last.as_ref().map(|seen| &seen.members) {
            Some(Ok(members)) => Found { members: members.clone(), ..Found::default() },
            Some(Err(trouble)) => trouble.clone().into(),
            None => Found::default(),
        }
    }

    /// What it says, if that is something else than before, and stays. Two looks may meet the moment in which a writer
    /// that never rests has emptied the file; that it was not written in between, its stamp says.
    async fn settled(&self) -> Option<Result<String, Trouble>> {
        let mut before = None;
        for _ in 0..SETTLING_LOOKS {
            let path = self.path.clone();
            let (stamp, text) = spawn_blocking(move || (stamp(&path), text(&path))).await.ok()?;
            if self.last.as_ref().is_some_and(|last| last.text == text) {
                return None;
            }
            let seen = Some((stamp, text));
            if seen == before {
                return seen.map(|(_, text)| text);
            }
            before = seen;
            sleep(SETTLING).await;
        }
        None
    }
}

/// A large file takes a while to understand.
async fn understood(path: PathBuf, text: Result<String, Trouble>) -> Seen {
    let understand = move || {
        let members = text.clone().and_then(|text| parse(&path, &text));
        Seen { text, members }
    };
    spawn_blocking(understand).await.unwrap_or_else(|_| {
        let trouble = Trouble::Malformed("it cannot be understood".to_owned()); // there was a panic, which is logged
        Seen { text: Err(trouble.clone()), members: Err(trouble) }
    })
}

/// Which file it is, and when it was last written: its device and number, and both clocks in nanoseconds. A moment in
/// which there is none has no stamp.
fn stamp(path: &Path) -> Option<[i128; 4]> {
    let file = fs::metadata(path).ok()?;
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let (modified, changed) =
        (nanos(file.mtime(), file.mtime_nsec()), nanos(file.ctime(), file.ctime_nsec()));
    Some([file.dev().into(), file.ino().into(), modified, changed])
}

fn parse(path: &Path, text: &str) -> Result<Vec<Endpoint>, Trouble> {
    let env = |name: &str| std::env::var(name).ok();
    let parsed = compile::endpoints(&path.display().to_string(), text, &env);
    parsed.map_err(|report| Trouble::Malformed(report.to_string()))
}

fn text(path: &Path) -> Result<String, Trouble> {
    let unreadable = |why: String| Trouble::Unreadable(path.display().to_string(), why);
    let bytes = bytes(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    if bytes.len() > limits::CONFIG_BYTES {
        return Err(unreadable(format!("larger than {} MiB", limits::CONFIG_BYTES / (1024 * 1024))));
    }
    String::from_utf8(bytes).map_err(|_| unreadable("not UTF-8".to_owned()))
}

/// One byte more than allowed, so that a larger file is seen to be larger. Opening a pipe would wait for a writer.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limits::CONFIG_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
