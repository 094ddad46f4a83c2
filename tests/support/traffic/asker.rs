//! Clients that ask a question and have an answer within milliseconds, on kept connections or on new ones.

use std::io;
use std::time::Instant;

use super::super::Client;
use super::super::ask::{Ask, Kind, Shape};
use super::super::client::Rest;
use super::super::load::{Verdict, judge, leaves_the_connection};
use super::super::message::{Answer, End};
use super::toll::{Harm, Toll};
use super::{Street, rest};

/// Between two requests of a client.
const PAUSE_MS: u64 = 40;

/// Each n-th request is a POST.
const POST_EVERY: u64 = 5;

/// Bytes of an answer.
const ANSWER: usize = 2048;

/// Asks on one connection as long as the server lets it.
pub fn keep_asking(street: &Street, _: usize) -> Toll {
    let mut asker = Asker { street, keeps: true, toll: Toll::default() };
    let mut kept = None;
    while street.goes_on() {
        rest(PAUSE_MS);
        kept = asker.ask_on(kept);
    }
    asker.toll
}

/// Asks on a new connection each time. Half of such clients say that it is their last request, the others do
/// not know yet.
pub fn ask_anew(street: &Street, _: usize) -> Toll {
    let mut asker = Asker { street, keeps: false, toll: Toll::default() };
    while street.goes_on() {
        rest(PAUSE_MS);
        let ask = asker.next();
        let request = ask.request();
        let last = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        asker.ask_first(&ask, if fastrand::bool() { &last } else { &request });
    }
    asker.toll
}

struct Asker<'a> {
    street: &'a Street,
    keeps: bool,
    toll: Toll,
}

impl Asker<'_> {
    fn next(&mut self) -> Ask {
        self.toll.sent += 1;
        let id = self.street.id();
        let kind = if id.is_multiple_of(POST_EVERY) { Kind::Post } else { Kind::Get };
        let shape = [Shape::Length, Shape::Chunked][(id / POST_EVERY % 2) as usize];
        Ask { kind, id, bytes: ANSWER, shape }
    }

    /// Asks on this connection if it still stands, otherwise on a new one; returns it if it may be used
    /// again.
    fn ask_on(&mut self, kept: Option<Client>) -> Option<Client> {
        let ask = self.next();
        let request = ask.request();
        match kept.and_then(|kept| self.sent_on(kept, &request)) {
            Some((client, begun)) => self.receive(&ask, client, begun, Harm::ClosedUnder),
            None => self.ask_first(&ask, &request),
        }
    }

    /// Sends on a kept connection, unless it is known to be closed before a byte is sent.
    fn sent_on(&mut self, mut client: Client, request: &str) -> Option<(Client, Instant)> {
        let begun = Instant::now();
        let found = client.between_requests();
        if found == Rest::Quiet && client.try_send(request).is_ok() {
            return Some((client, begun));
        }
        match found {
            Rest::Spoke => self.fail(Harm::Wrong, "an idle connection spoke unasked"),
            Rest::Quiet | Rest::Ended => self.toll.reopened += 1,
        }
        None
    }

    fn ask_first(&mut self, ask: &Ask, request: &str) -> Option<Client> {
        let begun = Instant::now();
        match connected(self.street, request) {
            Ok(client) => self.receive(ask, client, begun, Harm::Dropped),
            Err((harm, error)) => {
                self.fail(harm, format_args!("{}: {error}", ask.target()));
                None
            }
        }
    }

    /// Reads the answer; `unanswered` is what it is called when none begins.
    fn receive(&mut self, ask: &Ask, mut client: Client, begun: Instant, unanswered: Harm) -> Option<Client> {
        let answer = client.try_answer(false);
        let is_kept = answer.as_ref().is_ok_and(leaves_the_connection);
        self.toll.told_to_go += usize::from(self.keeps && answer.as_ref().is_ok_and(is_told_to_go));
        let has_begun = answer.is_ok() || !client.unread().is_empty();
        match judge(ask, answer) {
            Verdict::Good { .. } => self.toll.answered(begun.elapsed()),
            bad => self.fail(
                harm(&bad, if has_begun { Harm::Cut } else { unanswered }),
                format_args!("{} {}: {bad:?}", ask.method(), ask.target()),
            ),
        }
        is_kept.then_some(client)
    }

    fn fail(&mut self, harm: Harm, what: impl std::fmt::Display) {
        self.street.fail(&mut self.toll, harm, what);
    }
}

fn connected(street: &Street, request: &str) -> Result<Client, (Harm, io::Error)> {
    let mut client = Client::try_connect(street.address).map_err(|error| (Harm::Refused, error))?;
    client.try_send(request).map_err(|error| (Harm::Dropped, error))?;
    Ok(client)
}

fn is_told_to_go(answer: &Answer) -> bool {
    answer.head.lists("connection", "close")
}

/// What a bad verdict counts as; `ended` where the connection ended before the head was whole.
fn harm(verdict: &Verdict, ended: Harm) -> Harm {
    match verdict {
        Verdict::Unanswered(End::Late) | Verdict::Cut(End::Late) => Harm::Late,
        Verdict::Unanswered(_) => ended,
        Verdict::Cut(_) => Harm::Cut,
        Verdict::Refused { .. } => Harm::Error,
        Verdict::Good { .. } | Verdict::Short { .. } | Verdict::False(_) => Harm::Wrong,
    }
}
