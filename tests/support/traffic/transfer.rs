//! Uploads and downloads that take seconds, and of which every byte is checked.

use std::time::Duration;

use super::super::Client;
use super::super::message::{Answer, End};
use super::super::parcel::{Delivery, Parcel};
use super::toll::{Harm, Toll};
use super::{Street, rest};

/// Between two pieces of a body, and in between transfers.
const STEP: Duration = Duration::from_millis(50);
const PAUSE_MS: u64 = 50;

/// What is sent at once, and how often: 1.5 to 3.5 seconds.
const PIECE: usize = 2048;
const PIECES: std::ops::RangeInclusive<usize> = 30..=70;

/// What came of a transfer.
type Outcome = Result<(), (Harm, String)>;

/// Sends a body piece by piece and checks the receipt, again and again.
pub fn upload(street: &Street, number: usize) -> Toll {
    let mut toll = Toll::default();
    while street.goes_on() {
        let parcel = Parcel { id: street.id(), bytes: PIECE * fastrand::usize(PIECES) };
        let is_chunked = number % 2 == 1;
        let outcome = send(street, &parcel, is_chunked);
        note(&mut toll, street, &parcel.target(), outcome);
        rest(PAUSE_MS);
    }
    toll
}

fn send(street: &Street, parcel: &Parcel, is_chunked: bool) -> Outcome {
    let mut client = Client::try_connect(street.address).map_err(refused)?;
    let (target, length) = (parcel.target(), parcel.bytes);
    let framing =
        if is_chunked { "Transfer-Encoding: chunked".into() } else { format!("Content-Length: {length}") };
    client.send(format!("POST {target} HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"));
    let body = parcel.body();
    let is_sent = body.chunks(PIECE).all(|piece| {
        std::thread::sleep(STEP);
        let piece = if is_chunked { chunk(piece) } else { piece.to_vec() };
        !client.has_input() && client.try_send(piece).is_ok() // who answers early, or has gone, gets no more
    });
    if is_sent && is_chunked {
        client.send("0\r\n\r\n");
    }
    judge(client.try_answer(false), parcel.receipt().as_bytes(), Harm::UploadCut)
}

fn chunk(piece: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()
}

/// What a client that reads slowly gets: more than the kernel takes in (4 MiB at most on the sender's side),
/// since what is there already does not need a proxy any more. With each step it reads 16 KiB: all of it
/// takes three seconds and a half.
const LARGE: usize = 7 * 1024 * 1024;
const WINDOW: usize = 32 * 1024;
const GULP: Duration = Duration::from_millis(8);

/// Downloads again and again: from a slow server with a fast client, or the other way round.
pub fn download(street: &Street, number: usize) -> Toll {
    let mut toll = Toll::default();
    while street.goes_on() {
        let (delivery, step) = if number.is_multiple_of(2) { trickle(street) } else { gulps(street) };
        let outcome = fetch(street, &delivery, step);
        note(&mut toll, street, &delivery.target(), outcome);
        rest(PAUSE_MS);
    }
    toll
}

fn trickle(street: &Street) -> (Delivery, Duration) {
    let pieces = fastrand::usize(PIECES);
    let parcel = Parcel { id: street.id(), bytes: PIECE * pieces };
    (Delivery { parcel, millis: pieces as u64 * STEP.as_millis() as u64 }, Duration::ZERO)
}

fn gulps(street: &Street) -> (Delivery, Duration) {
    (Delivery { parcel: Parcel { id: street.id(), bytes: LARGE }, millis: 0 }, GULP)
}

fn fetch(street: &Street, delivery: &Delivery, step: Duration) -> Outcome {
    let mut client = Client::try_connect_narrow(street.address, WINDOW).map_err(refused)?;
    client.send(format!("GET {} HTTP/1.1\r\nHost: test\r\n\r\n", delivery.target()));
    while !step.is_zero() && client.unread().len() < delivery.parcel.bytes && client.fill().is_ok() {
        std::thread::sleep(step);
    }
    judge(client.try_answer(false), &delivery.parcel.body(), Harm::DownloadCut)
}

/// Whether this is a good answer with this body.
fn judge(answer: Result<Answer, End>, body: &[u8], cut: Harm) -> Outcome {
    let answer = answer.map_err(|end| ended(cut, &end, 0))?;
    match (answer.status, &answer.end) {
        (200, End::Whole) if answer.body == body => Ok(()),
        (200, End::Whole) => Err((Harm::Wrong, format!("{} bytes of something else", answer.body.len()))),
        (status, End::Whole) => Err((Harm::Error, format!("{status} {}", answer.cause()))),
        (_, end) => Err(ended(cut, end, answer.body.len())),
    }
}

/// How the answer ended after so many bytes of its body.
fn ended(cut: Harm, end: &End, bytes: usize) -> (Harm, String) {
    (if *end == End::Late { Harm::Late } else { cut }, format!("{end:?} after {bytes} bytes"))
}

fn refused(error: std::io::Error) -> (Harm, String) {
    (Harm::Refused, error.to_string())
}

fn note(toll: &mut Toll, street: &Street, target: &str, outcome: Outcome) {
    toll.sent += 1;
    match outcome {
        Ok(()) => toll.well += 1,
        Err((harm, what)) => street.fail(toll, harm, format_args!("{target}: {what}")),
    }
}
