//! One connection, request after request.
//!
//! The loop waits for a first byte (holding next to nothing), reads a head to its end within its deadline, judges it,
//! and gives connection and head to Pingora. When the answer is through it gets the connection back, and waits again.
//! What must not be forwarded never reaches Pingora: it is answered here, and the connection is closed.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::{Buf, BytesMut};
use http::Version;
use log::debug;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use tokio::io::AsyncWriteExt;

use super::client::Client;
use super::farewell::Parting;
use super::refuse::{self, Glimpse, Refused, Trace};
use super::socket::{Peer, Transport};
use super::{Arrival, Memory, Visit};
use crate::answer;
use crate::clock::{Instant, SystemTime};
use crate::hygiene::framing::Framing;
use crate::hygiene::request_head::{HeadLimits, Marks, RequestHead, RequestScanner, Scan, TargetForm};
use crate::hygiene::request_id;
use crate::runtime::Runtime;

/// A connection that was let in.
pub(super) struct Connection {
    client: Box<Client>,
    visit: Visit,
    peer: Peer,
    port: Option<u16>,
    runtime: Arc<Runtime>,
    memory: Arc<Memory>,
}

/// What the loop found.
enum Next {
    /// A request that may be served.
    Request(Judged),
    /// One that may not.
    Refused(Refused),
    /// The client has left, or has been quiet for too long.
    Nothing,
}

/// A head, as far as it matters when its bytes are Pingora's.
struct Judged {
    len: usize,
    canonical: Option<Vec<u8>>,
    asterisk: Option<Box<Asterisk>>,
    host: String,
    framing: Framing,
    keep_alive: bool,
    expects_continue: bool,
    upgrade_websocket: bool,
    marks: Marks,
    time: SystemTime,
    started: Instant,
}

/// What is kept of the head of an `OPTIONS *`, which is answered here.
struct Asterisk {
    protocol: &'static str,
    request_id: String,
    user_agent: Option<Vec<u8>>,
    referer: Option<Vec<u8>>,
}

/// What a read brought.
enum More {
    Bytes,
    End,
    Late,
}

impl Connection {
    pub(super) fn new(transport: Transport, peer: Peer, visit: Visit, runtime: Arc<Runtime>) -> Connection {
        let door = &visit.door;
        let port = transport.local_port();
        let parting = Parting::new(door.farewell.clone());
        let linger = door.linger.clone();
        let client = Client::new(transport, door.plan.timeouts.clone(), linger, parting);
        let memory = Arc::default();
        Connection { client: Box::new(client), visit, peer, port, runtime, memory }
    }

    /// Serves requests until one side has had enough.
    pub(super) async fn serve<App>(mut self, app: Arc<App>)
    where
        App: HttpServerApp + Send + Sync + 'static,
    {
        let _enlisted = self.visit.door.farewell.enlist().await;
        let timeouts = &self.visit.door.plan.timeouts;
        let mut patience = timeouts.header;
        loop {
            match self.next(patience).await {
                Next::Nothing => return,
                Next::Refused(refused) => return self.refuse(refused).await,
                Next::Request(judged) if judged.asterisk.is_some() => {
                    if !self.answer_options(judged).await {
                        return;
                    }
                }
                Next::Request(judged) => match self.forward(judged, &app).await {
                    Some(same) => self = same,
                    None => return,
                },
            }
            patience = self.visit.door.plan.timeouts.idle;
        }
    }

    /// The next head, whose first byte must come within `patience`.
    async fn next(&mut self, patience: std::time::Duration) -> Next {
        self.client.park();
        self.client.read_dog().set(Instant::now() + patience);
        if self.client.ahead().is_empty() && !matches!(self.more().await, More::Bytes) {
            return Next::Nothing;
        }
        let (started, time) = (Instant::now(), SystemTime::now());
        self.client.read_dog().set(started + self.visit.door.plan.timeouts.header);
        self.head(started, time).await
    }

    async fn head(&mut self, started: Instant, time: SystemTime) -> Next {
        let mut scanner = RequestScanner::new(self.limits());
        loop {
            match scanner.scan(self.client.ahead()) {
                Scan::Complete(head) => return Next::Request(Judged::new(&head, started, time)),
                Scan::Refused(refusal) => return Next::Refused(Refused::new(refusal, started, time)),
                Scan::NeedMore => {}
            }
            match self.more().await {
                More::Bytes => {}
                More::End => return Next::Nothing,
                More::Late => return Next::Refused(Refused::late(started, time)),
            }
        }
    }

    fn limits(&self) -> HeadLimits {
        let limits = &self.visit.door.plan.limits;
        HeadLimits {
            header_bytes: limits.header_bytes,
            header_count: limits.header_count,
            uri_bytes: limits.uri_bytes,
        }
    }

    async fn more(&mut self) -> More {
        let client = &mut self.client;
        poll_fn(|cx| match client.poll_ahead(cx) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(More::End),
            Poll::Ready(Ok(_)) => Poll::Ready(More::Bytes),
            Poll::Pending => {
                ready!(client.read_dog().poll_expired(cx));
                Poll::Ready(More::Late)
            }
        })
        .await
    }

    /// Gives the request to Pingora, and gets the connection back when it may serve another.
    async fn forward<App>(mut self, judged: Judged, app: &Arc<App>) -> Option<Connection>
    where
        App: HttpServerApp + Send + Sync + 'static,
    {
        let head = take_head(self.client.ahead(), &judged);
        let arrival = self.arrival(judged);
        let Connection { client, visit, peer, port, runtime, memory } = self;
        let mut session = ServerSession::new_http1(client);
        session.set_pipelined_prefix(head);
        session.set_connection_user_context(Some(Box::new(arrival)));
        let reused = app.process_new_http(session, &visit.door.draining).await?;
        let client = reused.consume().0.into_any().downcast::<Client>().ok()?;
        let client = Some(client).filter(|client| client.is_between_requests())?;
        Some(Connection { client, visit, peer, port, runtime, memory })
    }

    fn arrival(&mut self, judged: Judged) -> Arrival {
        let note = self.client.begin(judged.framing);
        self.client.read_dog().clear();
        Arrival {
            door: self.visit.door.clone(),
            peer: self.peer,
            port: self.port,
            host: judged.host,
            expects_continue: judged.expects_continue,
            upgrade_websocket: judged.upgrade_websocket,
            framing: judged.framing,
            marks: judged.marks,
            time: judged.time,
            started: judged.started,
            note,
            memory: self.memory.clone(),
        }
    }

    /// `OPTIONS *` asks about the server as a whole (RFC 9110, section 9.3.7), so there is no upstream to ask. Says
    /// whether the connection can go on.
    async fn answer_options(&mut self, judged: Judged) -> bool {
        let Some(asterisk) = &judged.asterisk else { return false };
        self.client.ahead().advance(judged.len);
        let keep = judged.keep_alive && judged.framing.is_empty() && !self.visit.door.is_draining();
        let answer = answer::options_on_the_wire(&asterisk.request_id, &refuse::date(), keep);
        self.client.begin(judged.framing);
        let sent = self.client.write_all(&answer).await.is_ok() && self.client.flush().await.is_ok();
        let trace = asterisk.trace(&judged);
        refuse::record(&self.runtime, &self.visit.door, self.peer, &trace);
        sent && keep
    }

    async fn refuse(mut self, refused: Refused) {
        let (runtime, door) = (&self.runtime, &self.visit.door);
        let answer = refused.answer(runtime, door, self.peer, self.client.ahead());
        let sent = self.client.write_all(&answer).await.is_ok() && self.client.flush().await.is_ok();
        debug!("refused {:?}: {refused}, told: {sent}", self.peer);
        self.client.abandon();
    }
}

impl Asterisk {
    fn new(head: &RequestHead<'_>, time: SystemTime) -> Asterisk {
        let theirs = head.only("x-request-id").filter(|id| request_id::may_keep(id));
        let theirs = theirs.and_then(|id| std::str::from_utf8(id).ok());
        Asterisk {
            protocol: if head.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" },
            request_id: theirs.map_or_else(|| refuse::fresh_request_id(time), str::to_owned),
            user_agent: head.only("user-agent").map(<[u8]>::to_vec),
            referer: head.only("referer").map(<[u8]>::to_vec),
        }
    }

    fn trace<'a>(&'a self, judged: &'a Judged) -> Trace<'a> {
        Trace {
            status: 204,
            cause: None,
            line: Glimpse { method: "OPTIONS", target: b"*", protocol: self.protocol },
            host: &judged.host,
            bytes_sent: 0,
            request_id: &self.request_id,
            user_agent: self.user_agent.as_deref(),
            referer: self.referer.as_deref(),
            time: judged.time,
            started: judged.started,
        }
    }
}

impl Judged {
    fn new(head: &RequestHead<'_>, started: Instant, time: SystemTime) -> Judged {
        Judged {
            len: head.len,
            canonical: head.canonical(),
            asterisk: (head.form == TargetForm::Asterisk).then(|| Box::new(Asterisk::new(head, time))),
            host: head.host.as_ref().to_owned(),
            framing: head.framing,
            keep_alive: head.keep_alive,
            expects_continue: head.expects_continue,
            upgrade_websocket: head.upgrade_websocket,
            marks: head.marks,
            time,
            started,
        }
    }
}

/// Takes the head's bytes out of what was read, without copying them where they are what Pingora shall see.
fn take_head(ahead: &mut BytesMut, judged: &Judged) -> BytesMut {
    match &judged.canonical {
        Some(canonical) => {
            ahead.advance(judged.len);
            BytesMut::from(canonical.as_slice())
        }
        None if ahead.len() == judged.len => std::mem::take(ahead),
        None => ahead.split_to(judged.len),
    }
}
