//! The two messages of a gRPC health check, by hand.
//!
//! A request is one string and an answer one number; a protobuf library, its compiler and its generated code would be a
//! hundred times the size of this file. What comes from the wire is read to the letter and within bounds: a message in
//! its frame (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>), in it the fields of
//! <https://protobuf.dev/programming-guides/encoding>, of which all but the first number are passed over.

use bytes::{BufMut, Bytes, BytesMut};

use crate::health::probe::Miss;

/// The tag of field 1 as a string, and as a number.
const SERVICE: u8 = 1 << 3 | 2;
const STATUS: u64 = 1 << 3;

/// `HealthCheckResponse.ServingStatus.SERVING`; others are UNKNOWN 0, `NOT_SERVING` 2, `SERVICE_UNKNOWN` 3.
const SERVING: u64 = 1;

/// A `HealthCheckRequest` in its frame. An empty name is the default, and is not written.
pub(super) fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(SERVICE);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0); // not compressed
    frame.put_u32(message.len() as u32);
    frame.put_slice(&message);
    frame.freeze()
}

fn put_varint(bytes: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        bytes.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.put_u8(number as u8);
}

/// Good if a framed `HealthCheckResponse` says so.
pub(super) fn judge(frame: &[u8]) -> Result<(), Miss> {
    match unframe(frame).and_then(status) {
        Ok(SERVING) => Ok(()),
        Ok(_) => Err(Miss::NotServing),
        Err(detail) => Err(Miss::Invalid(detail)),
    }
}

type Fault = &'static str;

/// The one message of an answer.
fn unframe(frame: &[u8]) -> Result<&[u8], Fault> {
    match frame {
        [0, a, b, c, d, message @ ..] if u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len() => {
            Ok(message)
        }
        [0, _, _, _, _, ..] => Err("the answer is not one gRPC message"),
        [1, ..] => Err("the answer is compressed, which nobody asked for"),
        _ => Err("the answer has no gRPC message"),
    }
}

/// The last field 1 counts; without any it is 0.
fn status(mut message: &[u8]) -> Result<u64, Fault> {
    let mut status = 0;
    while !message.is_empty() {
        match varint(&mut message)? {
            STATUS => status = varint(&mut message)?,
            tag => pass_over(tag, &mut message)?,
        }
    }
    Ok(status)
}

fn pass_over(tag: u64, message: &mut &[u8]) -> Result<(), Fault> {
    let length = match tag & 7 {
        0 => return varint(message).map(|_| ()),
        1 => 8,
        2 => varint(message)?,
        5 => 4,
        _ => return Err(BROKEN),
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    *message = message.get(length..).ok_or(BROKEN)?;
    Ok(())
}

/// Seven bits a byte, the lowest first; ten bytes hold 64 bits.
fn varint(message: &mut &[u8]) -> Result<u64, Fault> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().ok_or(BROKEN)?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(BROKEN)
}

const BROKEN: Fault = "the answer's message is not protobuf";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer with these fields.
    fn framed(message: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 0, message.len() as u8], message].concat()
    }

    #[test]
    fn a_request_names_its_service() {
        assert_eq!(*request(""), [0, 0, 0, 0, 0]);
        assert_eq!(*request("a.B"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = request(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 0x2f, 0x0a, 0xac, 0x02], "a length of two bytes");
        assert_eq!(long.len(), 5 + 3 + 300);
    }

    #[test]
    fn only_serving_is_good() {
        let rows: [(&[u8], Result<(), Miss>); 8] = [
            (&[8, 1], Ok(())),
            (&[8, 2], Err(Miss::NotServing)),
            (&[8, 3], Err(Miss::NotServing)),
            (&[8, 0], Err(Miss::NotServing)),
            (&[], Err(Miss::NotServing)),
            (&[8, 0x81, 0], Ok(())),
            (&[8, 1, 8, 2], Err(Miss::NotServing)),
            (&[0x12, 2, 8, 2, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x28, 9, 8, 1], Ok(())),
        ];
        for (message, want) in rows {
            assert_eq!(judge(&framed(message)), want, "{message:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_garbled_is_invalid() {
        let endless = [&[8][..], &[0xff; 10], &[1]].concat();
        let messages: [&[u8]; 6] = [&[8], &[8, 0x80], &[0x12, 3, 1, 2], &[0x1d, 1], &[0x0b, 8, 1], &endless];
        let frames = messages.into_iter().map(framed);
        let broken: [&[u8]; 6] = [
            b"",
            &[0, 0, 0],
            &[1, 0, 0, 0, 2, 8, 1],
            &[2, 0, 0, 0, 2, 8, 1],
            &[0, 0, 0, 0, 2, 8],
            &[0, 0, 0, 0, 2, 8, 1, 8, 1],
        ];
        for frame in frames.chain(broken.into_iter().map(<[u8]>::to_vec)) {
            assert!(matches!(judge(&frame), Err(Miss::Invalid(_))), "{frame:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = judge(&bytes);
            let _ = judge(&framed(&bytes));
        }

        #[test]
        fn numbers_come_back_as_they_went(number in any::<u64>()) {
            let mut bytes = BytesMut::new();
            put_varint(&mut bytes, number);
            prop_assert_eq!(varint(&mut &bytes[..]), Ok(number));
        }
    }
}
