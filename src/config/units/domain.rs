//! Names that are looked up in the DNS.

use std::net::{IpAddr, SocketAddr};

use crate::config::units::{Misfit, Unit, as_text};

/// A domain name (RFC 1035, section 2.3.1, and labels that begin with `_`, as SRV records have them; RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DomainName(String);

impl DomainName {
    /// In lower case, without the final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Unit for DomainName {
    const FORMAT: &'static str = "tetap-domain-name";
    const EXPECTED: &'static str = "a domain name such as orders.internal, without a port";
    const PATTERN: &'static str = "[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*\\.?";

    fn read(text: &str) -> Result<DomainName, Misfit> {
        if text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok() {
            return Err(Misfit::because("an address needs no look-up: write it under endpoints"));
        }
        if let Some((name, port)) = text.rsplit_once(':')
            && port.parse::<u16>().is_ok()
        {
            return Err(Misfit::because("a port").suggest(name));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_one = name.len() <= 253 && name.split('.').all(is_label);
        if is_one { Ok(DomainName(name)) } else { Err(Misfit::plain()) }
    }

    fn write(&self) -> String {
        self.0.clone()
    }
}

as_text!(DomainName);

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn names_are_read_and_written() {
        assert_reads::<DomainName>(
            &[
                ("orders.internal", "orders.internal"),
                ("_http._tcp.Orders.", "_http._tcp.orders"),
                ("a", "a"),
            ],
            &["", ".", "a..b", "-a", "a-.b", "10.0.0.1", "::1", "orders:80", "a b", "*.a", "ä.de"],
        );
        let long = "a".repeat(64);
        assert!(DomainName::read(&long).is_err());
        assert_eq!(DomainName::read("orders:80").unwrap_err().suggestion.as_deref(), Some("orders"));
        assert_eq!(
            DomainName::read("10.0.0.1:80").unwrap_err().suggestion,
            None,
            "it would be no name either"
        );
    }
}
