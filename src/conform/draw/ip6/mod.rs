//! IPv6 routers and frames. Called by `draw`.
//!
//! What is not drawn, and why:
//!
//! * Segment routing headers to be followed behind other headers, and RPL headers that lead further than to the next
//!   host: a kernel writes outside such packets.
//! * IOAM namespaces and CALIPSO domains: scenarios cannot set them up. Options of unknown ones are drawn.
//! * MLD to the router: it changes nothing that is sent on, and answers to queries wait for a time drawn by lot.
//! * Neighbours in the state incomplete: the search ends during the run. Slow boxes have what comes of such a search.
//! * Solicitations of proxied and anycast addresses by multicast: the kernel answers after a time drawn by lot.
//! * Removed routes beside routes for some sources of the same prefix: what the kernel finds then depends on all that was
//!   there before (fib6_find_prefix).
//! * Tentative, optimistic and temporary addresses: a box checks none for duplicates, and temporary ones are made by lot.
//! * Path MTUs to the router itself: it would cut what it says to itself, and the host behind puts fragments together.
//! * Sockets of programs, IPsec, tunnels, filters, VRF: not in the language of scenarios.

pub mod flows;
mod frames;
mod headers;
mod ndisc;
mod net;
mod options;
mod payload;
mod routes;
mod rules;
mod site;
mod sysctls;
mod told;

pub use frames::{discovery, frames, telling};
pub use told::listens;

use super::lot::Lot;
use super::{net as prefix, set};
use crate::scenario::Scenario;

/// A router: links with addresses and neighbours, next hops, routes, rules, sysctls.
/// If `slow`, next hops that do not answer fail soon.
pub fn scenario(lot: &mut Lot, slow: bool) -> Scenario {
    let mut scenario = Scenario::default();
    net::draw(lot, &mut scenario, slow);
    let pools = routes::Pools::draw(lot);
    routes::draw(lot, &mut scenario, &pools);
    rules::draw(lot, &mut scenario, &pools);
    sysctls::draw(lot, &mut scenario, slow);
    scenario
}
