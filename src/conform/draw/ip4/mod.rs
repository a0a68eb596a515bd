//! IPv4 routers and frames. Called by `draw`.
//!
//! Not drawn: multicast routing, realms, marks, tunnels; options in packets for the router itself that would be answered,
//! as the host's side does not answer along them; ICMP that teaches the router other ways or MTUs.

mod frames;
mod net;
mod options;
mod payload;
mod routes;
mod rules;
mod site;
mod sysctls;

pub use frames::frames;

use super::lot::Lot;
use super::set;
use crate::scenario::Scenario;
use ipnet::Ipv4Net;

/// A router: links with addresses and neighbours, next hops, routes, rules, sysctls.
pub fn scenario(lot: &mut Lot) -> Scenario {
    let mut scenario = Scenario::default();
    net::draw(lot, &mut scenario);
    let pools = routes::Pools::draw(lot);
    routes::draw(lot, &mut scenario, &pools);
    rules::draw(lot, &mut scenario, &pools);
    sysctls::draw(lot, &mut scenario);
    scenario
}

/// The first bits of an address as a prefix.
fn prefix(bits: u32, len: usize) -> Ipv4Net {
    let len = u8::try_from(len).unwrap_or(32).min(32);
    Ipv4Net::new(bits.into(), len).unwrap_or_default().trunc()
}
