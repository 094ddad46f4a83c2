//! Uploads and downloads that take seconds, and of which every byte is checked.

use std::time::Duration;

use super::super::Client;
use super::super::ask::{Ask, Kind, Shape};
use super::super::load::{Verdict, judge};
use super::super::message::End;
use super::super::parcel::Parcel;
use super::toll::{Harm, Toll};
use super::{Street, rest};

/// Between two pieces of a body, and in between transfers.
const STEP: Duration = Duration::from_millis(50);
const PAUSE_MS: u64 = 50;

/// What is sent at once, and how often: 1.5 to 3.5 seconds.
const PIECE: usize = 2048;
const PIECES: std::ops::RangeInclusive<usize> = 30..=70;

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

fn send(street: &Street, parcel: &Parcel, is_chunked: bool) -> Result<(), (Harm, String)> {
    let mut client = Client::try_connect(street.address).map_err(refused)?;
    let (target, length) = (parcel.target(), parcel.bytes);
    let framing =
        if is_chunked { "Transfer-Encoding: chunked".into() } else { format!("Content-Length: {length}") };
    client.send(format!("POST {target} HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"));
    let body = parcel.body();
    let is_sent = body.chunks(PIECE).all(|piece| {
        std::thread::sleep(STEP);
        let piece = if is_chunked { chunk(piece) } else { piece.to_vec() };
        !client.has_input() && client.try_send(piece).is_ok() // who answers early, or has gone, is not to be sent more
    });
    if is_sent && is_chunked {
        client.send("0\r\n\r\n");
    }
    let answer = client.try_answer(false).map_err(|end| cut(Harm::UploadCut, &end))?;
    match (answer.status, &answer.end) {
        (200, End::Whole) if answer.body == parcel.receipt().as_bytes() => Ok(()),
        (200, End::Whole) => Err((Harm::Wrong, format!("the receipt {:?}", answer.text()))),
        (status, End::Whole) => Err((Harm::Error, format!("{status} {}", answer.cause()))),
        (_, end) => Err(cut(Harm::UploadCut, end)),
    }
}

fn chunk(piece: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()
}

/// What a client that reads slowly gets, and how much of it the kernel takes in ahead of it.
const LARGE: usize = 1024 * 1024;
const WINDOW: usize = 32 * 1024;

/// Downloads again and again: from a slow server with a fast client, or the other way round.
pub fn download(street: &Street, number: usize) -> Toll {
    let mut toll = Toll::default();
    while street.goes_on() {
        let (id, is_trickle) = (street.id(), number.is_multiple_of(2));
        let bytes = if is_trickle { PIECE * fastrand::usize(PIECES) } else { LARGE };
        let ask = Ask { kind: Kind::Get, id, bytes, shape: Shape::Length };
        let millis = bytes / PIECE * STEP.as_millis() as usize;
        let target =
            if is_trickle { format!("/trickle/{id}?bytes={bytes}&millis={millis}") } else { ask.target() };
        let outcome = fetch(street, &ask, &target, if is_trickle { Duration::ZERO } else { STEP });
        note(&mut toll, street, &target, outcome);
        rest(PAUSE_MS);
    }
    toll
}

fn fetch(street: &Street, ask: &Ask, target: &str, step: Duration) -> Result<(), (Harm, String)> {
    let mut client = Client::try_connect_narrow(street.address, WINDOW).map_err(refused)?;
    client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
    while !step.is_zero() && client.unread().len() < ask.bytes && client.fill().is_ok() {
        std::thread::sleep(step);
    }
    let answer = client.try_answer(false);
    let got = answer.as_ref().map_or(0, |answer| answer.body.len());
    match judge(ask, answer) {
        Verdict::Good { .. } => Ok(()),
        Verdict::Unanswered(end) | Verdict::Cut(end) => Err(cut(Harm::DownloadCut, &end)),
        Verdict::Refused { status, cause, .. } => Err((Harm::Error, format!("{status} {cause}"))),
        Verdict::Short { .. } => Err((Harm::DownloadCut, "it looks whole".into())),
        Verdict::False(what) => Err((Harm::Wrong, what)),
    }
    .map_err(|(harm, what)| (harm, format!("{got} of {} bytes, {what}", ask.bytes)))
}

fn refused(error: std::io::Error) -> (Harm, String) {
    (Harm::Refused, error.to_string())
}

fn cut(harm: Harm, end: &End) -> (Harm, String) {
    (if *end == End::Late { Harm::Late } else { harm }, format!("{end:?}"))
}

fn note(toll: &mut Toll, street: &Street, target: &str, outcome: Result<(), (Harm, String)>) {
    toll.sent += 1;
    match outcome {
        Ok(()) => toll.well += 1,
        Err((harm, what)) => street.fail(toll, harm, format_args!("{target}: {what}")),
    }
}
