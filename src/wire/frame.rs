//! One message as one datagram.
//!
//! The sockets are `SOCK_SEQPACKET`: a message arrives whole or not at all, and descriptors arrive with the message that
//! they were sent with. What is left to check is that the other side means what we mean:
//!
//! ```text
//! "tetap" 0 | revision u8 | flags u8 | descriptors u16 | length u32 | length bytes of JSON
//! ```
//!
//! A body that does not fit into a datagram goes into a memory file, which is then the last descriptor (flag 1). All
//! numbers are little-endian. A frame that is not what its header says is refused, and the conversation is over.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::limits::{WIRE_BODY_BYTES, WIRE_DESCRIPTORS, WIRE_INLINE_BYTES};

const MAGIC: [u8; 6] = *b"tetap\0";
const REVISION: u8 = 1;
const IN_A_FILE: u8 = 1;
const HEADER: usize = 14;

/// Why a frame is not one.
#[derive(Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is too short for a header, or has another beginning.
    NotOurs,
    /// A revision that we do not know.
    Revision(u8),
    /// Bytes or descriptors are missing or too many.
    Length,
    /// There was no room for its descriptors: this process has too many open.
    Descriptors,
    /// Over the bound.
    TooLarge,
    /// The body is no JSON.
    Json,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::NotOurs => f.write_str("not a message of tetap"),
            Malformed::Revision(found) => {
                write!(f, "frames of revision {found}, and {REVISION} is the only one known here")
            }
            Malformed::Descriptors => f.write_str("no descriptors are left for what came beside a message"),
            Malformed::Length => f.write_str("a message is not as long as it says"),
            Malformed::TooLarge => f.write_str("a message is too large"),
            Malformed::Json => f.write_str("a message is not well-formed"),
        }
    }
}

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> io::Error {
        let kind = match malformed {
            Malformed::Descriptors => io::ErrorKind::OutOfMemory, // of this kind; the next message may be whole
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, malformed.to_string())
    }
}

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    in_a_file: bool,
    descriptors: usize,
    length: usize,
}

impl Header {
    fn write(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..6].copy_from_slice(&MAGIC);
        bytes[6] = REVISION;
        bytes[7] = if self.in_a_file { IN_A_FILE } else { 0 };
        bytes[8..10].copy_from_slice(&(self.descriptors as u16).to_le_bytes());
        bytes[10..].copy_from_slice(&(self.length as u32).to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Header, Malformed> {
        let Some(&[m0, m1, m2, m3, m4, m5, revision, flags, d0, d1, l0, l1, l2, l3]) = bytes.first_chunk()
        else {
            return Err(Malformed::NotOurs);
        };
        if [m0, m1, m2, m3, m4, m5] != MAGIC {
            return Err(Malformed::NotOurs);
        }
        if revision != REVISION {
            return Err(Malformed::Revision(revision));
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > WIRE_BODY_BYTES {
            return Err(Malformed::TooLarge);
        }
        let descriptors = u16::from_le_bytes([d0, d1]).into();
        Ok(Header { in_a_file: flags & IN_A_FILE != 0, descriptors, length })
    }
}

/// Sends one message with its descriptors, or nothing of it.
///
/// # Errors
/// The other side is gone, or has no room ([`WouldBlock`](io::ErrorKind::WouldBlock)); it is over a bound.
pub fn send(socket: impl AsFd, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if body.len() > WIRE_BODY_BYTES || descriptors.len() > WIRE_DESCRIPTORS {
        return Err(Malformed::TooLarge.into());
    }
    let header = |in_a_file| Header { in_a_file, descriptors: descriptors.len(), length: body.len() };
    if body.len() <= WIRE_INLINE_BYTES {
        return push(socket, &header(false).write(), body, descriptors);
    }
    let file = in_memory("tetap-message", body)?;
    let all: Vec<_> = descriptors.iter().copied().chain([file.as_fd()]).collect();
    push(socket, &header(true).write(), &[], &all)
}

fn push(socket: impl AsFd, header: &[u8], body: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(WIRE_DESCRIPTORS + 1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Malformed::TooLarge.into());
    }
    let parts = [IoSlice::new(header), IoSlice::new(body)];
    let flags = SendFlags::NOSIGNAL;
    sendmsg(socket, &parts, &mut control, flags)?;
    Ok(())
}

/// Receives one message; `None` where the other side is gone.
///
/// # Errors
/// There is none yet ([`WouldBlock`](io::ErrorKind::WouldBlock)); it is [`Malformed`].
pub fn receive(socket: impl AsFd) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; HEADER + WIRE_INLINE_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(WIRE_DESCRIPTORS + 1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptors = take_descriptors(&mut control);
    if got.bytes == 0 {
        return Ok(None); // an empty datagram is never sent
    }
    if got.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Malformed::Descriptors.into());
    }
    if got.flags.contains(ReturnFlags::TRUNC) {
        return Err(Malformed::Length.into());
    }
    bytes.truncate(got.bytes);
    unwrap_body(&bytes, descriptors).map(Some)
}

fn take_descriptors(control: &mut RecvAncillaryBuffer<'_>) -> Vec<OwnedFd> {
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    rights.flatten().collect()
}

fn unwrap_body(bytes: &[u8], mut descriptors: Vec<OwnedFd>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let header = Header::read(bytes)?;
    let inline = &bytes[HEADER..];
    let expected = header.descriptors + usize::from(header.in_a_file);
    let inline_expected = if header.in_a_file { 0 } else { header.length };
    if descriptors.len() != expected || inline.len() != inline_expected {
        return Err(Malformed::Length.into());
    }
    let file = if header.in_a_file { descriptors.pop() } else { None };
    let body = file.map_or_else(|| Ok(inline.to_vec()), |file| contents(file, WIRE_BODY_BYTES))?;
    if body.len() != header.length {
        return Err(Malformed::Length.into());
    }
    Ok((body, descriptors))
}

/// A file that exists only in memory, for whoever gets its descriptor.
///
/// # Errors
/// There is no memory, or no descriptor.
pub fn in_memory(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// All that is in such a file, from its beginning, if it is no more than `most` bytes. It can be read again: who shares a
/// file shares its position, too.
///
/// # Errors
/// It is no file, it cannot be read, or there is more.
pub fn contents(file: OwnedFd, most: usize) -> io::Result<Vec<u8>> {
    let mut file = File::from(file);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file")); // of which some are waited for when they are read
    }
    let mut bytes = Vec::new();
    file.rewind()?;
    (&file).take(most as u64 + 1).read_to_end(&mut bytes)?;
    file.rewind()?;
    if bytes.len() > most { Err(Malformed::TooLarge.into()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::wire::pair;

    fn refusal(frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> String {
        let (here, there) = pair().unwrap();
        push(&here, frame, &[], descriptors).unwrap();
        receive(&there).unwrap_err().to_string()
    }

    #[test]
    fn what_is_sent_arrives_whole_whatever_its_size() {
        for size in [0, 1, WIRE_INLINE_BYTES, WIRE_INLINE_BYTES + 1, 3_000_000] {
            let (here, there) = pair().unwrap();
            let body = vec![b'x'; size];
            send(&here, &body, &[]).unwrap();
            let (received, descriptors) = receive(&there).unwrap().unwrap();
            assert!(received == body && descriptors.is_empty(), "{size}");
        }
    }

    #[test]
    fn descriptors_arrive_with_their_own_message() {
        let (here, there) = pair().unwrap();
        let files: Vec<File> =
            (0..WIRE_DESCRIPTORS).map(|n| in_memory("t", n.to_string().as_bytes()).unwrap()).collect();
        let borrowed: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        send(&here, b"none", &[]).unwrap();
        send(&here, &vec![b'y'; WIRE_INLINE_BYTES + 1], &borrowed).unwrap();
        assert_eq!(receive(&there).unwrap().unwrap().1.len(), 0);
        let (_, received) = receive(&there).unwrap().unwrap();
        let numbers = received.into_iter().map(|file| contents(file, 10).unwrap());
        assert!(numbers.eq((0..WIRE_DESCRIPTORS).map(|n| n.to_string().into_bytes())));
    }

    #[test]
    fn an_end_is_no_message() {
        let (here, there) = pair().unwrap();
        send(&here, b"last", &[]).unwrap();
        drop(here);
        assert_eq!(receive(&there).unwrap().unwrap().0, b"last");
        assert!(receive(&there).unwrap().is_none());
    }

    #[test]
    fn a_frame_that_is_not_what_it_says_is_refused() {
        let header = |in_a_file, descriptors, length| Header { in_a_file, descriptors, length }.write();
        let file = in_memory("t", b"123").unwrap();
        let one = [file.as_fd()];
        let mut other = header(false, 0, 0);
        other[6] = 9;
        for (frame, descriptors, told) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], &[][..], "not a message"),
            (b"teta", &[], "not a message"),
            (&other, &[], "revision 9"),
            (&header(false, 0, 1), &[], "not as long"),
            (&[&header(false, 0, 1)[..], b"ab"].concat(), &[], "not as long"),
            (&header(false, 1, 0), &[], "not as long"),
            (&header(false, 0, 0), &one, "not as long"),
            (&header(true, 0, 4), &one, "not as long"),
            (&header(true, 0, 3), &[], "not as long"),
            (&header(false, 0, WIRE_BODY_BYTES + 1), &[], "too large"),
        ] {
            let refusal = refusal(frame, descriptors);
            assert!(refusal.contains(told), "{frame:?}: {refusal}");
        }
    }

    #[test]
    fn what_is_over_a_bound_is_not_sent() {
        let (here, _there) = pair().unwrap();
        assert!(send(&here, &vec![0; WIRE_BODY_BYTES + 1], &[]).is_err());
        let file = in_memory("t", b"").unwrap();
        assert!(send(&here, b"", &vec![file.as_fd(); WIRE_DESCRIPTORS + 1]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 1..64)) {
            let _ = unwrap_body(&bytes, Vec::new());
        }
    }
}
