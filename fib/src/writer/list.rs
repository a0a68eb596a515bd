//! What the writer holds, listed, and a prefix set as a whole: for comparing with the kernel, and for repairs.
//!
//! Invariant: what waits to be withdrawn is not listed; it is gone as far as the kernel is concerned.

use std::net::IpAddr;

use super::{Out, Writer};
use crate::adjacency::Neighbour;
use crate::error::FibError;
use crate::ip::Ip;
use crate::prefix::Prefix;
use crate::route::{NexthopObject, Route};

impl Writer {
    /// Every table and prefix that holds a route, by table, then address.
    pub fn prefixes<A: Ip>(&self) -> impl Iterator<Item = (u32, Prefix<A>)> {
        let mut last = None;
        let all = A::family(&self.families).rib.iter();
        let live = all.filter(|(_, alias)| !self.nexthops.is_condemned(alias.group));
        live.map(|(dst, alias)| (alias.body.table, dst))
            .filter(move |place| last.replace(*place) != Some(*place))
    }

    /// How many routes a family has. Linear in that number.
    pub fn count<A: Ip>(&self) -> usize {
        let all = A::family(&self.families).rib.iter();
        all.filter(|(_, alias)| !self.nexthops.is_condemned(alias.group)).count()
    }

    /// What a prefix holds, in the kernel's order.
    pub fn routes_at<A: Ip>(&self, table: u32, dst: Prefix<A>) -> Vec<Route<A>> {
        let list = A::family(&self.families).rib.aliases(table, dst).iter();
        let live = list.filter(|alias| !self.nexthops.is_condemned(alias.group));
        live.map(|alias| Route { dst, ..Route::clone(&alias.body) }).collect()
    }

    /// Makes `routes` all that a prefix holds; equal keys stay in the order given. The fields `table` and `dst` of the routes
    /// must be those of the call. Fails like [`insert`](Writer::insert), and then nothing has changed.
    pub fn set_routes<A: Ip>(
        &mut self,
        table: u32,
        dst: Prefix<A>,
        routes: &[Route<A>],
    ) -> Result<(), FibError> {
        let out = Out { state: &self.state, limbo: &self.limbo };
        A::family_mut(&mut self.families).set(table, dst, routes, &mut self.nexthops, out)
    }

    /// All nexthop objects by rising id.
    pub fn nexthops(&self) -> impl Iterator<Item = NexthopObject> {
        self.nexthops.objects()
    }

    /// What is known of a neighbour. O(1).
    pub fn neighbour(&self, oif: u32, addr: IpAddr) -> Option<Neighbour> {
        self.nexthops.neighbour(oif, addr)
    }

    /// All neighbours that are known, in no order.
    pub fn neighbours(&self) -> impl Iterator<Item = (u32, IpAddr, Neighbour)> {
        self.nexthops.neighbours()
    }
}
