//! From service records to weights and tiers (RFC 2782).
//!
//! A priority says whom to ask first, and its number means nothing but an order: 10 and 20 are tiers 0 and 1. A weight is
//! a share among the targets of one priority, from 0 to 65535, of which ours are 1 to 1000; shares that are small enough
//! stay as they are. What gets a share is the target, and a target with three addresses is not three of them: they part
//! it among themselves.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::limits;
use crate::plan::Endpoint;

/// One server of a service, and where it was found to be.
#[derive(Clone, Debug)]
pub struct Target {
    /// Lower ones are asked first.
    pub priority: u16,
    /// Its share among those of the same priority.
    pub weight: u16,
    /// Of all addresses.
    pub port: u16,
    /// May be none.
    pub addresses: Vec<IpAddr>,
}

/// Our own greatest weight.
const HEAVIEST: f64 = 1000.0;

/// All endpoints of these targets.
pub fn endpoints(targets: &[Target]) -> Vec<Endpoint> {
    let priorities: BTreeSet<u16> = targets.iter().map(|target| target.priority).collect();
    let tiers = priorities.into_iter().zip((0..limits::TIERS).chain(std::iter::repeat(limits::TIERS - 1)));
    tiers.flat_map(|(priority, tier)| of_tier(targets, priority, tier)).collect()
}

fn of_tier(targets: &[Target], priority: u16, tier: u8) -> Vec<Endpoint> {
    let targets = || targets.iter().filter(|target| target.priority == priority);
    let most = targets().map(|target| target.addresses.len()).max().unwrap_or(0);
    let shares: Vec<f64> = targets().map(|target| share(target, most)).collect();
    let heaviest = shares.iter().copied().fold(HEAVIEST, f64::max);
    let weights = shares.into_iter().map(|share| (share * HEAVIEST / heaviest).round().max(1.0) as u32);
    let endpoint = |target: &Target, weight, address| Endpoint {
        address: SocketAddr::new(address, target.port),
        weight,
        tier,
        drained: false,
    };
    let endpoints = |(target, weight)| {
        let target: &Target = target;
        target.addresses.iter().map(move |address| endpoint(target, weight, *address)).collect::<Vec<_>>()
    };
    targets().zip(weights).flat_map(endpoints).collect()
}

/// Of one address of a target, where the target with the most addresses has so many. A weight of 0 wants as little as
/// there is.
fn share(target: &Target, most: usize) -> f64 {
    f64::from(target.weight.max(1)) * most as f64 / target.addresses.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(priority: u16, weight: u16, last_bytes: &[u8]) -> Target {
        let addresses = last_bytes.iter().map(|last| IpAddr::from([127, 0, 0, *last])).collect();
        Target { priority, weight, port: 80, addresses }
    }

    /// Last byte, weight and tier.
    fn found(targets: &[Target]) -> Vec<(u8, u32, u8)> {
        let last = |address: SocketAddr| match address.ip() {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => 0,
        };
        let all = endpoints(targets);
        all.into_iter().map(|endpoint| (last(endpoint.address), endpoint.weight, endpoint.tier)).collect()
    }

    #[test]
    fn small_weights_stay_as_they_are() {
        let targets = [target(0, 10, &[1]), target(0, 60, &[2]), target(0, 1000, &[3]), target(0, 0, &[4])];
        assert_eq!(found(&targets), [(1, 10, 0), (2, 60, 0), (3, 1000, 0), (4, 1, 0)]);
    }

    #[test]
    fn large_weights_are_brought_into_proportion_within_their_priority() {
        let targets =
            [target(0, 65_535, &[1]), target(0, 32_768, &[2]), target(0, 1, &[3]), target(1, 7, &[4])];
        assert_eq!(found(&targets), [(1, 1000, 0), (2, 500, 0), (3, 1, 0), (4, 7, 1)]);
    }

    #[test]
    fn priorities_are_an_order_and_no_distance() {
        let targets = [target(20, 1, &[1]), target(65_535, 1, &[2]), target(7, 1, &[3]), target(20, 1, &[4])];
        assert_eq!(found(&targets), [(3, 1, 0), (1, 1, 1), (4, 1, 1), (2, 1, 2)]);
    }

    #[test]
    fn there_are_no_more_tiers_than_there_may_be() {
        let targets: Vec<Target> = (0..30).map(|n| target(u16::from(n), 1, &[n])).collect();
        let tiers: Vec<u8> = found(&targets).into_iter().map(|(_, _, tier)| tier).collect();
        let last = limits::TIERS - 1;
        assert_eq!(tiers[..11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]);
        assert!(tiers[10..].iter().all(|tier| *tier == last));
    }

    #[test]
    fn the_addresses_of_a_target_part_its_share() {
        let targets = [target(0, 10, &[1]), target(0, 10, &[2, 3])];
        assert_eq!(found(&targets), [(1, 20, 0), (2, 10, 0), (3, 10, 0)]);
        let both_have_two = [target(0, 3, &[1, 2]), target(0, 5, &[3, 4])];
        assert_eq!(found(&both_have_two), [(1, 3, 0), (2, 3, 0), (3, 5, 0), (4, 5, 0)]);
    }

    #[test]
    fn a_target_without_an_address_keeps_its_tier_free() {
        assert_eq!(found(&[target(1, 5, &[]), target(2, 5, &[9])]), [(9, 5, 1)]);
        assert_eq!(found(&[]), []);
    }
}
