//! What may pass from one side of the proxy to the other.
//!
//! A proxy is only safe while everybody along the road sees the same messages: where one ends, for whom it
//! is, and who sent it. Attacks live in the gaps between two readings: a request that the proxy ends earlier
//! than the upstream does smuggles a second one in; a `Host` that two parsers read differently reaches the
//! wrong application; a forwarding header that the client wrote itself makes it somebody else.
//!
//! The choice made here: **one reading or none**. RFC 9112 lets a recipient repair many things (a bare LF, a
//! folded line, two equal lengths). Repairing is how two readings come to be, so whatever has more than one
//! reading is refused at the door, in both directions, from the raw bytes, before Pingora's own and more
//! lenient parser sees them.
//!
//! | a message's | is judged in |
//! |---|---|
//! | request line and header section | [`request_head`] |
//! | status line and header section | [`response_head`] |
//! | path, of which there is one spelling | [`path`] |
//! | body, chunks and trailers | [`body`] |
//! | fields meant for one connection only | [`hop_by_hop`] |
//! | word about who the client is | [`forwarding`] |
//! | name in every log | [`request_id`] |
//! | frames, once it is a WebSocket | [`websocket`] |
//!
//! Everything here is a pure function or state machine over bytes: no socket, no clock, no Pingora.

pub mod body;
pub mod forwarding;
pub mod framing;
pub mod hop_by_hop;
pub mod path;
pub mod request_head;
pub mod request_id;
pub mod response_head;
pub mod websocket;

mod connection;
mod field;
mod request_line;
mod target;
