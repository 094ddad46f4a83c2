//! How a WebSocket is ended by neither of its ends.
//!
//! When its [moment](super::farewell) has come, each end is told with a Close frame (RFC 6455, section 5.5.1), as if the
//! other one had said it: the client at the end of the frame that is on its way to it, the upstream at the end of the one
//! that the client is sending. Behind its Close an end is told nothing more, and what it still says is read only to see
//! its own Close. When both have said it, or have been waited for, the tunnel ends.
//!
//! Where one of them has sent a Close already the two are parting by themselves, and nothing is added: they only get as
//! long as an answer may take.
//!
//! This is the part that knows no socket; [`client`](super::client) does what it says.

use crate::clock::Duration;
use crate::hygiene::websocket::FrameScanner;
use crate::limits;

/// The two ways of a tunnel, and how far its end has come.
#[derive(Debug, Default)]
pub(super) struct Tunnel {
    /// From the client.
    up: Way,
    /// To the client.
    down: Way,
    head: Head,
    stage: Stage,
}

#[derive(Debug, Default)]
struct Way {
    frames: FrameScanner,
    told: bool,
}

/// Where the answer that switches protocols is; behind it come frames.
#[derive(Debug, Default)]
enum Head {
    #[default]
    Before,
    /// So much of its end has passed.
    Within(usize),
    Passed,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// Both ends are told as soon as they can be.
    Closing,
    /// Both have been told, or one has said it itself.
    Closed,
}

impl Tunnel {
    /// The moment has come. Says how long the next step may take; none if it came before.
    pub(super) fn begin_close(&mut self) -> Option<Duration> {
        if self.stage != Stage::Open {
            return None;
        }
        let parting = self.up.frames.has_close() || self.down.frames.has_close();
        self.stage = if parting { Stage::Closed } else { Stage::Closing };
        Some(if parting { limits::CLOSE_REPLY } else { limits::FRAME_END })
    }

    /// Whether the client is to be sent a Close at this very place. It is asked once.
    pub(super) fn tell_client(&mut self) -> bool {
        let switched = matches!(self.head, Head::Passed);
        self.stage == Stage::Closing && switched && self.down.tell()
    }

    /// The same of the upstream.
    pub(super) fn tell_upstream(&mut self) -> bool {
        self.stage == Stage::Closing && self.up.tell()
    }

    /// Whether both have been told just now. It is said once.
    pub(super) fn have_been_told(&mut self) -> bool {
        let both = self.stage == Stage::Closing && self.up.told && self.down.told;
        if both {
            self.stage = Stage::Closed;
        }
        both
    }

    /// Whether the client was told.
    pub(super) fn has_told_client(&self) -> bool {
        self.down.told
    }

    /// Whether the client was told and has not answered, so that bytes of it may lie unread.
    pub(super) fn awaits_client(&self) -> bool {
        self.down.told && !self.up.frames.has_close()
    }

    /// Whether the upstream was told.
    pub(super) fn has_told_upstream(&self) -> bool {
        self.up.told
    }

    /// Whether only the ends' own goodbyes are waited for.
    pub(super) fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// Whether these came, too. `left`: the client has ended its side.
    pub(super) fn is_over(&self, left: bool) -> bool {
        self.is_closed() && (left || self.up.frames.has_close()) && self.down.frames.has_close()
    }

    /// How many of these bytes of the client go to the upstream, counted as gone.
    pub(super) fn take_up(&mut self, bytes: &[u8]) -> usize {
        let count = self.up.passable(bytes, self.stage == Stage::Closing);
        self.up.frames.follow(&bytes[..count]);
        count
    }

    /// Bytes of the client that go to nobody.
    pub(super) fn heed(&mut self, bytes: &[u8]) {
        self.up.frames.follow(bytes);
    }

    /// How many of these bytes may go to the client.
    pub(super) fn offer_down(&self, bytes: &[u8]) -> usize {
        let closing = self.stage == Stage::Closing && matches!(self.head, Head::Passed);
        self.down.passable(bytes, closing)
    }

    /// These have gone there, or to nobody.
    pub(super) fn passed_down(&mut self, bytes: &[u8]) {
        let head = self.head.skip(bytes);
        self.down.frames.follow(&bytes[head..]);
    }
}

impl Way {
    fn tell(&mut self) -> bool {
        let now = !self.told && self.frames.is_between_frames() && !self.frames.has_close();
        self.told |= now;
        now
    }

    /// All of them, or as many as belong to the present frame.
    fn passable(&self, bytes: &[u8], only_this_frame: bool) -> usize {
        if only_this_frame {
            let mut frames = self.frames;
            return frames.scan(bytes);
        }
        bytes.len()
    }
}

impl Head {
    /// How many of these bytes belong to it, or to one before it.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        const LINE: &[u8] = b"HTTP/1.1 101";
        match self {
            Head::Passed => 0,
            Head::Before if !bytes.starts_with(LINE) => bytes.len(), // an interim answer, written in one piece
            Head::Before => self.skip_within(bytes, 0),
            Head::Within(matched) => {
                let matched = *matched;
                self.skip_within(bytes, matched)
            }
        }
    }

    fn skip_within(&mut self, bytes: &[u8], mut matched: usize) -> usize {
        const END: &[u8] = b"\r\n\r\n";
        for (at, &byte) in bytes.iter().enumerate() {
            matched = if byte == END[matched] { matched + 1 } else { usize::from(byte == END[0]) };
            if matched == END.len() {
                *self = Head::Passed;
                return at + 1;
            }
        }
        *self = Head::Within(matched);
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 101 S\r\nA: b\r\n\r\n";

    fn switched() -> Tunnel {
        let mut tunnel = Tunnel::default();
        tunnel.passed_down(HEAD);
        tunnel
    }

    #[test]
    fn frames_begin_behind_the_answer_that_switches_however_it_comes() {
        for cut in 12..HEAD.len() {
            let mut tunnel = Tunnel::default();
            tunnel.passed_down(b"HTTP/1.1 103 Early Hints\r\n\r\n");
            tunnel.begin_close();
            tunnel.passed_down(&HEAD[..cut]);
            assert!(!tunnel.tell_client(), "{cut}: it would stand in the head");
            tunnel.passed_down(&[&HEAD[cut..], b"\x81\x02h"].concat());
            assert!(!tunnel.tell_client(), "{cut}: it would stand in the frame");
            tunnel.passed_down(b"i");
            assert!(tunnel.tell_client(), "{cut}");
        }
    }

    #[test]
    fn each_end_is_told_once_and_not_within_a_frame() {
        let mut tunnel = switched();
        assert!(!tunnel.tell_client() && !tunnel.tell_upstream(), "not before its moment");
        assert_eq!(tunnel.take_up(b"\x81\x82keyshi\x81\x80keys\x81\x81ke"), 8 + 6 + 4);
        assert_eq!(tunnel.begin_close(), Some(limits::FRAME_END));
        assert_eq!(tunnel.begin_close(), None);
        assert!(tunnel.tell_client() && !tunnel.tell_client());
        assert!(!tunnel.tell_upstream() && !tunnel.have_been_told());
        assert_eq!(tunnel.take_up(b"ysx\x81\x80keys"), 3, "the rest of the frame");
        assert!(tunnel.tell_upstream() && tunnel.have_been_told() && !tunnel.have_been_told());
        assert!(!tunnel.is_over(true));
        tunnel.passed_down(b"\x88\0");
        assert!(tunnel.is_over(true) && !tunnel.is_over(false));
        tunnel.heed(b"\x88\x80keys");
        assert!(tunnel.is_over(false));
    }

    #[test]
    fn the_client_gets_the_rest_of_its_frame() {
        let mut tunnel = switched();
        tunnel.passed_down(b"\x82\x04ab");
        assert_eq!(tunnel.offer_down(b"cd\x82\0"), 4);
        tunnel.begin_close();
        assert_eq!(tunnel.offer_down(b"cd\x82\0"), 2);
    }

    #[test]
    fn two_that_are_parting_are_left_alone() {
        let (by_client, by_upstream) = (&mut switched(), &mut switched());
        by_client.take_up(b"\x88\x80keys");
        by_upstream.passed_down(b"\x88\0");
        for tunnel in [by_client, by_upstream] {
            assert_eq!(tunnel.begin_close(), Some(limits::CLOSE_REPLY));
            assert!(!tunnel.tell_client() && !tunnel.tell_upstream());
            assert!(tunnel.is_closed());
            assert_eq!(tunnel.take_up(b"\x81\x80keys\x81\x80keys"), 12);
        }
    }
}
