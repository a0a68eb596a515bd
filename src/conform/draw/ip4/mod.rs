//! IPv4 routers and frames. Called by `draw`.
//!
//! Drawn: links of MTUs from 300 to 9000, some down or without carrier; addresses of every length and scope, secondary ones, on
//! lo, none at all; neighbours and proxies; routes of every type with TOS, metrics, MTU, preferred source, scope, onlink,
//! several ways, gateways of both families, nexthop objects and groups; rules with every matcher and action; the sysctls
//! that the path reads. Frames: header fields at their edges, options right and off by one, every class of address,
//! frames for groups and other stations, padding, truncation, MTU edges, ICMP with quotes, packets in packets.
//!
//! Not drawn: multicast routing, realms, marks, tunnels, several default routes in one table (the kernel takes turns); source
//! routes whose passed places are the router's own, broadcasts sent on by lo (both go round inside the kernel); source routes
//! whose passed places are groups, so that an error would be for all of one; ICMP that asks for the time; buckets of a resilient group that loses a member.

pub mod flows;
mod frames;
mod net;
mod options;
mod payload;
mod routes;
mod rules;
mod site;
mod sysctls;
mod told;

pub use frames::{frames, telling};
pub use told::listens;

use super::lot::Lot;
use super::set;
use crate::scenario::Scenario;
use ipnet::Ipv4Net;

/// A router: links with addresses and neighbours, next hops, routes, rules, sysctls. Where packets may wait (`slow`), many of
/// its next hops do not answer.
pub fn scenario(lot: &mut Lot, slow: bool) -> Scenario {
    let mut scenario = Scenario::default();
    net::draw(lot, &mut scenario, slow);
    let pools = routes::Pools::draw(lot);
    routes::draw(lot, &mut scenario, &pools, slow);
    rules::draw(lot, &mut scenario, &pools);
    sysctls::draw(lot, &mut scenario, slow);
    scenario
}

/// The first bits of an address as a prefix.
fn prefix(bits: u32, len: usize) -> Ipv4Net {
    let len = u8::try_from(len).unwrap_or(32).min(32);
    Ipv4Net::new(bits.into(), len).unwrap_or_default().trunc()
}
