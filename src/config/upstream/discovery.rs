//! Which servers there are: `endpoints` and `discovery`.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::units::{DomainName, Duration, EndpointAddress, FilePath};
use crate::limits;

/// One server: its address, or its address with weight, tier or `drain`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Endpoint {
    /// Of weight 1, in tier 0.
    Plain(EndpointAddress),
    /// With a weight, a tier, or out of use.
    Full(FullEndpoint),
}

impl Endpoint {
    /// Address, weight, tier, and whether it is drained.
    pub fn parts(&self) -> (SocketAddr, u32, u8, bool) {
        match self {
            Endpoint::Plain(address) => (address.0, one(), 0, false),
            Endpoint::Full(FullEndpoint { address, weight, tier, drain }) => {
                (address.0, *weight, *tier, *drain)
            }
        }
    }
}

/// A file that is nothing but a list of servers. An empty one is most likely one that is just being written.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct EndpointList(#[schemars(length(min = 1, max = limits::ENDPOINTS))] pub Vec<Endpoint>);

/// One server with its share and rank.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FullEndpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// Its share beside its siblings'.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u32,
    /// Servers of tier 1 get what those of tier 0 cannot carry, and so on.
    #[serde(default)]
    #[schemars(range(min = 0, max = limits::TIERS - 1))]
    pub tier: u8,
    /// Takes it out: it finishes what it has, and gets nothing more.
    #[serde(default)]
    pub drain: bool,
}

fn one() -> u32 {
    1
}

/// Where the list of servers comes from: exactly one of `dns`, `srv` and `file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["dns"]},
    {"required": ["srv"]},
    {"required": ["file"]},
]))]
pub struct Discovery {
    /// The addresses (A and AAAA) of this name; needs `port`.
    #[serde(default)]
    pub dns: Option<DomainName>,
    /// The port of servers found by `dns`.
    #[serde(default)]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u16>,
    /// The SRV records of this name, such as `_http._tcp.orders.internal`: their weights become weights, their priorities
    /// tiers.
    #[serde(default)]
    pub srv: Option<DomainName>,
    /// A file with a list in the form of `endpoints`, read again whenever it changes.
    #[serde(default)]
    pub file: Option<FilePath>,
    /// Ask this name server instead of the system's; for `dns` and `srv`.
    #[serde(default)]
    pub resolver: Option<EndpointAddress>,
    /// Asks again after this long even where an answer says that it is good for longer, and looks at a file this often.
    /// Left out: an answer's own lifetime, at most 5m; a file every 1s.
    #[serde(default)]
    pub refresh: Option<Duration>,
}
