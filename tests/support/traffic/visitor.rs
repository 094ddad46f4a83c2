//! WebSocket clients: seconds of small messages, each of which must come back.
//!
//! A proxy that goes cannot hand a session over, but it can end it so that the client comes back at once:
//! with a close frame of status 1001, between two frames (RFC 6455, section 7.4.1). A TCP connection that
//! just ends tells the client nothing (1006), and libraries wait for long before they come back from that.

use std::time::{Duration, Instant};

use super::super::message::End;
use super::super::websocket::{self, Frame, GOING_AWAY, NORMAL, Opcode};
use super::super::{Client, PATIENCE};
use super::toll::{Harm, Toll};
use super::{Street, rest};

/// Between a message's return and the next one.
const STEP: Duration = Duration::from_millis(50);

/// Messages in a session: one to five seconds.
const MESSAGES: std::ops::RangeInclusive<u32> = 20..=100;

/// Opens session after session.
pub fn talk(street: &Street, _: usize) -> Toll {
    let mut toll = Toll::default();
    while street.goes_on() {
        toll.sent += 1;
        let id = street.id();
        match session(street, id, &mut toll) {
            Ok(()) => toll.well += 1,
            Err((harm, what)) => street.fail(&mut toll, harm, format_args!("session {id}: {what}")),
        }
        rest(STEP.as_millis() as u64);
    }
    toll
}

type Outcome<T> = Result<T, (Harm, String)>;

fn session(street: &Street, id: u64, toll: &mut Toll) -> Outcome<()> {
    let mut session = Session { client: open(street)? };
    for number in 0..fastrand::u32(MESSAGES) {
        let message = format!("message {number} of session {id}");
        let is_over = match session.exchange(&message)? {
            Turn::Next => false,
            Turn::ToldToGo => true,
        };
        if is_over {
            toll.told_to_go += 1;
            return Ok(());
        }
        toll.echoes += 1;
        if !street.goes_on() {
            break;
        }
    }
    session.close()
}

fn open(street: &Street) -> Outcome<Client> {
    let refused = |error: std::io::Error| (Harm::Refused, error.to_string());
    let mut client = Client::try_connect(street.address).map_err(refused)?;
    let key = websocket::key();
    client.send(format!(
        "GET /echo HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ));
    let answer = client.try_answer(false).map_err(|end| unwelcome(&end))?;
    if answer.status != 101 {
        return Err((Harm::Error, answer.head.line));
    }
    if answer.head.one("sec-websocket-accept") != Some(&websocket::accept_of(&key)) {
        return Err((Harm::Wrong, format!("accepted by {:?}", answer.head)));
    }
    Ok(client)
}

fn unwelcome(end: &End) -> (Harm, String) {
    let harm = if *end == End::Late { Harm::Late } else { Harm::Dropped };
    (harm, format!("no answer: {end:?}"))
}

/// What a session does after a message.
enum Turn {
    Next,
    ToldToGo,
}

struct Session {
    client: Client,
}

impl Session {
    /// Sends a message, waits for it, and then for a while whether there is anything else.
    fn exchange(&mut self, message: &str) -> Outcome<Turn> {
        self.client.send(Frame::text(message).masked());
        match self.next(PATIENCE)? {
            Some(frame) if frame == Frame::text(message) => {}
            Some(frame) => return self.leave(&frame),
            None => return Err((Harm::Late, format!("no echo of {message:?}"))),
        }
        match self.next(STEP)? {
            Some(frame) => self.leave(&frame),
            None => Ok(Turn::Next),
        }
    }

    /// Goes as it is told, if it is told so.
    fn leave(&mut self, frame: &Frame) -> Outcome<Turn> {
        if frame.status() != Some(GOING_AWAY) {
            return Err((Harm::Wrong, format!("received {frame:?}")));
        }
        self.client.send(frame.masked());
        Ok(Turn::ToldToGo)
    }

    /// Says goodbye and waits for the answer to it. Who says 1001 at the same moment is right, too.
    fn close(&mut self) -> Outcome<()> {
        self.client.send(Frame::close(NORMAL).masked());
        match self.next(PATIENCE)? {
            Some(frame) if frame.opcode == Opcode::Close => Ok(()),
            other => Err((Harm::Wrong, format!("in answer to a close frame: {other:?}"))),
        }
    }

    /// The next frame, if one comes within this time.
    fn next(&mut self, time: Duration) -> Outcome<Option<Frame>> {
        let deadline = Instant::now() + time;
        loop {
            if let Some((frame, length)) = Frame::parse(self.client.unread()) {
                self.client.read_exact(length).unwrap(); // it is there already
                return Ok(Some(frame));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.client.set_patience(left);
            self.client.fill().map_err(End::from).or_else(|end| self.ended(&end))?;
        }
    }

    /// Time that runs out is no end.
    fn ended(&self, end: &End) -> Outcome<()> {
        let place = if self.client.unread().is_empty() { "between frames" } else { "within a frame" };
        if *end == End::Late { Ok(()) } else { Err((Harm::WebSocketCut, format!("{end:?} {place}"))) }
    }
}
