//! A connection to an endpoint, as Pingora sees it during one attempt.
//!
//! Five things are done here because nobody above sees the bytes, and nobody below knows HTTP:
//!
//! * **The answer's end is known.** The head is judged as it stands on the wire (Pingora repairs some of what must be
//!   refused: it drops `Content-Length` beside `Transfer-Encoding`, accepts bare line feeds and folded lines), and the
//!   body is followed to its last byte. So a connection that breaks within an answer is an error in every framing, and
//!   bytes that nobody asked for never reach the next request.
//! * **What nobody looks at passes by.** Of a head that nothing is to be changed in, Pingora gets the status and the
//!   length, and the other lines go to the client as they came: see [`ResponseHead::set_aside`].
//! * **Deadlines** hold for every wait: for the answer's head, between two reads of its body, on an upgraded connection.
//! * **A switch of protocols waits for the end of the request.** Pingora sends a request and reads its answer side by
//!   side. Where it reads a 101 before it has noted that the request has no body, it takes that end for the end of the
//!   tunnel, and closes it. So after an `Upgrade` nothing is read until the request has been sent to its end.
//! * **The way home.** When an exchange has ended cleanly, Pingora asks its stream, before keeping it, whether it is
//!   still open, by reading from it. A stream whose answer is complete says no (end of file) and thereby learns that it
//!   may be reused: Pingora drops it, and its drop puts the socket into our own [pool](super::pool). A stream
//!   that is dropped without having been asked is closed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::call::{Call, Trouble};
use super::pool::Connection;
use crate::clock::Instant;
use crate::hygiene::body::{BodyScanner, Passed};
use crate::hygiene::framing::Framing;
use crate::hygiene::response_head::{Aside, ResponseFraming, ResponseHead, ResponseScan, ResponseScanner};
use crate::limits;

/// One attempt's end of a connection.
#[derive(Debug)]
pub struct UpstreamStream {
    /// None once the connection has gone home.
    connection: Option<Connection>,
    call: Arc<Call>,
    reading: Reading,
    scanner: ResponseScanner,
    /// The beginning of a head that came in pieces.
    head: Vec<u8>,
    /// The request's head, with the lines that were added to it, as far as it was not sent.
    outgoing: Vec<u8>,
    head_sent: bool,
    /// How often Pingora has said that a part of the request is complete: its head, its body.
    flushes: u8,
    /// Bytes of the answer that were read while the request could not be written.
    ahead: BytesMut,
    /// The endpoint takes no more of the request. It may have answered before it stopped listening, so reading goes on.
    deaf: bool,
    /// When a byte last went out.
    written: Instant,
    /// When a byte last went either way.
    moved: Instant,
    /// Since when the endpoint has been waited for: a client that reads slowly takes its own time, not the endpoint's.
    waiting: Option<Instant>,
    heard: Heard,
    /// A final head that is in the buffer at hand, in one piece.
    whole_head: Option<ResponseHead>,
    released: bool,
}

/// What the call is to be told of the answer.
#[derive(Debug)]
enum Heard {
    /// Its first byte, when that comes.
    Nothing,
    /// Its head, as soon as these bytes are done with.
    News { is_plain: bool, aside: Option<Aside> },
    /// Nothing more, for now.
    Told,
}

/// What is expected next from the endpoint.
#[derive(Debug)]
enum Reading {
    /// A head; so many interim (1xx) ones have come.
    Head { interim: u32 },
    /// The rest of a body whose end is known. The flag: the connection may serve another request after it.
    Body(BodyScanner, bool),
    /// A body that ends with the connection.
    UntilClose,
    /// Bytes of another protocol (RFC 9110, section 7.8).
    Tunnel,
    /// Nothing. The flag as in `Body`.
    Complete(bool),
    /// Nothing, ever.
    Broken,
}

impl UpstreamStream {
    /// `now`, or a moment ago: it is moved by the first byte that goes out.
    pub(super) fn new(connection: Connection, call: Arc<Call>, now: Instant) -> UpstreamStream {
        UpstreamStream {
            connection: Some(connection),
            scanner: ResponseScanner::new(call.asked(), limits::RESPONSE_HEADER_BYTES),
            call,
            reading: Reading::Head { interim: 0 },
            head: Vec::new(),
            outgoing: Vec::new(),
            head_sent: false,
            flushes: 0,
            ahead: BytesMut::new(),
            deaf: false,
            written: now,
            moved: now,
            waiting: None,
            heard: Heard::Nothing,
            whole_head: None,
            released: false,
        }
    }

    /// When the present wait is over, if it ever is: while a client is still sending its body, nobody waits for an
    /// answer, and the client's own deadline holds. A head has one time for all of it, interim ones included: an endpoint
    /// that sends a byte now and then does not answer.
    fn due(&self) -> Option<Instant> {
        let timeouts = self.call.timeouts();
        match self.reading {
            Reading::Head { .. } if self.deaf => Some(self.written + timeouts.response),
            Reading::Head { .. } => self.call.answer_due(self.written),
            Reading::Tunnel => Some(self.moved + timeouts.tunnel),
            _ => self.waiting.map(|since| since + timeouts.idle),
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>, due: Option<Instant>) -> Poll<io::Error> {
        let Some(connection) = &mut self.connection else { return Poll::Pending };
        match due {
            Some(due) => connection.watchdog.set(due),
            None => connection.watchdog.clear(),
        }
        ready!(connection.watchdog.poll_expired(cx));
        let head = matches!(self.reading, Reading::Head { .. });
        let trouble = if head { Trouble::ResponseTimeout } else { Trouble::Stalled };
        Poll::Ready(self.fail(trouble, io::ErrorKind::TimedOut))
    }

    fn fail(&mut self, trouble: Trouble, kind: io::ErrorKind) -> io::Error {
        self.call.trouble(trouble);
        self.reading = Reading::Broken;
        io::Error::from(kind)
    }

    fn broken(&mut self, error: io::Error) -> io::Error {
        let trouble = self.reset();
        self.call.trouble(trouble);
        self.reading = Reading::Broken;
        error
    }

    fn reset(&self) -> Trouble {
        match self.reading {
            Reading::Head { .. } => Trouble::ResetBeforeAnswer,
            _ => Trouble::ResetWithinAnswer,
        }
    }

    /// The endpoint has closed its side. Whether that is an answer's proper end.
    fn end(&mut self) -> io::Result<()> {
        match self.reading {
            Reading::UntilClose | Reading::Tunnel => {
                self.reading = Reading::Complete(false);
                Ok(())
            }
            Reading::Complete(_) => Ok(()),
            _ => {
                let trouble = self.reset();
                Err(self.fail(trouble, io::ErrorKind::UnexpectedEof))
            }
        }
    }

    /// Follows bytes as they pass. Returns how many of them belong to the answer.
    fn follow(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            taken += match &mut self.reading {
                Reading::Head { .. } => {
                    let end = self.follow_head(rest)?;
                    self.whole_head = self.whole_head.filter(|_| taken == 0);
                    end
                }
                Reading::Body(..) => self.follow_body(rest)?,
                Reading::UntilClose | Reading::Tunnel => rest.len(),
                Reading::Complete(_) => {
                    self.reading = Reading::Complete(false); // more than an answer: not to be trusted with another
                    return Ok(taken);
                }
                Reading::Broken => return Err(io::ErrorKind::BrokenPipe.into()),
            };
        }
        Ok(taken)
    }

    /// The common case is a head that comes in one piece and is judged where it lies.
    fn follow_head(&mut self, rest: &[u8]) -> io::Result<usize> {
        if self.head.is_empty() {
            let scan = self.scanner.scan(rest);
            if scan == ResponseScan::NeedMore {
                self.head.extend_from_slice(rest);
            }
            return self.judge(scan, rest.len(), 0);
        }
        let before = self.head.len();
        self.head.extend_from_slice(rest);
        let scan = self.scanner.scan(&self.head);
        let have = self.head.len();
        if scan != ResponseScan::NeedMore {
            self.head.clear();
        }
        self.judge(scan, have, before)
    }

    /// `have` bytes of the head are here, `before` of them had passed earlier.
    fn judge(&mut self, scan: ResponseScan, have: usize, before: usize) -> io::Result<usize> {
        match scan {
            ResponseScan::NeedMore => Ok(have - before),
            ResponseScan::Refused(detail) => {
                Err(self.fail(Trouble::Invalid(detail), io::ErrorKind::InvalidData))
            }
            ResponseScan::Interim { len, .. } => self.interim().map(|()| len - before),
            ResponseScan::Final(head) => {
                self.heard = Heard::News { is_plain: head.is_plain, aside: None };
                self.reading = after_head(head.framing, head.keep_alive);
                self.whole_head = (before == 0).then_some(head);
                Ok(head.len - before)
            }
        }
    }

    fn interim(&mut self) -> io::Result<()> {
        let Reading::Head { interim } = &mut self.reading else { return Ok(()) };
        *interim += 1;
        if *interim > limits::INTERIM_RESPONSES {
            return Err(self.fail(Trouble::Invalid("too many interim answers"), io::ErrorKind::InvalidData));
        }
        Ok(())
    }

    fn follow_body(&mut self, rest: &[u8]) -> io::Result<usize> {
        let Reading::Body(scanner, keep) = &mut self.reading else { return Ok(0) };
        let keep = *keep;
        match scanner.feed(rest) {
            Passed::All => Ok(rest.len()),
            Passed::End(taken) => {
                self.reading = Reading::Complete(keep);
                Ok(taken)
            }
            Passed::Broken(detail) => Err(self.fail(Trouble::Invalid(detail), io::ErrorKind::InvalidData)),
        }
    }

    /// Takes out of a head that lies whole at the beginning of what was just read all that Pingora need not see.
    fn set_aside(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let sets_aside = |head: &ResponseHead| head.is_plain && self.call.sets_aside();
        let Some(head) = self.whole_head.take().filter(sets_aside) else { return };
        let (aside, gone) = head.set_aside(&mut buf.filled_mut()[before..]);
        buf.set_filled(buf.filled().len() - gone);
        self.heard = Heard::News { is_plain: true, aside: Some(aside) };
    }

    fn arrived(&mut self) {
        let now = Instant::now();
        self.waiting = None;
        match std::mem::replace(&mut self.heard, Heard::Told) {
            Heard::Told => {}
            Heard::Nothing => self.call.heard(now, false, None),
            Heard::News { is_plain, aside } => self.call.heard(now, is_plain, aside),
        }
        self.moved = now;
    }
}

fn after_head(framing: ResponseFraming, keep_alive: bool) -> Reading {
    match framing {
        ResponseFraming::Bounded(Framing::None | Framing::Length(0)) => Reading::Complete(keep_alive),
        ResponseFraming::Bounded(framing) => Reading::Body(BodyScanner::new(framing), keep_alive),
        ResponseFraming::UntilClose => Reading::UntilClose,
        ResponseFraming::Tunnel => Reading::Tunnel,
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Reading::Complete(_) = self.reading {
            self.released = true;
            return Poll::Ready(Ok(()));
        }
        if self.call.asked().upgrade && self.flushes < 2 {
            return Poll::Pending; // this very task flushes next, and then reads again
        }
        if !self.ahead.is_empty() {
            return Poll::Ready(self.give_ahead(buf));
        }
        let before = buf.filled().len();
        let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(())) };
        match Pin::new(&mut connection.socket).poll_read(cx, buf) {
            Poll::Pending => {
                if !matches!(self.reading, Reading::Head { .. }) {
                    self.waiting.get_or_insert_with(Instant::now);
                }
                let due = self.due();
                self.poll_late(cx, due).map(Err)
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.broken(error))),
            Poll::Ready(Ok(())) if buf.filled().len() == before => Poll::Ready(self.end()),
            Poll::Ready(Ok(())) => {
                let followed = self.follow(&buf.filled()[before..]);
                buf.set_filled(before + followed.as_ref().copied().unwrap_or(0));
                self.set_aside(buf, before);
                self.arrived();
                Poll::Ready(followed.map(|_| ()))
            }
        }
    }
}

impl UpstreamStream {
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        match Pin::new(&mut connection.socket).poll_write(cx, data) {
            Poll::Pending => {
                self.read_ahead(cx);
                let due = self.moved + self.call.timeouts().idle;
                self.poll_late(cx, Some(due)).map(Err)
            }
            Poll::Ready(Err(error)) => {
                self.deaf = true;
                Poll::Ready(Err(error))
            }
            Poll::Ready(Ok(written)) => {
                self.written = Instant::now();
                self.moved = self.written;
                Poll::Ready(Ok(written))
            }
        }
    }

    /// Pingora does not read while it writes. An endpoint that answers while it reads would wait for us to read, and we
    /// for it; so its bytes are taken in, up to a bound. An end or an error shows again when Pingora reads.
    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        let Some(connection) = &mut self.connection else { return };
        while self.ahead.len() < limits::ANSWER_AHEAD_BYTES {
            let socket = Pin::new(&mut connection.socket);
            let Poll::Ready(Ok(1..)) = tokio_util::io::poll_read_buf(socket, cx, &mut self.ahead) else {
                return;
            };
            self.moved = Instant::now();
        }
    }

    /// Hands out what was read ahead.
    fn give_ahead(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let bytes = self.ahead.split_to(self.ahead.len().min(buf.remaining()));
        let taken = self.follow(&bytes)?;
        buf.put_slice(&bytes[..taken]);
        self.arrived();
        Ok(())
    }

    /// Sends what is left of the head.
    fn poll_head_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let outgoing = std::mem::take(&mut self.outgoing);
            let sent = self.poll_send(cx, &outgoing);
            self.outgoing = outgoing;
            // without a head there is no answer either, and Pingora does not look for one
            let sent = ready!(sent).map_err(|error| self.broken(error))?;
            self.outgoing.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Pingora writes a head in one piece, and flushes behind it. The lines go before its last, empty line.
    fn take_head(&mut self, head: &[u8]) -> io::Result<()> {
        let Some(fields) = head.strip_suffix(b"\r\n").filter(|fields| fields.ends_with(b"\r\n")) else {
            return Err(io::ErrorKind::InvalidInput.into()); // not a head: without the lines it must not go out
        };
        let lines = self.call.take_lines();
        self.outgoing.reserve(head.len() + lines.len());
        self.outgoing.extend_from_slice(fields);
        self.outgoing.extend_from_slice(&lines);
        self.outgoing.extend_from_slice(b"\r\n");
        self.head_sent = true;
        Ok(())
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if !self.head_sent {
            self.take_head(data)?;
            return Poll::Ready(Ok(data.len()));
        }
        ready!(self.poll_head_out(cx))?;
        self.poll_send(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_head_out(cx))?;
        self.flushes = self.flushes.saturating_add(1);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reading = Reading::Broken;
        match &mut self.connection {
            Some(connection) => Pin::new(&mut connection.socket).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl VirtualSocket for UpstreamStream {
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(()) // set when the socket was opened
    }
}

impl Drop for UpstreamStream {
    fn drop(&mut self) {
        let clean = self.released
            && !self.deaf
            && self.ahead.is_empty()
            && matches!(self.reading, Reading::Complete(true));
        if let Some(mut connection) = self.connection.take().filter(|_| clean) {
            connection.watchdog.clear();
            connection.rest(self.moved);
        }
    }
}
