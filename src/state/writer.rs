//! The one writer of the published state. Control feeds it from netlink, `scenario` from a file; both call `publish`.

use super::{Exception, Exceptions, Left, Shared, State};
use crate::iface::{Iface, LinkKind};
use crate::stats::MAX_SLOTS;
use crate::sysctl::SysctlError;
use ahash::{AHashMap, AHashSet};
use arc_swap::ArcSwap;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use warren_fib::{
    FibError, Hops, Ip, LinkState, Neighbour, NexthopBody, NexthopObject, Place, Prefix, Route, RouteType,
    Rule, Rules, TABLE_LOCAL,
};

/// A change that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The FIB refuses.
    #[error(transparent)]
    Fib(#[from] FibError),
    /// A sysctl cannot be set.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
}

/// What a link message says of an interface; the rest of [`Iface`] comes from other messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// What frames start with.
    pub kind: LinkKind,
    /// Hardware address.
    pub mac: [u8; 6],
    /// MTU in bytes.
    pub mtu: u32,
    /// `IFF_UP`
    pub up: bool,
    /// `IFF_LOWER_UP`
    pub carrier: bool,
}

/// Owns the draft of the next snapshot and the FIB's writer.
#[derive(Debug)]
pub struct Writer {
    fib: warren_fib::Writer,
    draft: State,
    /// The draft differs, or may differ, from what is published.
    changed: bool,
    shared: Arc<Shared>,
    /// Replaced snapshots that a worker may still hold: freed here, never on a worker.
    retired: Vec<Arc<State>>,
    slots: AHashMap<u32, u16>,
    local4: BTreeSet<(Prefix<Ipv4Addr>, u32)>,
    local6: BTreeSet<(Prefix<Ipv6Addr>, u32)>,
    /// Prefixes of IPv6 table local that are not `left`: routes that a user has put there, or that sends on.
    odd6: BTreeSet<Prefix<Ipv6Addr>>,
    /// Destinations left to the kernel for other reasons than a local route.
    extra4: Vec<Prefix<Ipv4Addr>>,
    extra6: Vec<Prefix<Ipv6Addr>>,
}

/// Most destinations of a family of which a host without a kernel remembers what it was told.
const EXCEPTIONS: usize = 4096;

/// `RTPROT_KERNEL`: a route that the kernel made itself.
pub const PROTO_KERNEL: u8 = 2;

/// A family's set of prefixes with local routes.
trait Locals: Ip {
    fn locals(w: &mut Writer) -> &mut BTreeSet<(Prefix<Self>, u32)>;
    /// A prefix of a table has changed, which may hold local routes that are not the kernel's own.
    fn settle_odd(w: &mut Writer, key: (Prefix<Self>, u32));
}

impl Locals for Ipv4Addr {
    fn locals(w: &mut Writer) -> &mut BTreeSet<(Prefix<Self>, u32)> {
        &mut w.local4
    }

    /// As the kernel, which never forgets that there was one. Linux: fib_has_custom_local_routes.
    fn settle_odd(w: &mut Writer, (dst, table): (Prefix<Self>, u32)) {
        let own = |route: &Route<Self>| route.kind != RouteType::Local || route.protocol == PROTO_KERNEL;
        if !w.draft.custom_local4 && !w.fib.routes_at(table, dst).iter().all(own) {
            (w.draft.custom_local4, w.changed) = (true, true);
        }
    }
}

impl Locals for Ipv6Addr {
    fn locals(w: &mut Writer) -> &mut BTreeSet<(Prefix<Self>, u32)> {
        &mut w.local6
    }

    fn settle_odd(w: &mut Writer, (dst, table): (Prefix<Self>, u32)) {
        if table != TABLE_LOCAL {
            return;
        }
        // No unicast packet finds the routes of multicast groups.
        let group = dst.len() >= 8 && dst.addr().is_multicast();
        let odd = !group && w.fib.routes_at(TABLE_LOCAL, dst).iter().any(|route| !is_left(route));
        w.changed |= if odd { w.odd6.insert(dst) } else { w.odd6.remove(&dst) };
    }
}

impl Writer {
    /// An empty state for up to `readers` workers. `seed` is the multipath seed while the user sets none.
    pub fn new(readers: usize, seed: u32) -> Result<(Writer, Arc<Shared>), StateError> {
        let (mut fib, handle) = warren_fib::new(readers);
        fib.merge_local_main(true)?;
        let draft = State { own_seed: seed, ..State::default() };
        let shared = Arc::new(Shared { fib: handle, state: ArcSwap::from_pointee(draft.clone()) });
        let writer = Writer {
            fib,
            draft,
            changed: false,
            shared: Arc::clone(&shared),
            retired: Vec::new(),
            slots: AHashMap::new(),
            local4: BTreeSet::new(),
            local6: BTreeSet::new(),
            odd6: BTreeSet::new(),
            extra4: Vec::new(),
            extra6: Vec::new(),
        };
        Ok((writer, shared))
    }

    /// The snapshot that is being prepared.
    pub fn draft(&self) -> &State {
        &self.draft
    }

    /// The snapshot that is being prepared, to change what no other method covers.
    pub fn draft_mut(&mut self) -> &mut State {
        self.changed = true;
        &mut self.draft
    }

    /// Whether there is something for [`publish`](Writer::publish); routes and neighbours need only
    /// [`publish_routes`](Writer::publish_routes).
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// Adds an interface, or changes what its link says; a new one starts with the `default` sysctls.
    pub fn set_link(&mut self, link: LinkInfo) {
        let next = u16::try_from(self.slots.len()).unwrap_or(u16::MAX).min(MAX_SLOTS as u16 - 1);
        let slot = *self.slots.entry(link.index).or_insert(next);
        let known = self.draft.ifaces.get(link.index).cloned();
        let sysctl = &self.draft.sysctl;
        let mut iface = known.unwrap_or_else(|| {
            let mut new = Iface::new(link.index, &link.name, link.mac);
            (new.conf4, new.conf6) = (sysctl.default4, sysctl.default6);
            new.conf6.mtu = i64::from(link.mtu);
            new
        });
        if iface.mtu != link.mtu {
            // Linux: addrconf_notify sets conf/DEV/mtu anew with every change of the link's MTU.
            iface.conf6.mtu = i64::from(link.mtu);
        }
        (iface.slot, iface.name, iface.kind, iface.mac) = (slot, link.name, link.kind, link.mac);
        (iface.mtu, iface.up, iface.carrier) = (link.mtu, link.up, link.carrier);
        let index = link.index;
        if self.draft.ifaces.get(index) != Some(&iface) {
            self.draft_mut().ifaces.set(iface);
        }
        self.link_to_fib(index);
    }

    /// Removes an interface with everything on it.
    pub fn remove_link(&mut self, index: u32) {
        self.draft_mut().ifaces.remove(index);
        self.fib.remove_link(index);
    }

    /// Tells the FIB which next hops an interface's state and sysctls leave usable.
    fn link_to_fib(&mut self, index: u32) {
        let Some(i) = self.draft.ifaces.get(index) else { return };
        let all4 = self.draft.sysctl.all4.ignore_routes_with_linkdown;
        self.fib.set_link(LinkState {
            index,
            up: i.up,
            carrier: i.carrier,
            ignore_linkdown4: crate::sysctl::combine::or(all4, i.conf4.ignore_routes_with_linkdown),
            ignore_linkdown6: i.conf6.ignore_routes_with_linkdown != 0,
        });
    }

    /// Changes an interface's addresses, groups, sysctls. False if there is none with this index.
    pub fn update_iface(&mut self, index: u32, change: impl FnOnce(&mut Iface)) -> bool {
        let found = self.draft_mut().ifaces.update(index, change);
        if found {
            self.link_to_fib(index);
        }
        found
    }

    /// Adds a route where the kernel put it.
    pub fn insert4(&mut self, route: Route<Ipv4Addr>, place: Place) -> Result<(), StateError> {
        self.insert(route, place)
    }

    /// Adds a route where the kernel put it.
    pub fn insert6(&mut self, route: Route<Ipv6Addr>, place: Place) -> Result<(), StateError> {
        self.insert(route, place)
    }

    fn insert<A: Locals>(&mut self, route: Route<A>, place: Place) -> Result<(), StateError> {
        let (key, left) = ((route.dst, route.table), is_left(&route));
        self.fib.insert(route, place)?;
        if left && A::locals(self).insert(key) {
            self.changed = true;
        }
        // What was replaced may have been the reason.
        self.settle_locals(key);
        Ok(())
    }

    /// Makes these routes all that an IPv4 prefix of a table holds; equal keys stay in the order given.
    pub fn set_routes4(
        &mut self,
        table: u32,
        dst: Prefix<Ipv4Addr>,
        routes: &[Route<Ipv4Addr>],
    ) -> Result<(), StateError> {
        self.set_routes(table, dst, routes)
    }

    /// Makes these routes all that an IPv6 prefix of a table holds; equal keys stay in the order given.
    pub fn set_routes6(
        &mut self,
        table: u32,
        dst: Prefix<Ipv6Addr>,
        routes: &[Route<Ipv6Addr>],
    ) -> Result<(), StateError> {
        self.set_routes(table, dst, routes)
    }

    fn set_routes<A: Locals>(
        &mut self,
        table: u32,
        dst: Prefix<A>,
        routes: &[Route<A>],
    ) -> Result<(), StateError> {
        self.fib.set_routes(table, dst, routes)?;
        if routes.iter().any(is_left) && A::locals(self).insert((dst, table)) {
            self.changed = true;
        }
        self.settle_locals((dst, table));
        Ok(())
    }

    /// Takes a prefix from those left to the kernel if no route of it is a reason any more.
    fn settle_locals<A: Locals>(&mut self, key: (Prefix<A>, u32)) {
        A::settle_odd(self, key);
        if A::locals(self).contains(&key) && !self.fib.routes_at(key.1, key.0).iter().any(is_left) {
            A::locals(self).remove(&key);
            self.changed = true;
        }
    }

    /// Removes a route as the kernel finds it; false if there is none.
    pub fn remove4(&mut self, route: &Route<Ipv4Addr>) -> Result<bool, StateError> {
        self.remove(route)
    }

    /// Removes a route as the kernel finds it; false if there is none.
    pub fn remove6(&mut self, route: &Route<Ipv6Addr>) -> Result<bool, StateError> {
        self.remove(route)
    }

    fn remove<A: Locals>(&mut self, route: &Route<A>) -> Result<bool, StateError> {
        let found = self.fib.remove(route)?;
        self.settle_locals((route.dst, route.table));
        Ok(found)
    }

    /// Every route, as the kernel has them.
    pub fn routes<A: Ip>(&self) -> impl Iterator<Item = Route<A>> {
        self.fib.routes::<A>()
    }

    /// What a prefix holds, in the kernel's order.
    pub fn routes_at<A: Ip>(&self, table: u32, dst: Prefix<A>) -> Vec<Route<A>> {
        self.fib.routes_at(table, dst)
    }

    /// Every table and prefix that holds a route, by table, then address.
    pub fn prefixes<A: Ip>(&self) -> impl Iterator<Item = (u32, Prefix<A>)> {
        self.fib.prefixes()
    }

    /// How many routes a family has. Linear in that number.
    pub fn count<A: Ip>(&self) -> usize {
        self.fib.count::<A>()
    }

    /// All nexthop objects by rising id.
    pub fn nexthops(&self) -> impl Iterator<Item = NexthopObject> {
        self.fib.nexthops()
    }

    /// The nexthop object with this id. Linear in their number.
    pub fn nexthop(&self, id: u32) -> Option<NexthopBody> {
        self.fib.nexthops().find(|object| object.id == id).map(|object| object.body)
    }

    /// What is known of a neighbour. O(1).
    pub fn neighbour(&self, oif: u32, addr: IpAddr) -> Option<Neighbour> {
        self.fib.neighbour(oif, addr)
    }

    /// All neighbours that are known, in no order.
    pub fn neighbours(&self) -> impl Iterator<Item = (u32, IpAddr, Neighbour)> {
        self.fib.neighbours()
    }

    /// Notes whether an interface has an IPv4 address: with the last one all IPv4 routes through it go in silence.
    pub fn set_addressed4(&mut self, index: u32, addressed: bool) {
        self.fib.set_addressed4(index, addressed);
    }

    /// Adds or replaces a nexthop object.
    pub fn set_nexthop(&mut self, object: NexthopObject) -> Result<(), StateError> {
        Ok(self.fib.set_nexthop(object)?)
    }

    /// Removes a nexthop object with what hangs on it; false if there is none.
    pub fn remove_nexthop(&mut self, id: u32) -> bool {
        self.fib.remove_nexthop(id)
    }

    /// Notes what is known of a neighbour.
    pub fn set_neighbour(&mut self, oif: u32, addr: IpAddr, neighbour: Option<Neighbour>) {
        self.fib.set_neighbour(oif, addr, neighbour);
    }

    /// Replaces all IPv4 rules. As long as they have always been the kernel's own, tables local and main answer as one.
    pub fn set_rules4(&mut self, rules: Vec<Rule<Ipv4Addr>>) -> Result<(), StateError> {
        let rules = Rules::new(rules);
        if rules.custom() {
            // Linux: fib_unmerge. It stays so when the rules go again.
            self.fib.merge_local_main(false)?;
        }
        self.draft_mut().rules4 = rules;
        Ok(())
    }

    /// Replaces all IPv6 rules.
    pub fn set_rules6(&mut self, rules: Vec<Rule<Ipv6Addr>>) {
        self.draft_mut().rules6 = Rules::new(rules);
    }

    /// Replaces the destinations that are left to the kernel besides those with local routes.
    pub fn set_extra_left(&mut self, v4: Vec<Prefix<Ipv4Addr>>, v6: Vec<Prefix<Ipv6Addr>>) {
        self.changed |= (&v4, &v6) != (&self.extra4, &self.extra6);
        (self.extra4, self.extra6) = (v4, v6);
    }

    /// What would be left to the kernel if the draft were published now.
    pub fn left(&self) -> Left {
        let proxies = self.draft.ifaces.iter().flat_map(|i| i.proxies6.iter().map(|&a| Prefix::host(a)));
        let v4 = self.local4.iter().map(|&(p, _)| p).chain(self.extra4.iter().copied());
        let v6 = self.local6.iter().map(|&(p, _)| p).chain(self.extra6.iter().copied()).chain(proxies);
        Left::new(v4, v6)
    }

    /// Removes routes that died with their link, a slice at a time; true while more is to do.
    pub fn withdraw(&mut self, budget: usize) -> bool {
        let more = self.fib.withdraw(budget);
        if !more {
            let (fib, before) = (&self.fib, (self.local4.len(), self.local6.len()));
            self.local4.retain(|&(dst, table)| fib.routes_at(table, dst).iter().any(is_left));
            self.local6.retain(|&(dst, table)| fib.routes_at(table, dst).iter().any(is_left));
            self.odd6.retain(|&dst| fib.routes_at(TABLE_LOCAL, dst).iter().any(|route| !is_left(route)));
            self.changed |= before != (self.local4.len(), self.local6.len());
        }
        more
    }

    /// Whether a route's own next hop on an interface has this gateway. Linear in the routes of the family.
    pub fn has_gateway<A: Ip>(&self, oif: u32, via: Option<IpAddr>) -> bool {
        let has = |hops: Hops| match hops {
            Hops::List(hops) => hops.iter().any(|hop| (hop.oif, hop.via) == (oif, via)),
            Hops::None | Hops::Object(_) => false,
        };
        self.fib.routes::<A>().any(|route| has(route.hops))
    }

    /// Notes what the host was told of an IPv4 destination. With too many destinations it is refused until some have ended
    /// by `now`.
    pub fn set_exception4(&mut self, dst: Ipv4Addr, exception: Exception<Ipv4Addr>, now: u64) {
        self.changed |= note(&mut self.draft.exceptions4, dst, exception, now);
    }

    /// As [`set_exception4`](Writer::set_exception4), of an IPv6 destination.
    pub fn set_exception6(&mut self, dst: Ipv6Addr, exception: Exception<Ipv6Addr>, now: u64) {
        self.changed |= note(&mut self.draft.exceptions6, dst, exception, now);
    }

    /// Replaces all that the host was told of destinations.
    pub fn set_exceptions(&mut self, v4: Exceptions<Ipv4Addr>, v6: Exceptions<Ipv6Addr>) {
        let draft = &mut self.draft;
        self.changed |= (&draft.exceptions4, &draft.exceptions6) != (&v4, &v6);
        (draft.exceptions4, draft.exceptions6) = (v4, v6);
    }

    /// Makes the draft what workers read from their next batch on.
    pub fn publish(&mut self) {
        self.draft.left = self.left();
        self.draft.own4 = own4(&self.draft);
        self.draft.odd_local6 = !self.odd6.is_empty();
        self.draft.generation += 1;
        self.changed = false;
        let old = self.shared.state.swap(Arc::new(self.draft.clone()));
        self.retired.push(old);
        self.fib.publish();
        self.reclaim();
    }

    /// Publishes changes of routes and neighbours alone, which need no new snapshot.
    pub fn publish_routes(&mut self) {
        self.fib.publish();
    }

    /// Frees what no worker holds any more. To be called now and then.
    pub fn reclaim(&mut self) {
        self.retired.retain(|s| Arc::strong_count(s) > 1);
        self.fib.publish();
    }
}

/// Whether a route leaves its destinations to the kernel.
fn is_left<A>(route: &Route<A>) -> bool {
    route.encap || matches!(route.kind, RouteType::Local | RouteType::Broadcast | RouteType::Anycast)
}

/// Whether there was room for an exception.
fn note<A: Ip>(all: &mut Exceptions<A>, dst: A, exception: Exception<A>, now: u64) -> bool {
    if all.len() >= EXCEPTIONS && !all.contains(dst) {
        all.age(now);
    }
    let room = all.len() < EXCEPTIONS || all.contains(dst);
    if room {
        all.set(dst, exception);
    }
    room
}

fn own4(state: &State) -> AHashSet<Ipv4Addr> {
    state.ifaces.iter().flat_map(|i| i.addrs4.iter().map(|a| a.addr)).collect()
}
