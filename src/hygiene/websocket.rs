//! Where a WebSocket's frames begin, followed as they pass.
//!
//! A tunnel is none of the proxy's business, until the proxy has to end it. To just cut it is what a crash looks like: a
//! browser reports 1006 and the application cannot know whether the connection or the server is at fault. RFC 6455,
//! section 7.4.1 has a word for a server that is going away, 1001, but a Close frame in the middle of another frame
//! would be taken for that frame's payload. So whoever wants to say it has to know where a frame ends.
//!
//! The choice made here: of each frame only the header is looked at (section 5.2), the payload is stepped over, and
//! nothing is judged: what the two ends say to each other is theirs to accept or refuse. Between two frames a Close may
//! always stand, also between the fragments of one message (section 5.4).

/// The opcode of a Close frame (section 11.8).
const CLOSE: u8 = 8;

/// "Going away" (section 7.4.1).
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

/// The Close frame of a server: 1001, without a reason and unmasked (section 5.1).
pub const CLOSE_TO_CLIENT: [u8; 4] = [0x88, 2, GOING_AWAY[0], GOING_AWAY[1]];

/// The same from a client, whose frames are masked. A mask is there so that no page in a browser can choose the bytes on
/// the wire (section 10.3); these here nobody chooses, so any key will do.
pub fn close_to_server(key: [u8; 4]) -> [u8; 8] {
    let [a, b, c, d] = key;
    [0x88, 0x82, a, b, c, d, GOING_AWAY[0] ^ a, GOING_AWAY[1] ^ b]
}

/// Follows the frames of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameScanner {
    at: At,
    closing: bool,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// The first one of a frame.
    #[default]
    Start,
    /// The one with the mask bit and the short length.
    Length,
    /// One of so many of a longer length; `mask` bytes follow it.
    Longer { left: u8, length: u64, mask: u64 },
    /// One of so many of masking key and payload.
    Payload(u64),
}

impl FrameScanner {
    /// Follows bytes up to the end of the present frame, or all of them. Returns how many that were.
    pub fn scan(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while let Some(&byte) = bytes.get(passed) {
            passed += match self.at {
                At::Payload(left) => self.skip(left, bytes.len() - passed),
                at => {
                    self.header(at, byte);
                    1
                }
            };
            if self.at == At::Start {
                break;
            }
        }
        passed
    }

    /// Follows all of them.
    pub fn follow(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.scan(rest)..];
        }
    }

    /// Whether the last frame is whole, and no other has begun.
    pub fn is_between_frames(&self) -> bool {
        self.at == At::Start
    }

    /// Whether a Close frame has passed, or is passing.
    pub fn has_close(&self) -> bool {
        self.closing
    }

    fn skip(&mut self, left: u64, have: usize) -> usize {
        let skipped = usize::try_from(left).map_or(have, |left| left.min(have));
        self.at = payload(left - skipped as u64);
        skipped
    }

    fn header(&mut self, at: At, byte: u8) {
        self.at = match at {
            At::Start => {
                self.closing |= byte & 0x0f == CLOSE;
                At::Length
            }
            At::Length => length(byte),
            At::Longer { left, length, mask } => longer(left - 1, length << 8 | u64::from(byte), mask),
            At::Payload(left) => At::Payload(left),
        };
    }
}

fn length(byte: u8) -> At {
    let mask = if byte & 0x80 == 0 { 0 } else { 4 };
    match byte & 0x7f {
        126 => At::Longer { left: 2, length: 0, mask },
        127 => At::Longer { left: 8, length: 0, mask },
        short => payload(u64::from(short) + mask),
    }
}

fn longer(left: u8, length: u64, mask: u64) -> At {
    match left {
        0 => payload(length.saturating_add(mask)),
        left => At::Longer { left, length, mask },
    }
}

fn payload(left: u64) -> At {
    if left == 0 { At::Start } else { At::Payload(left) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame, written the obvious way.
    fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..=125 => frame.push(mask | short as u8),
            middle @ 126..=0xffff => {
                frame.push(mask | 126);
                frame.extend((middle as u16).to_be_bytes());
            }
            long => {
                frame.push(mask | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([0x88, 0x88, 0x88, 0x88]);
        }
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn every_form_of_length_is_stepped_over() {
        for masked in [false, true] {
            for length in [0, 1, 125, 126, 127, 128, 0xffff, 0x1_0000, 70_000] {
                let frame = frame(0x82, masked, &vec![0x88; length]);
                let stream = [frame.as_slice(), &[0x81, 5]].concat();
                let mut scanner = FrameScanner::default();
                assert_eq!(scanner.scan(&stream), frame.len(), "{length} {masked}");
                assert!(scanner.is_between_frames() && !scanner.has_close(), "{length} {masked}");
            }
        }
    }

    #[test]
    fn the_lengths_of_the_standard() {
        // section 5.7
        let rows: [(&str, &[u8], bool); 6] = [
            ("a text", b"\x81\x05\x48\x65\x6c\x6c\x6f", false),
            ("masked", b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", false),
            ("a first fragment", b"\x01\x03\x48\x65\x6c", false),
            ("a last fragment", b"\x80\x02\x6c\x6f", false),
            ("a ping", b"\x89\x05\x48\x65\x6c\x6c\x6f", false),
            ("a close", b"\x88\x02\x03\xe8", true),
        ];
        for (name, bytes, closes) in rows {
            let mut scanner = FrameScanner::default();
            for end in 1..bytes.len() {
                assert_eq!(scanner.scan(&bytes[end - 1..end]), 1, "{name}");
                assert!(!scanner.is_between_frames(), "{name}: not after {end} bytes");
            }
            assert_eq!(scanner.scan(&bytes[bytes.len() - 1..]), 1, "{name}");
            assert!(scanner.is_between_frames(), "{name}");
            assert_eq!(scanner.has_close(), closes, "{name}");
        }
    }

    #[test]
    fn a_close_counts_from_its_first_byte() {
        let mut scanner = FrameScanner::default();
        scanner.follow(&[0x81, 0, 0x88]);
        assert!(scanner.has_close() && !scanner.is_between_frames());
        scanner.follow(&[0]);
        assert!(scanner.has_close() && scanner.is_between_frames());
    }

    #[test]
    fn the_longest_length_is_no_overflow() {
        let mut scanner = FrameScanner::default();
        scanner.follow(&[0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255]);
        scanner.follow(&[0; 100]);
        assert!(!scanner.is_between_frames());
    }

    #[test]
    fn our_own_frames_are_frames() {
        let mut scanner = FrameScanner::default();
        assert_eq!(scanner.scan(&CLOSE_TO_CLIENT), 4);
        assert!(scanner.is_between_frames() && scanner.has_close());
        assert_eq!(CLOSE_TO_CLIENT, *b"\x88\x02\x03\xe9");
        let frame = close_to_server([1, 2, 3, 4]);
        assert_eq!(frame, [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2]);
        let mut scanner = FrameScanner::default();
        assert_eq!(scanner.scan(&frame), 8);
        assert!(scanner.is_between_frames() && scanner.has_close());
    }

    fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let length = prop_oneof![0..10usize, 120..130usize, Just(300usize), 65_530..65_540usize];
        let one = (any::<u8>(), any::<bool>(), length, any::<u8>())
            .prop_map(|(first, masked, length, filling)| frame(first, masked, &vec![filling; length]));
        prop::collection::vec(one, 1..5)
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(frames in frames(), cuts in prop::collection::vec(1..300usize, 1..40)) {
            let stream = frames.concat();
            let mut scanner = FrameScanner::default();
            let (mut at, mut ends) = (0, Vec::new());
            let mut cuts = cuts.into_iter().cycle();
            while at < stream.len() {
                let end = stream.len().min(at + cuts.next().unwrap_or(1));
                let passed = scanner.scan(&stream[at..end]);
                prop_assert!(passed > 0);
                at += passed;
                if scanner.is_between_frames() {
                    ends.push(at);
                }
            }
            let mut sum = 0;
            let expected: Vec<usize> = frames.iter().map(|frame| { sum += frame.len(); sum }).collect();
            prop_assert_eq!(ends, expected);
            prop_assert_eq!(scanner.has_close(), frames.iter().any(|frame| frame[0] & 15 == 8));
        }

        #[test]
        fn a_cut_at_every_byte_leaves_the_same_state(frames in frames()) {
            let stream = frames.concat();
            let mut whole = FrameScanner::default();
            whole.follow(&stream);
            let mut before = FrameScanner::default();
            for cut in 0..stream.len().min(600) {
                let mut both = before;
                both.follow(&stream[cut..]);
                prop_assert_eq!(both, whole);
                before.follow(&stream[cut..=cut]);
            }
        }
    }
}
