//! A conversation: typed messages over a socket, one after the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::frame::{self, Malformed};
use super::{Received, message};

/// Both ends of a new conversation. They do not block, and no child inherits them by accident.
///
/// # Errors
/// There are no descriptors left.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// One end, watched by the present runtime. It is no datagram socket, but keeps datagrams apart as one does; of tokio's
/// type only the watching is used.
#[derive(Debug)]
pub struct Channel {
    socket: UnixDatagram,
}

impl Channel {
    /// Joins the present runtime.
    ///
    /// # Errors
    /// It cannot be watched: it is no socket.
    pub fn new(socket: OwnedFd) -> io::Result<Channel> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Channel { socket: UnixDatagram::from_std(socket.into())? })
    }

    /// Leaves the runtime.
    ///
    /// # Errors
    /// It cannot be taken out.
    pub fn into_inner(self) -> io::Result<OwnedFd> {
        Ok(self.socket.into_std()?.into())
    }

    /// Sends a message as soon as the other side has room for it. Nothing is sent where this is dropped before.
    ///
    /// # Errors
    /// The other side is gone.
    pub async fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = serde_json::to_vec(message).map_err(io::Error::other)?;
        let push = || frame::send(&self.socket, &body, descriptors);
        self.socket.async_io(Interest::WRITABLE, push).await
    }

    /// The next message; `None` where the other side is gone. Nothing is lost where this is dropped before.
    ///
    /// # Errors
    /// The other side says what cannot be understood.
    pub async fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<Received<T>>> {
        loop {
            match self.socket.async_io(Interest::READABLE, || frame::receive(&self.socket)).await {
                // The other side has ended with words unread, as one that was killed does. That is told once, before
                // what it had said itself.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                // The conversation goes on; whoever needed it will miss it.
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                    return Ok(Some(Received::Unknown(error.to_string())));
                }
                Err(error) => return Err(error),
                Ok(None) => return Ok(None),
                Ok(Some((body, descriptors))) => return understand(&body, descriptors).map(Some),
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A kind that is not known is another version's; a known kind whose content is wrong is a fault.
fn understand<T: DeserializeOwned>(body: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<Received<T>> {
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|_| Malformed::Json)?;
    let kind = value.get(message::KIND).and_then(|kind| kind.as_str()).ok_or(Malformed::Json)?.to_owned();
    match serde_json::from_value(value) {
        Ok(message) => Ok(Received::Message(message, descriptors)),
        Err(error) if error.to_string().starts_with("unknown variant") => Ok(Received::Unknown(kind)),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{kind}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::time::Duration;

    use super::*;
    use crate::history::History;
    use crate::wire::{Order, Report, Settings};

    fn both() -> (Channel, Channel) {
        let (here, there) = pair().unwrap();
        (Channel::new(here).unwrap(), Channel::new(there).unwrap())
    }

    /// What the other side makes of a JSON document.
    async fn heard<T: DeserializeOwned>(document: serde_json::Value) -> io::Result<Option<Received<T>>> {
        let (here, there) = both();
        here.send(&document, &[]).await.unwrap();
        there.receive().await
    }

    #[tokio::test]
    async fn messages_come_one_after_the_other_and_then_the_end() {
        let (here, there) = both();
        for id in 0..100 {
            here.send(&Order::Ask { id }, &[]).await.unwrap();
            let received = there.receive::<Order>().await.unwrap();
            assert!(matches!(received, Some(Received::Message(Order::Ask { id: same }, _)) if same == id));
        }
        drop(here);
        assert!(there.receive::<Order>().await.unwrap().is_none());
        assert!(there.send(&Report::Serving, &[]).await.is_err());
    }

    #[tokio::test]
    async fn the_last_words_of_one_who_did_not_listen_are_heard() {
        let (here, there) = both();
        there.send(&Order::Ask { id: 1 }, &[]).await.unwrap();
        here.send(&Order::Ask { id: 2 }, &[]).await.unwrap();
        drop(here);
        let received = there.receive::<Order>().await.unwrap();
        assert!(matches!(received, Some(Received::Message(Order::Ask { id: 2 }, _))));
        assert!(there.receive::<Order>().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn who_reads_slowly_is_waited_for_and_loses_nothing() {
        let (here, there) = both();
        let sender = tokio::spawn(async move {
            for id in 0..5000 {
                here.send(&Order::Ask { id }, &[]).await.unwrap();
            }
        });
        for id in 0..5000 {
            let received = there.receive::<Order>().await.unwrap();
            assert!(matches!(received, Some(Received::Message(Order::Ask { id: same }, _)) if same == id));
        }
        sender.await.unwrap();
    }

    #[tokio::test]
    async fn a_kind_of_another_version_is_no_error() {
        let received = heard::<Order>(serde_json::json!({"is": "sing", "song": 7})).await.unwrap();
        assert!(matches!(received, Some(Received::Unknown(kind)) if kind == "sing"));
    }

    #[tokio::test]
    async fn keys_that_are_missing_are_defaults_and_those_that_are_not_known_are_nothing() {
        let begin = serde_json::json!({"is": "begin", "generation": 3, "config": "/a", "later": [1]});
        let Some(Received::Message(Order::Begin { history, has_text, .. }, _)) = heard(begin).await.unwrap()
        else {
            panic!("not understood");
        };
        assert_eq!((history, has_text), (History::default(), false));
        let settings = serde_json::json!({"probation": {"secs": 1, "nanos": 0}, "later": true});
        let prepared = serde_json::json!({"is": "prepared", "places": [], "settings": settings});
        let Some(Received::Message(Report::Prepared { settings, .. }, _)) = heard(prepared).await.unwrap()
        else {
            panic!("not understood");
        };
        assert_eq!(settings, Settings { probation: Duration::from_secs(1), ..Settings::default() });
    }

    #[tokio::test]
    async fn what_cannot_be_meant_ends_the_conversation() {
        for document in [
            serde_json::json!({"is": "ask", "id": "seven"}),
            serde_json::json!({"is": "ask"}),
            serde_json::json!({"is": 7}),
            serde_json::json!({}),
            serde_json::json!([]),
        ] {
            assert!(heard::<Order>(document.clone()).await.is_err(), "{document}");
        }
    }
}
