//! How an endpoint is chosen.

use crate::balance::{Balance, HashKey};
use crate::config::upstream::{self, BalanceWord, HashBy, StickyCookie};
use crate::config::{Fault, KeyPath};
use crate::plan::Sticky;

/// The way to choose.
pub fn plan(path: &KeyPath, balance: &upstream::Balance, faults: &mut Vec<Fault>) -> Balance {
    match balance {
        upstream::Balance::Word(BalanceWord::RoundRobin) => Balance::RoundRobin,
        upstream::Balance::Word(BalanceWord::Random) => Balance::Random,
        upstream::Balance::Word(BalanceWord::LeastRequests) => Balance::LeastRequests,
        upstream::Balance::Word(BalanceWord::Ewma) => Balance::Ewma,
        upstream::Balance::Hash(HashBy { hash }) => {
            plan_key(&path.key("hash"), hash, faults).map_or(Balance::RoundRobin, Balance::Hash)
        }
    }
}

fn plan_key(path: &KeyPath, key: &upstream::HashKey, faults: &mut Vec<Fault>) -> Option<HashKey> {
    let upstream::HashKey { header, cookie, query, client_ip, path: by_path } = key;
    for (name, flag) in [("client_ip", client_ip), ("path", by_path)] {
        if *flag == Some(false) {
            faults.push(Fault::new(path.key(name), "false", "true, or another key"));
        }
    }
    let header = header.as_ref().map(|header| HashKey::Header(header.name.clone()));
    let cookie = cookie.as_ref().map(|cookie| HashKey::Cookie(cookie.as_str().into()));
    let query = query.as_ref().map(|query| HashKey::Query(query.as_str().into()));
    let client_ip = client_ip.map(|_| HashKey::ClientIp);
    header.or(cookie).or(query).or(client_ip).or(by_path.map(|_| HashKey::Path))
}

/// The cookie that goes before all of it.
pub fn plan_sticky(sticky: &StickyCookie) -> Sticky {
    let StickyCookie { name, secret, ttl } = sticky;
    Sticky { name: name.as_str().into(), secret: secret.as_bytes().into(), ttl: ttl.map(|ttl| ttl.as_std()) }
}
