//! Those who ask meanwhile.
//!
//! Most keep their connection, since a hand-over is hardest on them; some come anew each time, since a listener that closes for
//! a moment shows only to them. Each asks at a steady pace; together they have always some requests under way.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::client::{Client, Loss};
use super::sample::Sample;
use super::tally::Tally;

/// How many ask.
pub(super) const CLIENTS: usize = 16;

/// How many of them keep their connection.
const KEEPING: usize = 12;

/// From one request of a client to its next: 300 a second in all.
const PACE: Duration = Duration::from_micros(1_000_000 * CLIENTS as u64 / 300);

/// What is asked for, and what is not.
pub(super) struct Rehearsal {
    pub(super) covered: Arc<[Sample]>,
    /// A route, and what is in the way.
    pub(super) uncovered: Vec<(Arc<str>, String)>,
}

impl Rehearsal {
    /// A line for each route that is not covered.
    pub(super) fn reasons(&self) -> String {
        let lines = self.uncovered.iter().map(|(route, why)| format!("  not covered: {route}: {why}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Sends each request once, while nothing happens. What is not answered as its route says is not for us to ask: then
/// the request is at fault, and not what happens to the proxy.
pub(super) fn rehearse(samples: Vec<Sample>, entrances: &[SocketAddr]) -> Rehearsal {
    let Some(entrance) = entrances.first() else {
        return Rehearsal { covered: Arc::new([]), uncovered: Vec::new() };
    };
    let mut ids = (0..u64::MAX).rev(); // the load counts from the other end
    let (mut covered, mut uncovered) = (Vec::new(), Vec::new());
    for sample in samples {
        match try_out(sample, *entrance, &mut ids) {
            Ok(sample) => covered.push(sample),
            Err(reason) => uncovered.push(reason),
        }
    }
    Rehearsal { covered: covered.into(), uncovered }
}

/// The sample with those of its requests that are answered as they should be, if any is.
fn try_out(
    sample: Sample,
    entrance: SocketAddr,
    ids: &mut impl Iterator<Item = u64>,
) -> Result<Sample, (Arc<str>, String)> {
    let Sample { route, heads, expected } = sample;
    let (mut good, mut why) =
        (Vec::new(), "no request could be made that is for this route alone".to_owned());
    for (head, id) in heads.into_iter().zip(ids) {
        match Client::new(false).ask(entrance, &head, id, expected) {
            Ok(()) => good.push(head),
            Err(Loss { kind, detail }) => {
                why = format!("{} {} came to this: {} {detail}", head.method, head.target, kind.name());
            }
        }
    }
    if good.is_empty() { Err((route, why)) } else { Ok(Sample { route, heads: good, expected }) }
}

/// Clients at work; they end when this is dropped.
pub(super) struct Load {
    ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Has them begin. There is at least one sample, and one entrance.
    ///
    /// # Errors
    /// There are no threads left.
    pub(super) fn start(
        samples: Arc<[Sample]>,
        entrances: Vec<SocketAddr>,
        tally: Arc<Tally>,
    ) -> io::Result<Load> {
        let mut load = Load { ending: Arc::default(), threads: Vec::new() };
        let crowd = Arc::new(Crowd { samples, entrances, tally, ids: AtomicU64::new(0) });
        for number in 0..CLIENTS {
            let (crowd, ending) = (crowd.clone(), load.ending.clone());
            let thread = thread::Builder::new().name(format!("client-{number}"));
            load.threads.push(thread.spawn(move || crowd.ask_on(number, &ending))?);
        }
        Ok(load)
    }

    /// Waits until each has its last answer.
    pub(super) fn finish(mut self) {
        self.ending.store(true, Ordering::Release);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
    }
}

/// What all of them share.
struct Crowd {
    samples: Arc<[Sample]>,
    entrances: Vec<SocketAddr>,
    tally: Arc<Tally>,
    /// The number of the next request.
    ids: AtomicU64,
}

impl Crowd {
    /// Asks until the end. Whoever is late asks at once, and then keeps the pace again: a client waits for its answer.
    fn ask_on(&self, number: usize, ending: &AtomicBool) {
        let keeps = number < KEEPING;
        let mut client = Client::new(keeps);
        let mut due = Instant::now() + PACE * u32::try_from(number).unwrap_or(0) / CLIENTS as u32;
        while !ending.load(Ordering::Acquire) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            due = (due + PACE).max(Instant::now());
            let id = self.ids.fetch_add(1, Ordering::Relaxed);
            // A kept connection is one to the same listener; the others look at all of them.
            let turn = if keeps { number } else { id as usize };
            self.ask(&mut client, self.entrances[turn % self.entrances.len()], id);
        }
    }

    fn ask(&self, client: &mut Client, entrance: SocketAddr, id: u64) {
        let (turn, sample) =
            (id as usize / self.samples.len(), &self.samples[id as usize % self.samples.len()]);
        let head = &sample.heads[turn % sample.heads.len()];
        let began = Instant::now();
        let outcome = client.ask(entrance, head, id, sample.expected);
        let what = || format!("{} {} of route {}", head.method, head.target, sample.route);
        self.tally.note(began.elapsed(), outcome, what);
    }
}
