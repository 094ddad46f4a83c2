//! Load that does not wait for the one who bears it.
//!
//! A client that sends its next request when it has its answer slows down with the server, and so measures least where
//! it is worst: while everything hangs, it asks nothing. Here the moment of every request is fixed beforehand, each is sent in
//! a thread of its own, however many others are still waiting, and its latency counts from the moment when it should have
//! been sent (G. Tene, "How NOT to Measure Latency").
//!
//! GETs and POSTs are mixed evenly, not by chance: a test that allows two lost POSTs must not depend on the dice for
//! how many there are among the few requests that can be lost.

mod report;
mod verdict;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use report::{Latency, Report};
pub use verdict::{Verdict, judge, leaves_the_connection};

use super::Client;
use super::ask::{Ask, Kind, Shape};

/// What is sent, and when.
pub struct Load {
    pace: Pace,
    percent_posts: u64,
    shapes: &'static [Shape],
}

enum Pace {
    Steady { per_second: u32, time: Duration },
    Bursts { size: u64, count: u64, pause_ms: RangeInclusive<u64> },
}

/// Connections that are open before the first request.
const KEPT: usize = 16;

/// Each n-th request has a connection of its own. No divisor of the other rhythms, so that all combinations occur.
const FRESH_EVERY: u64 = 7;

/// Bytes of an answer: a list of orders, and the receipt for one.
const LIST: usize = 4096;
const RECEIPT: usize = 200;

impl Load {
    /// So many requests a second, at even distances, one in five a POST.
    pub fn steady(per_second: u32, time: Duration) -> Load {
        Load {
            pace: Pace::Steady { per_second, time },
            percent_posts: 20,
            shapes: &[Shape::Length, Shape::Chunked],
        }
    }

    /// So many requests at once, so often; from the last answer to the next burst, so many milliseconds pass: here alone
    /// the load does wait, since it is the rest of the connections that counts.
    pub fn bursts(size: u64, count: u64, pause_ms: RangeInclusive<u64>) -> Load {
        Load { pace: Pace::Bursts { size, count, pause_ms }, percent_posts: 20, shapes: &[Shape::Length] }
    }

    /// So many in a hundred are POSTs.
    pub fn with_posts(self, percent: u64) -> Load {
        Load { percent_posts: percent, ..self }
    }

    /// Asks for answers of these shapes in turn.
    pub fn with_shapes(self, shapes: &'static [Shape]) -> Load {
        Load { shapes, ..self }
    }

    /// Begins to send.
    pub fn start(self, address: SocketAddr) -> Running {
        let start = Instant::now();
        Running { thread: std::thread::spawn(move || self.run(address, start)) }
    }

    fn run(&self, address: SocketAddr, start: Instant) -> Vec<Outcome> {
        let crowd = Arc::new(Crowd::of(KEPT, address));
        match &self.pace {
            Pace::Steady { per_second, time } => self.run_steadily(&crowd, start, *per_second, *time),
            Pace::Bursts { size, count, pause_ms } => {
                let bursts = (0..*count).map(|number| number * size..(number + 1) * size);
                bursts.flat_map(|ids| self.run_burst(&crowd, start, ids, pause_ms)).collect()
            }
        }
    }

    fn run_steadily(
        &self,
        crowd: &Arc<Crowd>,
        start: Instant,
        per_second: u32,
        time: Duration,
    ) -> Vec<Outcome> {
        let moments = (0..).map(|number| Duration::from_secs(1) * number / per_second);
        let senders = (0..).zip(moments.take_while(|moment| *moment < time)).map(|(id, due)| {
            std::thread::sleep((start + due).saturating_duration_since(Instant::now()));
            crowd.send(self.ask(id), start, due)
        });
        join(senders.collect())
    }

    fn run_burst(
        &self,
        crowd: &Arc<Crowd>,
        start: Instant,
        ids: Range<u64>,
        pause_ms: &RangeInclusive<u64>,
    ) -> Vec<Outcome> {
        let due = start.elapsed();
        let outcomes = join(ids.map(|id| crowd.send(self.ask(id), start, due)).collect());
        std::thread::sleep(Duration::from_millis(fastrand::u64(pause_ms.clone())));
        outcomes
    }

    fn ask(&self, id: u64) -> Ask {
        let is_post = (id + 1) * self.percent_posts / 100 > id * self.percent_posts / 100;
        let (kind, bytes) = if is_post { (Kind::Post, RECEIPT) } else { (Kind::Get, LIST) };
        Ask { kind, id, bytes, shape: self.shapes[id as usize % self.shapes.len()] }
    }
}

fn join(senders: Vec<JoinHandle<Outcome>>) -> Vec<Outcome> {
    senders.into_iter().map(|sender| sender.join().unwrap()).collect()
}

/// Load that is being sent.
pub struct Running {
    thread: JoinHandle<Vec<Outcome>>,
}

impl Running {
    /// Waits until the last one has its answer, or has given up.
    pub fn finish(self) -> Vec<Outcome> {
        self.thread.join().unwrap()
    }
}

/// One request and what came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What was asked for.
    pub ask: Ask,
    /// When, from the beginning of the load.
    pub due: Duration,
    /// From then until all of the answer was there, or it was clear that it would never be.
    pub took: Duration,
    /// What came.
    pub verdict: Verdict,
}

/// Those who ask, and their connections: who comes takes the one that has rested longest.
struct Crowd {
    address: SocketAddr,
    kept: Mutex<VecDeque<Client>>,
}

impl Crowd {
    fn of(size: usize, address: SocketAddr) -> Crowd {
        let kept = (0..size).map(|_| Client::connect(address)).collect();
        Crowd { address, kept: Mutex::new(kept) }
    }

    fn send(self: &Arc<Self>, ask: Ask, start: Instant, due: Duration) -> JoinHandle<Outcome> {
        let crowd = Arc::clone(self);
        let small = std::thread::Builder::new().stack_size(512 * 1024); // there may be a thousand of them
        let sender = small.spawn(move || {
            let verdict = crowd.ask(&ask);
            Outcome { ask, due, took: start.elapsed() - due, verdict }
        });
        sender.unwrap()
    }

    fn ask(&self, ask: &Ask) -> Verdict {
        let is_fresh = ask.id.is_multiple_of(FRESH_EVERY);
        let kept = if is_fresh { None } else { self.kept.lock().unwrap().pop_front() };
        let connected = kept.map_or_else(|| Client::try_connect(self.address), Ok);
        let mut client = match connected {
            Ok(client) => client,
            Err(error) => return Verdict::Unanswered(error.into()),
        };
        let answer = client.send(ask.request()).try_answer(false);
        let is_kept = answer.as_ref().is_ok_and(verdict::leaves_the_connection);
        if is_kept && !is_fresh {
            self.kept.lock().unwrap().push_back(client);
        }
        verdict::judge(ask, answer)
    }
}
