//! IPv6 routers and frames. Called by `draw`.

pub mod flows;
mod frames;
mod headers;
mod net;
mod options;
mod payload;
mod routes;
mod rules;
mod site;
mod sysctls;

pub use frames::frames;

use super::lot::Lot;
use super::{net as prefix, set};
use crate::scenario::Scenario;

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
