//! What `Connection` and `Upgrade` say about the connection itself.
//!
//! A request and its answer use the same two fields in the same way: whether another message may follow on
//! the connection, and whether it is to stop speaking HTTP.

use http::Version;

use super::field::{Fault, is_token, members};
use crate::limits::CONNECTION_OPTIONS;

/// The options of `Connection` (RFC 9110, section 7.6.1).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connection {
    pub(super) options: usize,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// An option that is none of these: mostly the name of a field.
    pub(super) other: bool,
}

impl Connection {
    pub(super) fn take(&mut self, value: &[u8]) -> Result<(), Fault> {
        members(value).try_for_each(|option| self.take_option(option))
    }

    fn take_option(&mut self, option: &[u8]) -> Result<(), Fault> {
        self.options += 1;
        if self.options > CONNECTION_OPTIONS || !is_token(option) {
            return Err("Connection is not a short list of tokens");
        }
        let is = |known: &[u8]| option.eq_ignore_ascii_case(known);
        match option.len() {
            5 if is(b"close") => self.close = true,
            10 if is(b"keep-alive") => self.keep_alive = true,
            7 if is(b"upgrade") => self.upgrade = true,
            _ => self.other = true,
        }
        Ok(())
    }

    /// RFC 9112, section 9.3.
    pub(super) fn keeps_alive(self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }
}

/// What `Upgrade` asks for (RFC 9110, section 7.8), as far as it is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Upgrade {
    #[default]
    None,
    /// `websocket`, once and alone.
    WebSocket,
    /// Another protocol, or a choice of several.
    Other,
}

impl Upgrade {
    pub(super) fn take(&mut self, value: &[u8]) -> Result<(), Fault> {
        *self = match (*self, value.eq_ignore_ascii_case(b"websocket")) {
            (Upgrade::None, true) => Upgrade::WebSocket,
            _ => Upgrade::Other,
        };
        Ok(())
    }
}
