//! Members that the DNS knows.
//!
//! A name server fails in more ways than by saying nothing. It has no answer for IPv6 addresses although it has one for
//! IPv4; it says for a moment that there is no such name, while its zone is loaded; it leads to nine targets and fails on
//! the tenth. So each answer is remembered by its question, and takes the place of one that does not come. That a name
//! has no addresses of one family is believed while it has some of the other; that it has none at all is not, as long as
//! others were known: of the two ways to be wrong about that, one asks servers that are gone, and health checks know
//! about those; the other asks nobody.
//!
//! Name servers are asked by `hickory-resolver`, since the system's own resolver does not tell how long an answer is good
//! for. Its cache is off: what was good until now has to be asked anew. So is what else it keeps between questions:
//! resolvers are made for each look, so that a change of `/etc/resolv.conf` counts, and nothing that went wrong once lasts.
//!
//! Of several name servers it would ask two at once and take the first word for the last, be it SERVFAIL. So each has a
//! resolver of its own, and they are asked in turn, as resolv.conf(5) has it, from the one on that has answered last.
//! That there is no such name is an answer, too: another server may see another world, where the name leads elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use super::srv::{self, Target};
use super::{Found, Question, Trouble};
use crate::limits;
use crate::plan::Endpoint;

/// The addresses of one name.
#[derive(Debug)]
pub struct Addresses {
    name: String,
    port: u16,
    servers: Servers,
    memory: Memory,
}

impl Addresses {
    pub(super) fn new(name: &str, port: u16, servers: Servers) -> Addresses {
        Addresses { name: name.to_owned(), port, servers, memory: Memory::default() }
    }

    /// Asks for them.
    pub(super) async fn look(&mut self) -> Found {
        self.asked().await.unwrap_or_else(Found::from)
    }

    async fn asked(&mut self) -> Result<Found, Trouble> {
        let asker = self.servers.asker().await?;
        let name = absolute(&self.name)?;
        let answers = asker.addresses(&name).await;
        let Resolved { addresses, trouble, lifetime } = self.memory.resolve(&name, answers);
        let endpoint = |address| Endpoint {
            address: SocketAddr::new(address, self.port),
            weight: 1,
            tier: 0,
            drained: false,
        };
        Ok(Found { members: addresses.into_iter().map(endpoint).collect(), trouble, lifetime })
    }
}

/// The service records of one name, and the addresses of their targets.
#[derive(Debug)]
pub struct Services {
    name: String,
    servers: Servers,
    memory: Memory,
}

impl Services {
    pub(super) fn new(name: &str, servers: Servers) -> Services {
        Services { name: name.to_owned(), servers, memory: Memory::default() }
    }

    /// Asks for them, and then for all addresses at once.
    pub(super) async fn look(&mut self) -> Found {
        self.asked().await.unwrap_or_else(Found::from)
    }

    async fn asked(&mut self) -> Result<Found, Trouble> {
        let asker = self.servers.asker().await?;
        let services = asker.services(&absolute(&self.name)?).await?;
        let resolved = self.resolve(asker.again(), &services.records).await;
        let target = |record: &SRV| Target {
            priority: record.priority,
            weight: record.weight,
            port: record.port,
            addresses: resolved
                .get(&record.target)
                .map(|target| target.addresses.clone())
                .unwrap_or_default(),
        };
        let targets: Vec<Target> = services.records.iter().map(target).collect();
        let lifetimes = resolved.values().filter_map(|target| target.lifetime);
        Ok(Found {
            members: srv::endpoints(&targets),
            trouble: resolved.values().find_map(|target| target.trouble.clone()),
            lifetime: lifetimes.chain([services.lifetime]).min(),
        })
    }

    /// Every target once. What is no target any more is forgotten.
    async fn resolve(&mut self, asker: Asker, records: &[SRV]) -> BTreeMap<Name, Resolved> {
        let mut waiting: Vec<Name> = records.iter().map(|record| record.target.clone()).collect();
        waiting.sort();
        waiting.dedup();
        self.memory.retain(&waiting);
        let mut under_way = JoinSet::new();
        let mut resolved = BTreeMap::new();
        loop {
            while under_way.len() < limits::LOOK_UPS_AT_ONCE
                && let Some(name) = waiting.pop()
            {
                let asker = asker.clone();
                under_way.spawn(async move { (asker.addresses(&name).await, name) });
            }
            let Some(ended) = under_way.join_next().await else { return resolved };
            if let Ok((answers, name)) = ended {
                let target = self.memory.resolve(&name, answers);
                resolved.insert(name, target);
            }
        }
    }
}

/// Which name servers are asked.
#[derive(Debug)]
pub struct Servers {
    only: Option<SocketAddr>,
    latest: Arc<AtomicUsize>,
}

impl Servers {
    /// Only this one, or the system's.
    pub(super) fn new(only: Option<SocketAddr>) -> Servers {
        Servers { only, latest: Arc::default() }
    }

    /// Off the threads that serve: the system's are in a file.
    async fn asker(&self) -> Result<Asker, Trouble> {
        let only = self.only;
        let made = spawn_blocking(move || resolvers(only)).await;
        let failed = |why: &dyn std::fmt::Display| Trouble::NoServers(why.to_string());
        let resolvers = made.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        let until = Instant::now() + limits::LOOK_UP;
        Ok(Asker { resolvers: resolvers.into(), latest: self.latest.clone(), until })
    }
}

/// One for each name server: this one only, or the system's.
fn resolvers(only: Option<SocketAddr>) -> Result<Vec<TokioResolver>, NetError> {
    let Some(address) = only else {
        let (system, options) = read_system_conf()?;
        return each_alone(system.name_servers(), options);
    };
    let mut options = ResolverOpts::default();
    options.use_hosts_file = ResolveHosts::Never;
    each_alone(&[at(address)], options)
}

/// resolv.conf(5) has no more name servers; more are left out.
const SERVERS: usize = 3;

fn each_alone(
    servers: &[NameServerConfig],
    mut options: ResolverOpts,
) -> Result<Vec<TokioResolver>, NetError> {
    let servers = &servers[..servers.len().min(SERVERS)];
    options.cache_size = 0;
    options.attempts = 0; // the next one is asked instead; datagrams are sent again in any case
    options.timeout = limits::LOOK_UP / servers.len().max(1) as u32;
    let alone = |server: &NameServerConfig| {
        let config = ResolverConfig::from_name_servers(vec![server.clone()]);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.with_options(options.clone()).build()
    };
    servers.iter().map(alone).collect()
}

/// By UDP, and by TCP where the answer does not fit into a datagram (RFC 7766).
fn at(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

/// The name itself, whatever domains the system would try it in.
fn absolute(name: &str) -> Result<Name, Trouble> {
    let absolute = Name::from_ascii(format!("{name}."));
    absolute.map_err(|error| Trouble::Malformed(format!("{name}: {error}")))
}

/// Asks questions, until a moment.
#[derive(Clone)]
struct Asker {
    resolvers: Arc<[TokioResolver]>,
    /// Which of them has answered last.
    latest: Arc<AtomicUsize>,
    until: Instant,
}

/// Records of one kind; at least one.
#[derive(Debug)]
struct Answer<R> {
    records: Vec<R>,
    lifetime: Duration,
}

/// Longest chain of aliases to services; what is longer is most likely a circle.
const ALIASES: usize = 8;

/// Of IPv4 and IPv6.
type Families = [Result<Answer<IpAddr>, Trouble>; 2];

impl Asker {
    /// With as much time as at first.
    fn again(self) -> Asker {
        Asker { until: Instant::now() + limits::LOOK_UP, ..self }
    }

    async fn addresses(&self, name: &Name) -> Families {
        let address = |data: &RData| data.ip_addr().and_then(usable);
        let (v4, v6) =
            tokio::join!(self.ask(name, RecordType::A, address), self.ask(name, RecordType::AAAA, address));
        [v4, v6]
    }

    /// None of them with the root for a target, which says that there is no service.
    async fn services(&self, name: &Name) -> Result<Answer<SRV>, Trouble> {
        let mut answer = self.records_of_services(name).await?;
        answer.records.retain(|record| !record.target.is_root());
        if answer.records.is_empty() {
            return Err(Trouble::NoService(question(name, RecordType::SRV)));
        }
        answer.records.retain(|record| record.port != 0);
        if answer.records.is_empty() {
            return Err(Trouble::NoRecords(question(name, RecordType::SRV)));
        }
        Ok(answer)
    }

    /// The resolver follows an alias to addresses, but not to services: it takes a record's target for the next alias.
    async fn records_of_services(&self, name: &Name) -> Result<Answer<SRV>, Trouble> {
        let (mut name, mut longest) = (name.clone(), Duration::MAX);
        let mut answer = self.ask(&name, RecordType::SRV, service).await;
        for _ in 0..ALIASES {
            if !answer.as_ref().is_err_and(Trouble::denies) {
                break;
            }
            let Ok(alias) = self.ask(&name, RecordType::CNAME, alias).await else { break };
            longest = longest.min(alias.lifetime);
            name = alias.records.into_iter().next().unwrap_or(name);
            answer = self.ask(&name, RecordType::SRV, service).await;
        }
        answer.map(|answer| Answer { lifetime: answer.lifetime.min(longest), ..answer })
    }

    /// In turn, until one answers.
    async fn ask<R>(
        &self,
        name: &Name,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<R>,
    ) -> Result<Answer<R>, Trouble> {
        let (count, first) = (self.resolvers.len(), self.latest.load(Ordering::Relaxed));
        let mut failed = None;
        for index in (first..first + count).map(|index| index % count) {
            match self.ask_one(&self.resolvers[index], name, kind, &pick).await {
                Err(trouble) if !trouble.denies() => failed = failed.or(Some(trouble)),
                answer => {
                    self.latest.store(index, Ordering::Relaxed);
                    return answer;
                }
            }
        }
        Err(failed.unwrap_or_else(|| Trouble::NoServers("none is configured".to_owned())))
    }

    async fn ask_one<R>(
        &self,
        resolver: &TokioResolver,
        name: &Name,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<R>,
    ) -> Result<Answer<R>, Trouble> {
        let lookup = match timeout_at(self.until, resolver.lookup(name.clone(), kind)).await {
            Ok(Ok(lookup)) => lookup,
            Ok(Err(error)) => return Err(trouble(question(name, kind), &error)),
            Err(_) => return Err(Trouble::Silent(question(name, kind))),
        };
        let records: Vec<R> = lookup.answers().iter().filter_map(|record| pick(&record.data)).collect();
        let lifetime = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
        match records.is_empty() {
            true => Err(Trouble::NoRecords(question(name, kind))),
            false => Ok(Answer { records, lifetime: Duration::from_secs(lifetime.into()) }),
        }
    }
}

fn service(data: &RData) -> Option<SRV> {
    if let RData::SRV(record) = data { Some(record.clone()) } else { None }
}

fn alias(data: &RData) -> Option<Name> {
    if let RData::CNAME(alias) = data { Some(alias.0.clone()) } else { None }
}

fn question(name: &Name, kind: RecordType) -> Question {
    let name = name.to_ascii();
    Question { name: name.strip_suffix('.').unwrap_or(&name).to_owned(), kind: kind.into() }
}

fn trouble(question: Question, error: &NetError) -> Trouble {
    match error {
        NetError::Timeout => Trouble::Silent(question),
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Trouble::NoSuchName(question),
            _ => Trouble::NoRecords(question),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => {
            Trouble::Unanswered(question, format!("the name server says {code}"))
        }
        other => Trouble::Unanswered(question, other.to_string()),
    }
}

/// An address that one server can have. `0.0.0.0` is how some name servers say no, and would lead to ourselves.
fn usable(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    (!address.is_unspecified() && !address.is_multicast() && !broadcast).then_some(address)
}

/// What was known of each name: its IPv4 and its IPv6 addresses.
#[derive(Debug, Default)]
struct Memory(HashMap<Name, [Vec<IpAddr>; 2]>);

/// What is known of a name.
#[derive(Debug, Default, PartialEq)]
struct Resolved {
    addresses: Vec<IpAddr>,
    trouble: Option<Trouble>,
    lifetime: Option<Duration>,
}

impl Memory {
    /// Puts what was known before in the place of an answer that has not come.
    fn resolve(&mut self, name: &Name, answers: Families) -> Resolved {
        let known = self.0.entry(name.clone()).or_default();
        let some = answers.iter().any(Result::is_ok);
        let mut resolved = Resolved::default();
        let mut denied = None;
        for (known, answer) in known.iter_mut().zip(answers) {
            match answer {
                Ok(answer) => {
                    resolved.lifetime = resolved.lifetime.into_iter().chain([answer.lifetime]).min();
                    *known = answer.records;
                }
                Err(trouble) if trouble.denies() => {
                    denied = Some(trouble);
                    if some {
                        known.clear();
                    }
                }
                Err(trouble) => resolved.trouble = resolved.trouble.or(Some(trouble)),
            }
        }
        if !some {
            resolved.trouble = resolved.trouble.or(denied);
        }
        resolved.addresses = known.iter().flatten().copied().collect();
        resolved
    }

    fn retain(&mut self, names: &[Name]) {
        self.0.retain(|name, _| names.binary_search(name).is_ok());
    }
}

impl Trouble {
    /// Whether this is an answer: there is nothing.
    fn denies(&self) -> bool {
        matches!(self, Trouble::NoSuchName(_) | Trouble::NoRecords(_))
    }
}

#[cfg(test)]
mod tests;
