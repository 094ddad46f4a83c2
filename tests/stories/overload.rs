//! Overload: three times as many requests as the upstream can answer, from clients who do not wait for each other.
//!
//! What an overloaded service owes its clients: as many good answers as without the overload, each of them in bounded
//! time, and to all others a quick *no*. The upstream has a fixed number of workers who sleep, so it is the upstream
//! that is busy here, not the machine.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Client, Scripted, Tetap, until};

const WORKERS: usize = 8;
const WORK: Duration = Duration::from_millis(80);
/// Requests a second that the workers can answer: 8 in 80 ms.
const CAPACITY: u32 = 100;
const PENDING_TIMEOUT: Duration = Duration::from_millis(500);

/// What two busy cores may add to any time that is measured here.
const SLACK: Duration = Duration::from_millis(500);

/// Those who work, and those who wait until one of them is free.
#[derive(Default)]
struct Workers {
    busy: Mutex<usize>,
    free: Condvar,
}

impl Workers {
    fn work(&self) {
        let mut busy = self.free.wait_while(self.busy.lock().unwrap(), |busy| *busy == WORKERS).unwrap();
        *busy += 1;
        drop(busy);
        thread::sleep(WORK);
        *self.busy.lock().unwrap() -= 1;
        self.free.notify_one();
    }
}

/// An upstream that answers so many requests at a time, and lets all others wait.
fn workers() -> Scripted {
    let workers = Arc::new(Workers::default());
    Scripted::start(move |talk| {
        while talk.request().is_some() {
            workers.work();
            talk.answer("worked");
        }
    })
}

/// What became of one request.
struct Seen {
    verdict: (u16, String),
    retry_after: Option<String>,
    /// Since the crowd came.
    at: Duration,
    took: Duration,
}

impl Seen {
    fn is_good(&self) -> bool {
        self.verdict.0 == 200
    }
}

/// So many requests a second for so long, each at its time, whatever became of those before it.
fn crowd(address: SocketAddr, per_second: u32, time: Duration) -> Vec<Seen> {
    let gap = Duration::from_secs(1) / per_second;
    let requests = time.as_secs() as u32 * per_second;
    // each client has a second for its request before its next one is due: longer than any answer takes
    let clients: Vec<_> = (0..per_second).map(|first| (first, Client::connect(address))).collect();
    let came = Instant::now();
    let visits = clients.into_iter().map(|(first, mut client)| {
        thread::spawn(move || {
            let turns = (first..requests).step_by(per_second as usize);
            turns.map(|turn| visit(&mut client, came, gap * turn)).collect::<Vec<_>>()
        })
    });
    visits.collect::<Vec<_>>().into_iter().flat_map(|visit| visit.join().unwrap()).collect()
}

fn visit(client: &mut Client, came: Instant, due: Duration) -> Seen {
    thread::sleep((came + due).saturating_duration_since(Instant::now()));
    let answer = client.get("/");
    let at = came.elapsed();
    Seen {
        verdict: answer.verdict(),
        retry_after: answer.head.one("retry-after").map(str::to_string),
        at,
        took: at - due,
    }
}

/// Good answers a second, leaving out the beginning, when queues fill and a moving limit takes its first look.
fn goodput(seen: &[Seen], time: Duration) -> f64 {
    let beginning = Duration::from_secs(1);
    let good = seen.iter().filter(|seen| seen.is_good() && (beginning..time).contains(&seen.at)).count();
    good as f64 / (time - beginning).as_secs_f64()
}

/// The time that so many percent of them took at most.
fn percentile(seen: &[&Seen], percent: usize) -> Duration {
    let mut times: Vec<_> = seen.iter().map(|seen| seen.took).collect();
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// With these limits, which let in so many at a time at most. What the limit is in the end.
fn survives(limits: &str, most_inside: usize) -> f64 {
    let upstream = workers();
    let limits = format!("limits: {{{limits}, pending_timeout: {}ms}}", PENDING_TIMEOUT.as_millis());
    let tetap = Tetap::with("", &[upstream.address()], &limits);
    let (calm, storm) = (Duration::from_secs(3), Duration::from_secs(5));
    let peak = goodput(&crowd(tetap.address("web"), CAPACITY, calm), calm);
    let seen = crowd(tetap.address("web"), CAPACITY * 3, storm);
    let good = goodput(&seen, storm);
    assert!(good >= 0.9 * peak, "{good} good answers a second, {peak} without overload");

    let (admitted, refused): (Vec<_>, Vec<_>) = seen.iter().partition(|seen| seen.is_good());
    // in line until the last moment, then behind those whom the gate had let in before
    let bound = PENDING_TIMEOUT + WORK * most_inside.div_ceil(WORKERS) as u32 + SLACK;
    let slowest = percentile(&admitted, 99);
    assert!(slowest <= bound, "{slowest:?} instead of {bound:?}");
    for Seen { verdict, retry_after, .. } in &refused {
        assert_eq!((verdict, retry_after.as_deref()), (&(503, "overloaded".to_string()), Some("1")));
    }
    // the first are let wait, since nobody knows yet for how long; later, only those at the very edge are told late
    let told = percentile(&refused, 75);
    assert!(told < PENDING_TIMEOUT / 2, "told after {told:?}");
    tetap.metrics().sum("tetap_upstream_limit", &["upstream=\"u\""])
}

#[test]
fn three_times_too_many_cost_no_good_answers_with_a_fixed_limit() {
    assert_eq!(survives("requests: 16", 16), 16.0);
}

#[test]
fn three_times_too_many_cost_no_good_answers_with_an_adaptive_limit() {
    let limit = survives("adaptive: {start: 20}", 24);
    assert!((8.0..20.0).contains(&limit), "{limit} at a time for {WORKERS} workers");
}

#[test]
fn an_upstream_that_lets_requests_time_out_is_given_fewer() {
    let upstream = Scripted::silent();
    let options = "timeouts: {response: 100ms}, retry: {attempts: 1}, limits: {adaptive: {start: 20}}";
    let tetap = Tetap::with("", &[upstream.address()], options);
    let mut clients: Vec<_> = (0..20).map(|_| tetap.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    assert!(clients.iter_mut().all(|client| client.read_answer().status == 504));
    until("the limit is lower", || tetap.metrics().sum("tetap_upstream_limit", &["upstream=\"u\""]) < 20.0);
}
