//! What supervisor and worker say to each other, over a socket that only the two of them have.
//!
//! They may be of different versions: during an upgrade an old supervisor has a new worker, and afterwards, for a moment, the
//! other way round. So the form of a frame never changes (see [`frame`]), a message names its kind, keys that
//! are not known are ignored, keys that are missing are as in the first version, and a message of an unknown kind is no
//! error but nothing ([`Received::Unknown`]). What a worker must be able to do is in [`PROTOCOL`], which it tells first.
//!
//! Sockets and files travel beside the words, as descriptors (`SCM_RIGHTS`, unix(7)).

pub mod channel;
pub mod frame;
pub mod message;
pub mod place;

pub use channel::{Channel, pair};
pub use message::{Drained, Found, Health, Order, Report, Role, Settings};
pub use place::{Place, Wanted};

/// The revision of the conversation. It goes up when one side must not go on without what the other has learnt.
pub const PROTOCOL: u32 = 1;

/// A message with what came beside it.
#[derive(Debug)]
pub enum Received<T> {
    /// One that is known.
    Message(T, Vec<std::os::fd::OwnedFd>),
    /// One that is not, of this kind; from another version.
    Unknown(String),
}
