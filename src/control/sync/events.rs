//! What each event does to the mirror, and what the kernel did besides without telling.
//!
//! Invariant: applying an event twice, or one that a dump has shown already, changes nothing that a later event does not put
//! right. Called by the mirror for each event, and by `audit` to repair.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use warren_fib::{FibError, Hops, NexthopBody, NexthopObject, Prefix, Route};

use super::convert::{self, Addr};
use super::{Mirror, SyncError, address, clock, sysctls, uncarried};
use crate::control::netlink::{
    AddressMsg, Bucket, Error, Event, Family, LinkMsg, Mode, NeighbourMsg, NexthopKind, NexthopMsg, RouteMsg,
    Socket, flag,
};
use crate::iface::LinkKind;
use crate::state::{LinkInfo, StateError};

/// `RTN_MULTICAST` in a neighbour: made up by the kernel for its own use.
pub(super) const MULTICAST: u8 = 5;

/// Dumps the buckets of a resilient group; none for all else.
pub(super) fn buckets(requests: &mut Socket, msg: &NexthopMsg) -> Result<Vec<Bucket>, Error> {
    match msg.kind {
        NexthopKind::Group { resilient: Some(_), .. } => requests.buckets(msg.id),
        _ => Ok(Vec::new()),
    }
}

/// What the state keeps of a link message.
pub(super) fn link_info(link: &LinkMsg) -> LinkInfo {
    LinkInfo {
        index: link.index,
        name: link.name.clone(),
        kind: match link.arphrd {
            libc::ARPHRD_ETHER => LinkKind::Ethernet,
            libc::ARPHRD_LOOPBACK => LinkKind::Loopback,
            _ => LinkKind::Raw,
        },
        mac: link.mac.unwrap_or_default(),
        mtu: link.mtu,
        up: link.is_up(),
        // Linux: fib_netdev_event and nh_netdev_event ask for either of the two.
        carrier: link.is_running() || link.is_lower_up(),
    }
}

impl Mirror {
    /// Applies one event.
    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Link(link) => self.link(link),
            Event::LinkGone(link) => self.link_gone(link.index),
            Event::Address(msg) => self.address(&msg),
            Event::AddressGone(msg) => self.address_gone(&msg),
            Event::Neighbour(msg) => self.neighbour(&msg, true),
            Event::NeighbourGone(msg) => self.neighbour(&msg, false),
            Event::Route4(msg, mode) => self.route::<Ipv4Addr>(&msg, mode),
            Event::Route6(msg, mode) => self.route::<Ipv6Addr>(&msg, mode),
            Event::Route4Gone(msg) => self.route_gone::<Ipv4Addr>(&msg),
            Event::Route6Gone(msg) => self.route_gone::<Ipv6Addr>(&msg),
            Event::Rule(_) | Event::RuleGone(_) => self.stale.rules = true,
            Event::Nexthop(msg) => self.nexthop(&msg),
            Event::NexthopGone(msg) => self.nexthop_gone(msg.id),
            Event::Bucket(_) => self.stale.nexthops = true,
            Event::Netconf(msg) => {
                sysctls::take_netconf(&mut self.writer, &msg);
                // Linux 6.17 announces force_forwarding without its value.
                self.stale.sysctls = true;
            }
            Event::NetconfGone(_) => self.stale.sysctls = true,
            Event::Ignored(_) | Event::Exception(_) => {}
        }
    }

    /// A link is new or changed. Routes and next-hop objects go with its state in silence; the writer sees to that.
    pub(super) fn link(&mut self, link: LinkMsg) {
        let before = self.links.get(&link.index).cloned();
        let state = |link: &LinkMsg| (link.is_up(), link.is_running(), link.is_lower_up());
        let was = before.as_ref().map(state);
        self.doomed6.retain(|(index, _)| *index != link.index);
        if !link.is_up() && was.is_some_and(|(up, ..)| up) {
            let iface = self.writer.draft().ifaces.get(link.index);
            let addrs = iface.into_iter().flat_map(|iface| &iface.addrs6);
            self.doomed6.extend(addrs.map(|a| (link.index, a.addr)));
        }
        if was != Some(state(&link)) {
            self.disturbed.all = true;
            self.withdrawing = true;
            self.stale.sysctls = true;
        }
        self.writer.set_link(link_info(&link));
        sysctls::take_arrays(&mut self.writer, &link);
        // Names in rules stand for other links now.
        self.stale.rules |= before.as_ref().is_none_or(|before| before.name != link.name);
        if let Some(before) = before.filter(|before| before.mtu != link.mtu) {
            // The message was made before IPv6 took over the new MTU. Linux: addrconf_notify (NETDEV_CHANGEMTU).
            self.writer.update_iface(link.index, |iface| iface.conf6.mtu = i64::from(link.mtu));
            self.mtu_changed(link.index, link.mtu, before.mtu);
        }
        self.uncarried.link(&link);
        self.changes.links = true;
        self.links.insert(link.index, link);
    }

    /// A link is gone with all that is on it.
    pub(super) fn link_gone(&mut self, index: u32) {
        self.writer.remove_link(index);
        self.links.remove(&index);
        let left = self.writer.neighbours().filter(|(oif, ..)| *oif == index).map(|(_, addr, _)| addr);
        for addr in left.collect::<Vec<_>>() {
            self.writer.set_neighbour(index, addr, None);
        }
        self.uncarried.link_gone(index);
        self.disturbed.all = true;
        self.withdrawing = true;
        self.stale.rules = true;
        self.changes.links = true;
    }

    fn address(&mut self, msg: &AddressMsg) {
        self.writer.update_iface(msg.index, |iface| address::put(iface, msg));
        match msg.prefix.addr() {
            IpAddr::V4(_) => self.writer.set_addressed4(msg.index, true),
            IpAddr::V6(_) => self.stale.addresses6 = true,
        }
        self.stale.sysctls = true;
    }

    /// An address is gone. With the last IPv4 one all IPv4 routes of the interface go (fib_disable_ip).
    fn address_gone(&mut self, msg: &AddressMsg) {
        self.writer.update_iface(msg.index, |iface| address::take(iface, msg));
        let iface = self.writer.draft().ifaces.get(msg.index);
        match msg.prefix.addr() {
            IpAddr::V4(_) if iface.is_some_and(|iface| iface.addrs4.is_empty()) => {
                self.writer.set_addressed4(msg.index, false);
                self.disturbed.all = true;
                self.withdrawing = true;
            }
            IpAddr::V4(_) => {}
            IpAddr::V6(addr) => self.prefsrc_gone(msg.index, addr),
        }
        self.stale.sysctls = true;
    }

    fn neighbour(&mut self, msg: &NeighbourMsg, here: bool) {
        if msg.flags & flag::PROXY != 0 {
            self.stale.proxies = true;
        } else if msg.kind != MULTICAST {
            let neighbour = convert::neighbour(msg).filter(|_| here);
            self.writer.set_neighbour(msg.index, msg.to, neighbour);
            self.wishes.answered(msg.index, msg.to);
            self.changes.neighbours = true;
        }
    }

    fn route<A: Addr>(&mut self, msg: &RouteMsg, mode: Mode) {
        let Some(route) = convert::route::<A>(msg, clock()) else { return };
        self.disturb(&route);
        self.note(&route);
        self.changes.routes = true;
        if let Err(error) = A::insert(&mut self.writer, route, convert::place(mode)) {
            self.failed(A::FAMILY, &error);
        }
    }

    fn route_gone<A: Addr>(&mut self, msg: &RouteMsg) {
        let Some(mut route) = convert::route::<A>(msg, clock()) else { return };
        self.disturb(&route);
        self.changes.routes = true;
        if A::V6 {
            let routes = self.writer.routes_at(route.table, route.dst);
            let mixed = routes.iter().filter(|r| r.metric == route.metric).count() > 1;
            match named(routes, &route) {
                Named::Whole(ours) => route = ours,
                // Where the other legs stand among other routes of this metric is not told.
                Named::Legs if mixed => self.rest.hurry(std::time::Duration::from_secs(1)),
                Named::Legs => {}
                // It went with its link already. As a request it might fit another route; a notification is exact.
                Named::Nothing => return,
            }
        }
        if let Err(error) = A::remove(&mut self.writer, &route) {
            self.failed(A::FAMILY, &error);
        }
    }

    /// A change that was refused: by a limit, or because a silent removal was faster than its cause.
    pub(super) fn failed(&mut self, family: Family, error: &StateError) {
        match error {
            StateError::Fib(FibError::UnknownNexthop { .. } | FibError::NotAMember { .. }) => {
                self.stale.nexthops = true;
                self.rest.hurry(std::time::Duration::ZERO);
            }
            _ => self.refuse(family, error),
        }
    }

    /// Keeps in mind that a dump under way may show the old state of a prefix.
    fn disturb<A: Addr>(&mut self, route: &Route<A>) {
        if !self.disturbed.wanted {
            return;
        }
        let (table, dst) = (route.table, route.dst);
        match dst.addr().into() {
            IpAddr::V4(addr) => {
                self.disturbed.v4.extend(Prefix::new(addr, dst.len()).map(|dst| (table, dst)));
            }
            IpAddr::V6(addr) => {
                self.disturbed.v6.extend(Prefix::new(addr, dst.len()).map(|dst| (table, dst)));
            }
        }
    }

    /// Notes what makes later silence matter, and what warren does not carry.
    pub(super) fn note<A: Addr>(&mut self, route: &Route<A>) {
        if let Some(IpAddr::V6(addr)) = route.prefsrc.map(Into::into) {
            self.prefsrcs6.insert(addr);
        }
        self.mtus6 |= A::V6 && route.mtu != 0;
        self.several |= match &route.hops {
            Hops::None => false,
            Hops::List(hops) => hops.len() > 1,
            Hops::Object(_) => true,
        };
        if self.uncarried.route(route) {
            self.uncarried.apply(&mut self.writer);
        }
    }

    /// A next-hop object is new or changed.
    pub(super) fn nexthop(&mut self, msg: &NexthopMsg) {
        let Ok(buckets) = buckets(&mut self.requests, msg) else {
            // It changed again meanwhile.
            self.stale.nexthops = true;
            return;
        };
        let Some(object) = convert::nexthop(msg, &buckets) else { return };
        let tunnel = matches!(&object.body, NexthopBody::Single(hop) if hop.encap);
        self.uncarried.rescan |= tunnel || self.uncarried.any();
        self.changes.routes = true;
        if let Err(error) = self.writer.set_nexthop(object) {
            self.failed(Family::V4, &error);
            self.failed(Family::V6, &error);
        }
    }

    /// A next-hop object is gone; its routes go in silence.
    pub(super) fn nexthop_gone(&mut self, id: u32) {
        self.writer.remove_nexthop(id);
        self.disturbed.all = true;
        self.withdrawing = true;
        self.changes.routes = true;
    }

    /// IPv6 routes with an MTU follow their link's, if they have what IPv6 had there: fib6_nh_mtu_change. `before` is the link's
    /// last MTU; the sysctl may be smaller.
    fn mtu_changed(&mut self, index: u32, mtu: u32, before: u32) {
        if !self.mtus6 {
            return;
        }
        let sysctl = self.writer.draft().ifaces.get(index).map_or(0, |iface| iface.conf6.mtu);
        let smaller = u32::try_from(sysctl).ok().filter(|sysctl| *sysctl < before && *sysctl != mtu);
        let objects = self.writer.nexthops().collect::<Vec<_>>();
        let on_link = |id: u32| {
            let single = |o: &NexthopObject| matches!(&o.body, NexthopBody::Single(hop) if hop.oif == index);
            let named = |o: &&NexthopObject| o.id == id;
            let member =
                |o: &NexthopObject, id: u32| o.body.members().iter().any(|(member, _)| *member == id);
            let group = objects.iter().find(named);
            objects
                .iter()
                .any(|o| single(o) && (o.id == id || group.is_some_and(|group| member(group, o.id))))
        };
        self.rewrite6(|route| {
            let uses = match &route.hops {
                Hops::List(hops) => hops.first().is_some_and(|hop| hop.oif == index),
                Hops::Object(id) => route.mtu != 0 && on_link(*id),
                Hops::None => false,
            };
            let follows = route.mtu >= mtu || route.mtu == smaller.unwrap_or(before);
            if uses && route.mtu != 0 && !route.mtu_lock && follows {
                route.mtu = mtu;
            }
        });
    }

    /// IPv6 routes that prefer an address lose the preference with it: fib6_remove_prefsrc. Not while their own link still has it, or
    /// for a global address any link; nor if the address goes because its link or IPv6 there does (addrconf_ifdown).
    fn prefsrc_gone(&mut self, index: u32, addr: Ipv6Addr) {
        let doomed = self.doomed6.remove(&(index, addr));
        let iface = self.writer.draft().ifaces.get(index);
        let enabled = iface.is_some_and(|iface| sysctls::has_ipv6(&iface.name));
        if doomed || !enabled || !self.prefsrcs6.contains(&addr) {
            return;
        }
        let with =
            self.writer.draft().ifaces.iter().filter(|iface| iface.addrs6.iter().any(|a| a.addr == addr));
        let still: Vec<u32> = with.map(|iface| iface.index).collect();
        if !still.is_empty() && !addr.is_unicast_link_local() {
            return;
        }
        self.rewrite6(|route| {
            let first = match &route.hops {
                Hops::List(hops) => hops.first(),
                Hops::None | Hops::Object(_) => None,
            };
            let kept = first.is_some_and(|hop| still.contains(&hop.oif));
            let own_hops = !matches!(route.hops, Hops::Object(_));
            if route.prefsrc == Some(addr) && own_hops && !kept {
                route.prefsrc = None;
            }
        });
    }

    /// Changes IPv6 routes as the kernel does, without an event. Linear in the number of routes.
    fn rewrite6(&mut self, change: impl Fn(&mut Route<Ipv6Addr>)) {
        self.disturbed.all = true;
        for (table, dst) in self.writer.prefixes::<Ipv6Addr>().collect::<Vec<_>>() {
            let before = self.writer.routes_at(table, dst);
            let mut after = before.clone();
            after.iter_mut().for_each(&change);
            if after != before
                && let Err(error) = self.writer.set_routes6(table, dst, &after)
            {
                self.refuse(Family::V6, &error);
            }
        }
    }

    /// Reads anew what events have made stale.
    pub(super) fn refresh(&mut self) -> Result<(), SyncError> {
        let stale = std::mem::take(&mut self.stale);
        if stale.addresses6 {
            self.stale.addresses6 = is_open(self.order_addresses6())?;
        }
        if stale.sysctls {
            self.stale.sysctls = is_open(self.check_sysctls())?;
        }
        if stale.rules {
            self.stale.rules = is_open(self.check_rules(true))?;
        }
        if stale.nexthops {
            self.stale.nexthops = is_open(self.check_nexthops(true))?;
        }
        if stale.proxies {
            let proxies = self.requests.proxies()?;
            uncarried::take_proxies(&mut self.writer, &mut self.uncarried, &proxies);
            self.uncarried.apply(&mut self.writer);
        }
        if self.uncarried.rescan {
            self.uncarried.scan(&mut self.writer);
        }
        Ok(())
    }
}

/// What an IPv6 notification says is gone.
enum Named<A> {
    /// This route, as the mirror has it: its MTU or preferred source may have changed in silence.
    Whole(Route<A>),
    /// Some legs of a route.
    Legs,
    Nothing,
}

/// Finds what is gone among the routes of its prefix.
fn named<A: Addr>(mut routes: Vec<Route<A>>, gone: &Route<A>) -> Named<A> {
    routes.retain(|route| (route.metric, route.src) == (gone.metric, gone.src));
    let legs = |hops: &Hops| match hops {
        Hops::List(hops) => hops.iter().map(|hop| (hop.oif, hop.via)).collect(),
        Hops::None | Hops::Object(_) => Vec::new(),
    };
    let gone_legs = legs(&gone.hops);
    let whole = |route: &Route<A>| match (&route.hops, &gone.hops) {
        (Hops::List(_), Hops::List(_)) => route.kind == gone.kind && legs(&route.hops) == gone_legs,
        (have, gone_hops) => route.kind == gone.kind && have == gone_hops,
    };
    if let Some(at) = routes.iter().position(whole) {
        return Named::Whole(routes.swap_remove(at));
    }
    let some = |route: &Route<A>| legs(&route.hops).iter().any(|leg| gone_legs.contains(leg));
    if routes.iter().any(some) { Named::Legs } else { Named::Nothing }
}

/// Whether a dump must be tried again: it was interrupted, or a message in it could not be read.
fn is_open<T>(result: Result<T, SyncError>) -> Result<bool, SyncError> {
    match result {
        Ok(_) => Ok(false),
        Err(SyncError::Netlink(Error::Interrupted { .. } | Error::Malformed { .. })) => Ok(true),
        Err(error) => Err(error),
    }
}
