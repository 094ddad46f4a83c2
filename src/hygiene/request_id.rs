//! Whether a client's own request id may be kept.
//!
//! An id that the client chose lets a request be followed from its own logs through ours, and it is written
//! there unquoted, sent to the upstream and sent back. So it is kept only when no reader can take it for
//! anything else: short, and of bytes that neither a log line, a shell nor a URL gives a meaning to.

use crate::limits::REQUEST_ID_BYTES;

/// Whether an `X-Request-Id` may be kept: 1 to 128 bytes of `A-Z a-z 0-9 . _ ~ : / + = @ -`.
pub fn may_keep(id: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES).contains(&id.len()) && id.iter().all(|&byte| is_plain(byte))
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'.' | b'_' | b'~' | b':' | b'/' | b'+' | b'=' | b'@' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_as_they_are_made_in_practice_are_kept() {
        let ids = [
            "7",
            "0190b5c8-7c2e-7a50-9c5f-3f1c2a4be001",
            "Root=1-67891233-abcdef012345678912345678",
            "req_2Wc~x:eu/west+1@edge.7",
        ];
        for id in ids {
            assert!(may_keep(id.as_bytes()), "{id}");
        }
    }

    #[test]
    fn ids_that_could_be_more_than_a_name_are_not() {
        for id in
            ["", " ", "a b", "a,b", "a\"b", "a\\b", "<a>", "a;b", "a\u{e4}", "a\tb", "a\0b", "${x}", "a%20"]
        {
            assert!(!may_keep(id.as_bytes()), "{id:?}");
        }
    }

    #[test]
    fn the_bound_is_inclusive() {
        assert!(may_keep(&[b'a'; REQUEST_ID_BYTES]));
        assert!(!may_keep(&[b'a'; REQUEST_ID_BYTES + 1]));
    }
}
