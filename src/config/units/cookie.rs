//! Cookies: what they are called, and the secret that signs them.

use crate::config::units::{Misfit, Unit, as_text};

/// The name of a cookie: a token (RFC 6265, section 4.1.1). Case matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CookieName(String);

impl CookieName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Unit for CookieName {
    const FORMAT: &'static str = "tetap-cookie-name";
    const EXPECTED: &'static str = "the name of a cookie, such as session";
    const PATTERN: &'static str = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";

    fn read(text: &str) -> Result<CookieName, Misfit> {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&byte);
        match !text.is_empty() && text.len() <= 64 && text.bytes().all(inside) {
            true => Ok(CookieName(text.to_owned())),
            false => Err(Misfit::plain()),
        }
    }

    fn write(&self) -> String {
        self.0.clone()
    }
}

as_text!(CookieName);

/// What only the proxies know. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// 128 bits in base 64 are 22 characters; shorter ones can be guessed at leisure.
const LEAST_SECRET: usize = 22;

impl Secret {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Unit for Secret {
    const FORMAT: &'static str = "tetap-secret";
    const EXPECTED: &'static str =
        "a secret of at least 22 characters (openssl rand -base64 24), out of the environment";
    const PATTERN: &'static str = ".{22,}";

    fn read(text: &str) -> Result<Secret, Misfit> {
        match text.chars().count() {
            ..LEAST_SECRET => Err(Misfit::because("too short to be one")),
            _ => Ok(Secret(text.to_owned())),
        }
    }

    fn write(&self) -> String {
        self.0.clone()
    }
}

as_text!(Secret);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn cookie_names_are_read_and_written() {
        assert_reads::<CookieName>(
            &[("session", "session"), ("__Host-Id", "__Host-Id")],
            &["", "a b", "a=b", "a;b", "ä"],
        );
    }

    #[test]
    fn secrets_are_long_and_are_not_shown() {
        let secret = "0123456789abcdef012345";
        assert_reads::<Secret>(&[(secret, secret)], &["", "short", "0123456789abcdef01234"]);
        assert!(!format!("{:?}", Secret::read(secret)).contains("0123"));
    }
}
