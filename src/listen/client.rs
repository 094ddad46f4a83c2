//! A client's connection, as Pingora sees it during one request.
//!
//! Pingora reads what it finds, and repairs some of what must be refused. So it is not shown the connection, but one
//! request at a time: the [connection loop](super::connection) has judged the head before Pingora gets it, and this
//! stream hands out the body up to its last byte and then **nothing more**. Behind that fence wait the bytes of the next
//! (pipelined) request, up to a bound. What Pingora's read still learns behind it is whether the client has gone.
//!
//! A connection whose [time is over](super::farewell) while its answer goes on is cut, so that the client sees that the
//! answer is not whole; a WebSocket is [told](super::tunnel) before.
//!
//! Reads and writes have deadlines that move with every byte. Small writes are gathered, so that header and body of a
//! small answer leave in one packet; they go out at the latest when Pingora turns to waiting.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use http::HeaderValue;
use parking_lot::Mutex;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::farewell::Parting;
use super::linger::Linger;
use super::socket::Transport;
use super::tunnel::Tunnel;
use crate::clock::Instant;
use crate::failure::Cause;
use crate::hygiene::body::{BodyScanner, Passed};
use crate::hygiene::framing::Framing;
use crate::hygiene::websocket::{CLOSE_TO_CLIENT, close_to_server};
use crate::limits;
use crate::plan::ListenerTimeouts;
use crate::watchdog::Watchdog;

/// A connection and what was read from it ahead of its use.
#[derive(Debug)]
pub struct Client {
    transport: Option<Transport>,
    timeouts: ListenerTimeouts,
    /// Bytes from the client that were not handed out yet.
    read: BytesMut,
    /// So many of them, at the front, belong to the present request.
    owned: usize,
    reading: Reading,
    read_dog: Watchdog,
    /// Bytes for the client that were gathered.
    written: BytesMut,
    write_dog: Watchdog,
    note: Arc<Note>,
    linger: Arc<Linger>,
    parting: Parting,
    /// The socket is set to end with a reset, whoever closes it: also the kernel, when the process ends.
    resets: bool,
}

/// How much of the present request is still to come.
#[derive(Debug)]
enum Reading {
    /// A body, followed byte by byte.
    Body(BodyScanner),
    /// Nothing: the fence.
    Nothing,
    /// Bytes of another protocol, without an end that we would know.
    Tunnel(Box<Tunnel>),
}

/// What stream and exchange tell each other about one request.
#[derive(Debug, Default)]
pub struct Note {
    trouble: AtomicU8,
    upgraded: AtomicBool,
    cut: AtomicBool,
    begun: AtomicBool,
    answered: AtomicBool,
    extra: Mutex<Extra>,
}

/// What the head of the final answer gets on the wire, beside what Pingora writes.
#[derive(Debug, Default)]
pub struct Extra {
    /// Lines, each with its end.
    pub lines: Vec<u8>,
    /// The upstream's own `Date`, over which Pingora writes its own (RFC 9110, section 6.6.1: it is the origin's to say).
    pub date: Option<HeaderValue>,
}

/// What went wrong on the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The body is not well-formed.
    BadBody,
    /// The body stopped coming.
    SlowBody,
    /// The client stopped reading.
    SlowReader,
    /// The client went away.
    Gone,
    /// None, but the proxy is stopping and has no more time for this.
    Drained,
    /// None: the answer is whole, and the rest of the body is of no use. The connection ends with it.
    Superfluous,
}

impl Trouble {
    const ALL: [Trouble; 6] = [
        Trouble::BadBody,
        Trouble::SlowBody,
        Trouble::SlowReader,
        Trouble::Gone,
        Trouble::Drained,
        Trouble::Superfluous,
    ];

    /// The word for it that everybody uses.
    pub fn cause(self) -> Cause {
        match self {
            Trouble::BadBody => Cause::BadRequest,
            Trouble::SlowBody => Cause::RequestTimeout,
            Trouble::Drained => Cause::Drained,
            Trouble::SlowReader | Trouble::Gone | Trouble::Superfluous => Cause::ClientClosed,
        }
    }
}

impl Note {
    fn trouble_is(&self, trouble: Trouble) {
        let word = 1 + trouble as u8;
        let _ = self.trouble.compare_exchange(0, word, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// What went wrong first.
    pub fn trouble(&self) -> Option<Trouble> {
        let word = usize::from(self.trouble.load(Ordering::Relaxed));
        word.checked_sub(1).and_then(|index| Trouble::ALL.get(index).copied())
    }

    /// The exchange says: this is another protocol from now on (after a 101).
    pub fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// The exchange says: an upstream's answer begins.
    pub fn begin_answer(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// The exchange says: the answer is whole.
    pub fn answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// The exchange says what the head of the final answer gets.
    pub fn add(&self, extra: Extra) {
        *self.extra.lock() = extra;
    }

    /// The extra, if `head` is the one that it is for: 1xx heads may still come before it.
    fn take_extra(&self, head: &[u8]) -> Option<Extra> {
        let mut extra = self.extra.lock();
        let is_final = head.get(9).is_some_and(|&class| class != b'1') && head.ends_with(b"\r\n\r\n");
        let any = !extra.lines.is_empty() || extra.date.is_some();
        (is_final && any).then(|| std::mem::take(&mut *extra))
    }

    /// The exchange says: should the connection end now, the answer's framing would not show that something is missing.
    pub fn ends_unseen(&self, unseen: bool) {
        self.cut.store(unseen, Ordering::Relaxed);
    }
}

impl Client {
    /// A connection from which nothing was read yet.
    pub(super) fn new(
        transport: Transport,
        timeouts: ListenerTimeouts,
        linger: Arc<Linger>,
        parting: Parting,
    ) -> Client {
        Client {
            transport: Some(transport),
            timeouts,
            read: BytesMut::new(),
            owned: 0,
            reading: Reading::Nothing,
            read_dog: Watchdog::default(),
            written: BytesMut::new(),
            write_dog: Watchdog::default(),
            note: Arc::default(),
            linger,
            parting,
            resets: false,
        }
    }

    /// Bytes that were read and not used.
    pub fn ahead(&mut self) -> &mut BytesMut {
        &mut self.read
    }

    /// The timer for waits between and within heads.
    pub fn read_dog(&mut self) -> &mut Watchdog {
        &mut self.read_dog
    }

    /// The kernel's end of it; none once it is being closed.
    pub fn transport(&mut self) -> Option<&mut Transport> {
        self.transport.as_mut()
    }

    /// Begins a request whose head was taken out of [`Client::ahead`]; a body may follow it.
    pub fn begin(&mut self, framing: Framing) -> Arc<Note> {
        self.note = Arc::default();
        self.owned = 0;
        self.reading = match framing {
            Framing::None | Framing::Length(0) => Reading::Nothing,
            framing => Reading::Body(BodyScanner::new(framing)),
        };
        self.note.clone()
    }

    /// Whether the present request was taken to its last byte, so that another may follow.
    pub fn is_between_requests(&self) -> bool {
        self.owned == 0 && matches!(self.reading, Reading::Nothing)
    }

    /// Gives up what a waiting connection does not need.
    pub fn park(&mut self) {
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
        self.written = BytesMut::new();
    }

    /// Makes sure that an answer given in the middle of a request reaches the client (see [`super::linger`]).
    pub fn abandon(mut self) {
        if let Some(transport) = self.transport.take() {
            self.linger.close(transport);
        }
    }

    fn is_tunnel(&mut self) -> bool {
        let begins = self.note.upgraded.load(Ordering::Relaxed) && self.tunnel().is_none();
        if begins {
            self.reading = Reading::Tunnel(Box::default());
        }
        self.tunnel().is_some()
    }

    fn tunnel(&mut self) -> Option<&mut Tunnel> {
        match &mut self.reading {
            Reading::Tunnel(tunnel) => Some(tunnel),
            _ => None,
        }
    }

    fn fail<T>(&self, trouble: Trouble, kind: io::ErrorKind) -> Poll<io::Result<T>> {
        self.note.trouble_is(trouble);
        Poll::Ready(Err(kind.into()))
    }

    fn poll_read_on(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.owned == 0 && !self.read.is_empty() && self.own_ahead().is_err() {
            return self.fail(Trouble::BadBody, io::ErrorKind::InvalidData);
        }
        if self.owned > 0 {
            self.hand_out(buf);
            return Poll::Ready(Ok(()));
        }
        match self.reading {
            Reading::Nothing => self.poll_fence(cx),
            _ => self.poll_body(cx, buf),
        }
    }

    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.owned.min(buf.remaining());
        buf.put_slice(&self.read[..count]);
        self.read.advance(count);
        self.owned -= count;
    }

    /// Body bytes that were read ahead, together with the head or behind it.
    fn own_ahead(&mut self) -> io::Result<()> {
        match &mut self.reading {
            Reading::Body(scanner) => match scanner.feed(&self.read) {
                Passed::All => self.owned = self.read.len(),
                Passed::End(taken) => {
                    self.owned = taken;
                    self.reading = Reading::Nothing;
                }
                Passed::Broken(_) => return Err(io::ErrorKind::InvalidData.into()),
            },
            Reading::Tunnel(tunnel) => self.owned = tunnel.take_up(&self.read),
            Reading::Nothing => {}
        }
        Ok(())
    }

    /// Body bytes straight into Pingora's buffer; what is behind the body's end is kept back.
    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match &mut self.transport {
            Some(transport) => Pin::new(transport).poll_read(cx, buf),
            None => return Poll::Ready(Ok(())),
        };
        match read {
            Poll::Pending => return self.poll_stalled(cx),
            Poll::Ready(Err(error)) => {
                self.note.trouble_is(Trouble::Gone);
                return Poll::Ready(Err(error));
            }
            Poll::Ready(Ok(())) => self.read_dog.clear(),
        }
        if buf.filled().len() == before {
            return self.body_ended();
        }
        self.keep_back(buf, before)
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tunnel().is_some() {
            return Poll::Pending; // the upstream's side keeps the time of a tunnel
        }
        if self.poll_cut(cx).is_ready() {
            return self.fail(Trouble::Drained, io::ErrorKind::ConnectionAborted);
        }
        let patience = self.timeouts.read;
        self.read_dog.set_if_clear(|| Instant::now() + patience);
        ready!(self.read_dog.poll_expired(cx));
        self.fail(Trouble::SlowBody, io::ErrorKind::TimedOut)
    }

    fn body_ended(&mut self) -> Poll<io::Result<()>> {
        match self.reading {
            Reading::Body(_) => self.fail(Trouble::Gone, io::ErrorKind::UnexpectedEof),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn keep_back(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> Poll<io::Result<()>> {
        let arrived = &buf.filled()[before..];
        let passed = match &mut self.reading {
            Reading::Body(scanner) => scanner.feed(arrived),
            Reading::Tunnel(tunnel) => Passed::End(tunnel.take_up(arrived)),
            Reading::Nothing => Passed::All,
        };
        let taken = match passed {
            Passed::All => arrived.len(),
            Passed::End(taken) => {
                self.body_taken();
                taken
            }
            Passed::Broken(_) => {
                buf.set_filled(before);
                return self.fail(Trouble::BadBody, io::ErrorKind::InvalidData);
            }
        };
        self.read.extend_from_slice(&arrived[taken..]);
        buf.set_filled(before + taken);
        Poll::Ready(Ok(()))
    }

    /// A body has ended; a tunnel has not, if it lets no more pass for now.
    fn body_taken(&mut self) {
        if matches!(self.reading, Reading::Body(_)) {
            self.reading = Reading::Nothing;
        }
    }

    /// Behind the fence: reads ahead within bounds, and notices a client that has gone. One that closes its side before it
    /// has its answer is taken to have gone, as nginx takes it: what is said for it would cost an upstream's time, and
    /// mostly reach nobody. One that sent further requests before it closed its side still waits for answers.
    fn poll_fence(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = self.poll_write_out(cx); // nobody else may come by for a while; an error shows at the next write
        if self.poll_cut(cx).is_ready() {
            return self.fail(Trouble::Drained, io::ErrorKind::ConnectionAborted);
        }
        loop {
            if self.read.len() >= limits::READ_AHEAD_BYTES {
                return Poll::Pending;
            }
            match ready!(self.poll_ahead(cx)) {
                Ok(0) if self.read.is_empty() => {
                    self.note.trouble_is(Trouble::Gone);
                    return Poll::Ready(Ok(()));
                }
                Ok(0) => return Poll::Pending,
                Ok(_) => {}
                Err(error) => {
                    self.note.trouble_is(Trouble::Gone);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// Reads into [`Client::ahead`]; memory is taken only once there is something to read.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(transport) = &mut self.transport else { return Poll::Ready(Ok(0)) };
        ready!(transport.poll_readable(cx))?;
        if self.read.capacity() - self.read.len() < READ_CHUNK / 2 {
            self.read.reserve(READ_CHUNK);
        }
        let read = tokio_util::io::poll_read_buf(Pin::new(transport), cx, &mut self.read);
        if read.is_pending() && self.read.is_empty() {
            self.read = BytesMut::new(); // readiness can be a false alarm, and the next wait may be long
        }
        read
    }

    /// Sends what was gathered.
    pub fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.written.is_empty() {
            ready!(self.poll_send(cx, &[]))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_gather(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.written.len() + data.len() <= limits::WRITE_BUFFER_BYTES {
            self.written.extend_from_slice(data);
            return Poll::Ready(Ok(data.len()));
        }
        loop {
            match ready!(self.poll_send(cx, data))? {
                0 => {} // only gathered bytes went
                sent => return Poll::Ready(Ok(sent)),
            }
        }
    }

    fn gather_head(&mut self, head: &[u8], extra: &Extra) {
        let start = self.written.len();
        self.written.reserve(head.len() + extra.lines.len());
        self.written.extend_from_slice(&head[..head.len() - 2]);
        self.written.extend_from_slice(&extra.lines);
        self.written.extend_from_slice(b"\r\n");
        if let Some(date) = &extra.date {
            restore_date(&mut self.written[start..], date.as_bytes());
        }
    }

    /// Sends what was gathered, followed by `data`; returns how much of `data` went. Zero is progress too.
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.arm();
        let Some(transport) = &mut self.transport else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let sent = if data.is_empty() {
            Pin::new(transport).poll_write(cx, &self.written)
        } else {
            let slices = [IoSlice::new(&self.written), IoSlice::new(data)];
            Pin::new(transport).poll_write_vectored(cx, &slices)
        };
        match sent {
            Poll::Ready(Ok(sent)) => {
                self.write_dog.clear();
                let gathered = sent.min(self.written.len());
                self.written.advance(gathered);
                Poll::Ready(Ok(sent - gathered))
            }
            Poll::Ready(Err(error)) => {
                self.note.trouble_is(Trouble::Gone);
                Poll::Ready(Err(error))
            }
            Poll::Pending => self.poll_slow_reader(cx),
        }
    }

    /// Has the connection end with a reset, while its end would make a part of an answer look whole.
    fn arm(&mut self) {
        if self.note.cut.load(Ordering::Relaxed) {
            self.set_resets(true);
        }
    }

    /// Lets it end as usual, once the answer is whole and the kernel has all of it.
    fn disarm(&mut self) {
        let trouble = self.note.trouble();
        let unsent = matches!(trouble, Some(Trouble::SlowReader | Trouble::Gone | Trouble::Drained));
        if !(self.note.cut.load(Ordering::Relaxed) || unsent) && self.written.is_empty() {
            self.set_resets(false);
        }
    }

    fn set_resets(&mut self, resets: bool) {
        if let Some(transport) = self.transport.as_ref().filter(|_| resets != self.resets) {
            transport.reset_on_close(resets);
            self.resets = resets;
        }
    }

    fn poll_slow_reader(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let patience = self.timeouts.write;
        self.write_dog.set_if_clear(|| Instant::now() + patience);
        if self.poll_unread(cx).is_ready() {
            return self.fail(Trouble::Drained, io::ErrorKind::ConnectionAborted);
        }
        ready!(self.write_dog.poll_expired(cx));
        self.fail(Trouble::SlowReader, io::ErrorKind::TimedOut)
    }
}

/// How it ends when its [time is over](super::farewell).
impl Client {
    /// Ready when an answer that still goes on must end. One that is whole, or has not begun, is none.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.note.answered.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        self.poll_unread(cx)
    }

    /// The same while the client does not take what there is.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.note.begun.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        self.poll_dismissed(cx)
    }

    /// Ready when the connection's time is over; for a tunnel, when also the time to say goodbye is.
    fn poll_dismissed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.parting.poll(cx));
        let Some(patience) = self.tunnel().and_then(Tunnel::begin_close) else { return Poll::Ready(()) };
        self.parting.put_off(Instant::now() + patience);
        self.parting.poll(cx)
    }

    /// Puts Close frames where they are due and may stand.
    fn say_goodbye(&mut self) {
        let Reading::Tunnel(tunnel) = &mut self.reading else { return };
        if tunnel.tell_client() {
            self.written.extend_from_slice(&CLOSE_TO_CLIENT);
        }
        if self.owned == 0 && tunnel.tell_upstream() {
            tunnel.heed(&self.read);
            self.read.clear();
            self.read.extend_from_slice(&close_to_server(fastrand::u32(..).to_ne_bytes()));
            self.owned = self.read.len();
        }
        if tunnel.have_been_told() {
            self.note.trouble_is(Trouble::Drained);
            self.parting.put_off(Instant::now() + limits::CLOSE_REPLY);
        }
    }

    fn poll_read_tunnel(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let is_over = self.poll_dismissed(cx).is_ready();
        self.say_goodbye();
        let _ = self.poll_write_out(cx);
        if is_over {
            return self.end_tunnel();
        }
        let handed_out = self.owned == 0;
        match self.tunnel() {
            Some(tunnel) if handed_out && tunnel.has_told_upstream() => self.poll_reply(cx),
            _ => self.poll_read_on(cx, buf),
        }
    }

    /// As if the client had left; or, where nobody could be told, as a cut.
    fn end_tunnel(&mut self) -> Poll<io::Result<()>> {
        match self.tunnel() {
            Some(tunnel) if tunnel.is_closed() => Poll::Ready(Ok(())),
            _ => self.fail(Trouble::Drained, io::ErrorKind::ConnectionAborted),
        }
    }

    /// Waits for what the client says to its Close; who reads on sees the tunnel's end.
    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (Reading::Tunnel(tunnel), Some(transport)) = (&mut self.reading, &mut self.transport) else {
            return Poll::Ready(Ok(()));
        };
        let mut left = false;
        while !tunnel.is_over(left) {
            if left {
                return Poll::Pending; // until the upstream has answered too, or the time is over
            }
            let mut waste = [0; 1024];
            let mut waste = ReadBuf::new(&mut waste);
            left = ready!(Pin::new(&mut *transport).poll_read(cx, &mut waste)).is_err();
            left |= waste.filled().is_empty();
            tunnel.heed(waste.filled());
        }
        Poll::Ready(Ok(()))
    }

    /// Behind its Close the client gets nothing more.
    fn poll_write_tunnel(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.poll_dismissed(cx).is_ready() {
            return self.fail(Trouble::Drained, io::ErrorKind::ConnectionAborted);
        }
        self.say_goodbye();
        let told = self.tunnel().is_some_and(|tunnel| tunnel.has_told_client());
        let offer = self.tunnel().map_or(data.len(), |tunnel| tunnel.offer_down(data));
        let sent = if told { data.len() } else { ready!(self.poll_gather(cx, &data[..offer]))? };
        if let Some(tunnel) = self.tunnel() {
            tunnel.passed_down(&data[..sent]);
        }
        Poll::Ready(Ok(sent))
    }
}

/// Dates have one form and one length (RFC 9110, section 5.6.7), so one is written over the other.
fn restore_date(head: &mut [u8], date: &[u8]) {
    const DATE: &[u8] = b"Date: ";
    let mut lines = memchr::memchr_iter(b'\n', head).map(|end| end + 1);
    let Some(at) = lines.find(|start| head[*start..].starts_with(DATE)).map(|start| start + DATE.len())
    else {
        return;
    };
    let ends = head.get(at + date.len()..).is_some_and(|rest| rest.starts_with(b"\r\n"));
    if let Some(place) = head.get_mut(at..at + date.len()).filter(|_| ends) {
        place.copy_from_slice(date);
    }
}

/// How much is read at a time into our own buffer: most heads fit.
const READ_CHUNK: usize = 4096;

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.is_tunnel() {
            return this.poll_read_tunnel(cx, buf);
        }
        if matches!(this.reading, Reading::Body(_)) && this.note.answered.load(Ordering::Relaxed) {
            return this.fail(Trouble::Superfluous, io::ErrorKind::ConnectionAborted);
        }
        this.poll_read_on(cx, buf)
    }
}

impl AsyncWrite for Client {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(extra) = self.note.take_extra(data) {
            self.gather_head(data, &extra);
            return Poll::Ready(Ok(data.len()));
        }
        if self.is_tunnel() {
            return self.poll_write_tunnel(cx, data);
        }
        self.poll_gather(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_out(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        self.disarm();
        match &mut self.transport {
            Some(transport) => Pin::new(transport).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

#[async_trait]
impl Shutdown for Client {
    async fn shutdown(&mut self) {
        let _ = tokio::io::AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Client {
    fn id(&self) -> UniqueIDType {
        self.transport.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }
}

impl GetSocketDigest for Client {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None // addresses come with the arrival
    }
}

impl GetTimingDigest for Client {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Client {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl Ssl for Client {}

impl Peek for Client {}

impl Drop for Client {
    fn drop(&mut self) {
        self.arm();
        self.disarm();
        let Some(transport) = self.transport.take() else { return };
        let told = self.tunnel().is_some_and(|tunnel| tunnel.awaits_client());
        let unread = told || matches!(self.reading, Reading::Body(_)) || !self.read.is_empty();
        if unread && !self.resets && self.note.trouble() != Some(Trouble::Gone) {
            self.linger.close(transport);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    use crate::listen::farewell::Farewell;
    use std::future::poll_fn;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio_util::task::TaskTracker;

    const SWITCHING: &[u8] = b"HTTP/1.1 101 S\r\n\r\n";

    /// A WebSocket whose moment has come, and its client.
    async fn tunnel() -> (Client, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        let minute = Duration::from_secs(60);
        let timeouts = ListenerTimeouts { header: minute, idle: minute, read: minute, write: minute };
        let farewell = Farewell::default();
        let (linger, parting) = (Linger::new(TaskTracker::new()), Parting::new(farewell.clone()));
        let mut client = Client::new(Transport::Unix(near), timeouts, linger, parting);
        let note = client.begin(Framing::None);
        note.begin_answer();
        note.upgrade();
        client.write_all(SWITCHING).await.unwrap();
        farewell.announce(Instant::now(), Duration::ZERO);
        (client, far)
    }

    async fn read(client: &mut Client) -> io::Result<Vec<u8>> {
        let mut buf = [0; 64];
        client.read(&mut buf).await.map(|count| buf[..count].to_vec())
    }

    async fn seen(mut far: UnixStream) -> Vec<u8> {
        let mut seen = Vec::new();
        far.read_to_end(&mut seen).await.unwrap();
        seen.split_off(SWITCHING.len())
    }

    #[tokio::test]
    async fn a_frame_that_does_not_end_in_time_is_cut_without_a_close() {
        let (mut client, far) = tunnel().await;
        client.write_all(b"\x81\x05he").await.unwrap();
        let began = Instant::now();
        assert_eq!(read(&mut client).await.unwrap().len(), 8, "the upstream is told");
        assert_eq!(read(&mut client).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert!(began.elapsed() >= limits::FRAME_END && began.elapsed() < limits::FRAME_END * 3);
        assert_eq!(client.note.trouble(), Some(Trouble::Drained));
        drop(client);
        assert_eq!(seen(far).await, b"\x81\x05he");
    }

    #[tokio::test]
    async fn ends_that_do_not_answer_are_waited_for_a_while() {
        let (mut client, far) = tunnel().await;
        let began = Instant::now();
        assert_eq!(read(&mut client).await.unwrap().len(), 8);
        client.write_all(b"\x81\x05hello").await.unwrap();
        assert_eq!(read(&mut client).await.unwrap(), b"", "as if the client had left");
        assert!(began.elapsed() >= limits::CLOSE_REPLY && began.elapsed() < limits::CLOSE_REPLY * 3);
        AsyncWriteExt::shutdown(&mut client).await.unwrap();
        drop(client);
        assert_eq!(seen(far).await, CLOSE_TO_CLIENT, "and nothing behind it");
    }

    #[tokio::test]
    async fn ends_that_have_answered_are_not_waited_for() {
        let (mut client, mut far) = tunnel().await;
        let began = Instant::now();
        assert_eq!(read(&mut client).await.unwrap().len(), 8);
        far.write_all(b"\x81\x80keys\x88\x80keys").await.unwrap();
        client.write_all(&CLOSE_TO_CLIENT).await.unwrap();
        assert_eq!(read(&mut client).await.unwrap(), b"");
        assert!(began.elapsed() < limits::CLOSE_REPLY / 2);
        drop(client);
        assert_eq!(seen(far).await, CLOSE_TO_CLIENT);
    }

    #[tokio::test]
    async fn what_was_read_behind_the_place_of_a_close_is_not_passed_on() {
        let (mut client, mut far) = tunnel().await;
        client.tunnel().unwrap().take_up(b"\x81\x82keys"); // all of a frame but its payload
        let begun = tokio::time::timeout(Duration::from_millis(50), poll_fn(|cx| client.poll_dismissed(cx)));
        assert!(begun.await.is_err(), "its moment has come, and the frame has time to end");
        far.write_all(b"ab\x81\x81keysc").await.unwrap();
        assert_eq!(read(&mut client).await.unwrap(), b"ab");
        assert_eq!(read(&mut client).await.unwrap()[..2], [0x88, 0x82]);
        assert_eq!(read(&mut client).await.unwrap(), b"", "nobody answers");
    }

    #[test]
    fn a_date_is_written_over_another_and_over_nothing_else() {
        let head = "HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 21:30:44 GMT\r\nAge: 9\r\n\r\n";
        let mut wire = head.as_bytes().to_vec();
        restore_date(&mut wire, b"Tue, 15 Nov 1994 08:12:31 GMT");
        let restored = head.replace("Sun, 22 Nov 2026 21:30:44 GMT", "Tue, 15 Nov 1994 08:12:31 GMT");
        assert_eq!(String::from_utf8(wire).unwrap(), restored);
        let mut wire = head.as_bytes().to_vec();
        restore_date(&mut wire, b"yesterday");
        assert_eq!(wire, head.as_bytes(), "another length is no date");
    }
}
