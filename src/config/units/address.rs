//! Where to listen, whom to ask, whom to believe.
//!
//! Addresses are numbers, never names: a name would be looked up once, at a moment when nobody watches, and would stand
//! for that answer until the next start.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::units::{Misfit, Unit, as_text};

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A unix socket's absolute path.
    Unix(PathBuf),
}

/// The longest path of a unix socket on Linux: `sun_path` has 108 bytes, the last a zero (unix(7)).
const UNIX_PATH_BYTES: usize = 107;

impl Unit for ListenAddress {
    const FORMAT: &'static str = "tetap-listen-address";
    const EXPECTED: &'static str = "an address such as 0.0.0.0:8080, [::]:8080 or unix:/run/tetap/web.sock";
    const PATTERN: &'static str = "unix:/.+|.+:[0-9]+";

    fn read(text: &str) -> Result<ListenAddress, Misfit> {
        match text.strip_prefix("unix:") {
            Some(path) => unix(path).map(ListenAddress::Unix),
            None => socket(text, "0.0.0.0").map(ListenAddress::Tcp),
        }
    }

    fn write(&self) -> String {
        match self {
            ListenAddress::Tcp(address) => address.to_string(),
            ListenAddress::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

as_text!(ListenAddress);

fn unix(path: &str) -> Result<PathBuf, Misfit> {
    if !path.starts_with('/') {
        return Err(Misfit::because("the path of a unix socket begins with /"));
    }
    if path.len() > UNIX_PATH_BYTES {
        return Err(Misfit::because(format!(
            "the path of a unix socket has at most {UNIX_PATH_BYTES} bytes"
        )));
    }
    if path.ends_with('/') || path.contains(char::is_control) {
        return Err(Misfit::plain());
    }
    Ok(PathBuf::from(path))
}

/// Where the admin pages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminAddress(pub SocketAddr);

impl Unit for AdminAddress {
    const FORMAT: &'static str = "tetap-admin-address";
    const EXPECTED: &'static str = "an address such as 127.0.0.1:9901 or [::1]:9901";
    const PATTERN: &'static str = ".+:[0-9]+";

    fn read(text: &str) -> Result<AdminAddress, Misfit> {
        socket(text, "127.0.0.1").map(AdminAddress)
    }

    fn write(&self) -> String {
        self.0.to_string()
    }
}

as_text!(AdminAddress);

/// Where one server of an upstream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointAddress(pub SocketAddr);

impl Unit for EndpointAddress {
    const FORMAT: &'static str = "tetap-endpoint-address";
    const EXPECTED: &'static str = "an IP address and port such as 10.0.0.11:8080 or [fd00::11]:8080";
    const PATTERN: &'static str = ".+:[0-9]+";

    fn read(text: &str) -> Result<EndpointAddress, Misfit> {
        let address = socket(text, "127.0.0.1")?;
        if address.port() == 0 {
            return Err(Misfit::because("nobody answers on port 0"));
        }
        if address.ip().is_unspecified() {
            return Err(Misfit::because("not the address of one host"));
        }
        Ok(EndpointAddress(address))
    }

    fn write(&self) -> String {
        self.0.to_string()
    }
}

as_text!(EndpointAddress);

/// `host` is what an address without one most likely meant.
fn socket(text: &str, host: &str) -> Result<SocketAddr, Misfit> {
    let address: SocketAddr = text.parse().map_err(|_| guess(text, host))?;
    match address.ip().to_canonical() {
        IpAddr::V4(v4) if address.is_ipv6() => {
            let meant = SocketAddr::new(v4.into(), address.port());
            Err(Misfit::because("an IPv4 address in IPv6 clothes").suggest(meant.to_string()))
        }
        _ => Ok(address),
    }
}

fn guess(text: &str, host: &str) -> Misfit {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    if is_port(text) {
        return Misfit::because("no host").suggest(format!("{host}:{text}"));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Misfit::because("no port");
    }
    match text.rsplit_once(':') {
        Some(("" | "*", port)) if is_port(port) => {
            Misfit::because("no host").suggest(format!("{host}:{port}"))
        }
        Some(("localhost", port)) if is_port(port) => {
            Misfit::because("names are not looked up").suggest(format!("127.0.0.1:{port}"))
        }
        Some((_, port)) if port.parse::<u32>().is_ok_and(|port| port > 65535) => {
            Misfit::because("ports end at 65535")
        }
        Some((name, port)) if is_port(port) && is_name(name) => Misfit::because("names are not looked up"),
        _ => Misfit::plain(),
    }
}

fn is_name(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

/// Some addresses, by their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl Unit for Network {
    const FORMAT: &'static str = "tetap-network";
    const EXPECTED: &'static str = "an IP address or a network such as 10.0.0.0/8 or fd00::/8";
    const PATTERN: &'static str = "[0-9a-fA-F.:]+(/[0-9]+)?";

    fn read(text: &str) -> Result<Network, Misfit> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Network(address.into()));
        }
        let network: IpNet = text.parse().map_err(|_| Misfit::plain())?;
        if network.trunc() != network {
            let reason = format!("bits are set after the first {}", network.prefix_len());
            return Err(Misfit::because(reason).suggest(network.trunc().to_string()));
        }
        Ok(Network(network))
    }

    fn write(&self) -> String {
        self.0.to_string()
    }
}

as_text!(Network);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn listen_addresses() {
        assert_reads::<ListenAddress>(
            &[
                ("0.0.0.0:8080", "0.0.0.0:8080"),
                ("[::]:8080", "[::]:8080"),
                ("[0:0::1]:0", "[::1]:0"),
                ("unix:/run/a.sock", "unix:/run/a.sock"),
            ],
            &[
                "",
                ":8080",
                "8080",
                "1.2.3.4",
                "localhost:80",
                "1.2.3.4:65536",
                "::1:80",
                "[::1]",
                "unix:a",
                "unix:/",
            ],
        );
        assert!(ListenAddress::read(&format!("unix:/{}", "x".repeat(106))).is_ok());
        assert!(ListenAddress::read(&format!("unix:/{}", "x".repeat(107))).is_err());
    }

    #[test]
    fn endpoint_addresses() {
        assert_reads::<EndpointAddress>(
            &[("10.0.0.1:80", "10.0.0.1:80"), ("[fd00::1]:80", "[fd00::1]:80")],
            &[
                "10.0.0.1",
                "10.0.0.1:0",
                "0.0.0.0:80",
                "[::]:80",
                "orders.internal:80",
                "[::ffff:10.0.0.1]:80",
            ],
        );
    }

    #[test]
    fn admin_addresses() {
        assert_reads::<AdminAddress>(&[("127.0.0.1:9901", "127.0.0.1:9901")], &["9901", "unix:/a", "a:b"]);
    }

    #[test]
    fn networks() {
        assert_reads::<Network>(
            &[("10.0.0.0/8", "10.0.0.0/8"), ("10.0.0.1", "10.0.0.1/32"), ("fd00::/8", "fd00::/8")],
            &["", "10.0.0.1/8", "10.0.0.0/33", "10/8", "all"],
        );
    }

    #[test]
    fn the_usual_slips_are_understood() {
        let meant = |text: &str, host: &str| guess(text, host).suggestion;
        assert_eq!(meant(":8080", "0.0.0.0").as_deref(), Some("0.0.0.0:8080"));
        assert_eq!(meant("*:80", "0.0.0.0").as_deref(), Some("0.0.0.0:80"));
        assert_eq!(meant("80", "127.0.0.1").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(meant("localhost:80", "127.0.0.1").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(meant("what", "127.0.0.1"), None);
        let network = Network::read("10.1.0.1/8").err().and_then(|misfit| misfit.suggestion);
        assert_eq!(network.as_deref(), Some("10.0.0.0/8"));
    }
}
