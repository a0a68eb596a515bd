//! Links, neighbours, adjacencies, groups and nexthop objects: all that changes without touching a route.
//!
//! Invariant: the published record of a group always follows from its hops, the links and the objects. A group is
//! *condemned* when the kernel deletes the routes that use it (all legs lost their interface, or the object went): it is dead
//! for good, no new route gets it, and the sweep removes its routes. Called by `Writer` and, for the groups of routes, by
//! `Family`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ahash::AHashMap;

use super::Out;
use crate::adjacency::{Adjacency, AdjacencyId, Neighbour};
use crate::arena::{Intern, SLOTS};
use crate::error::FibError;
use crate::group::{Group, GroupId, GroupKind, Member, set_bounds};
use crate::ip::Ip;
use crate::prefix::Prefix;
use crate::route::{Hop, Hops, NexthopBody, NexthopObject, Route};

/// What the kernel says about an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Interface index.
    pub index: u32,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// It has a carrier (`IFF_RUNNING` and `IFF_LOWER_UP`).
    pub carrier: bool,
    /// IPv4 `ignore_routes_with_linkdown`, the larger of `all` and the interface's own.
    pub ignore_linkdown4: bool,
    /// IPv6 `ignore_routes_with_linkdown` of the interface.
    pub ignore_linkdown6: bool,
}

/// What makes two groups the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum GroupKey {
    /// The next hops of routes. `v6` because the families have a sysctl each; `host` for IPv4 local routes, whose next hop
    /// has scope NOWHERE and survives its interface (fib_sync_down_dev).
    Plain { v6: bool, host: bool, hops: Box<[Hop]> },
    /// The nexthop object with this id.
    Object(u32),
}

#[derive(Debug, Default)]
struct GroupState {
    /// One for each hop; none for groups of objects, which use those of their members.
    adjacencies: Vec<AdjacencyId>,
    condemned: bool,
    /// Interfaces of IPv4 legs that died with the last IPv4 address there, until one comes back (fib_disable_ip).
    unaddressed: Vec<u32>,
}

#[derive(Debug)]
struct Object {
    body: NexthopBody,
    group: GroupId,
}

/// The writer's half of everything below routes.
#[derive(Debug)]
pub(crate) struct Nexthops {
    groups: Intern<GroupKey, GroupState>,
    adjacencies: Intern<(u32, Option<IpAddr>), ()>,
    objects: BTreeMap<u32, Object>,
    links: AHashMap<u32, LinkState>,
    neighbours: AHashMap<(u32, IpAddr), Neighbour>,
    condemned: usize,
}

impl Nexthops {
    pub(super) fn new() -> Self {
        Nexthops {
            groups: Intern::new(SLOTS - 1),
            adjacencies: Intern::new(SLOTS - 1),
            objects: BTreeMap::new(),
            links: AHashMap::new(),
            neighbours: AHashMap::new(),
            condemned: 0,
        }
    }

    /// How many condemned groups routes still use.
    pub(super) fn condemned(&self) -> usize {
        self.condemned
    }

    /// How many groups and adjacencies there are.
    #[cfg(test)]
    pub(super) fn users(&self) -> (usize, usize) {
        (self.groups.iter().count(), self.adjacencies.iter().count())
    }

    pub(super) fn is_condemned(&self, group: Option<GroupId>) -> bool {
        let entry = group.and_then(|group| self.groups.get(group.0));
        entry.is_some_and(|entry| entry.value.condemned)
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = NexthopObject> {
        self.objects.iter().map(|(&id, object)| NexthopObject { id, body: object.body.clone() })
    }

    pub(super) fn neighbour(&self, oif: u32, addr: IpAddr) -> Option<Neighbour> {
        self.neighbours.get(&(oif, addr)).copied()
    }

    pub(super) fn neighbours(&self) -> impl Iterator<Item = (u32, IpAddr, Neighbour)> {
        self.neighbours.iter().map(|(&(oif, addr), &neighbour)| (oif, addr, neighbour))
    }

    /// The group for a route's next hops, one more user counted; `None` if its type needs none.
    pub(super) fn resolve<A: Ip>(
        &mut self,
        route: &Route<A>,
        dst: Prefix<A>,
        out: Out<'_>,
    ) -> Result<Option<GroupId>, FibError> {
        const SCOPE_HOST: u8 = 254;
        let hops = match &route.hops {
            Hops::Object(id) => {
                let unknown = || FibError::UnknownNexthop { user: dst.to_string(), id: *id };
                let group = self.objects.get(id).ok_or_else(unknown)?.group;
                self.retain(group);
                return Ok(Some(group));
            }
            Hops::List(hops) if !route.kind.is_error() && !hops.is_empty() => hops,
            Hops::List(_) | Hops::None => return Ok(None),
        };
        let key = GroupKey::Plain {
            v6: A::V6,
            host: !A::V6 && route.scope >= SCOPE_HOST,
            hops: hops.as_slice().into(),
        };
        if let Some(id) = self.groups.share(&key) {
            return Ok(Some(GroupId(id)));
        }
        let group = self.add_group(key, hops, || dst.to_string(), out)?;
        self.render(group, out);
        Ok(Some(group))
    }

    pub(super) fn retain(&mut self, group: GroupId) {
        self.groups.retain(group.0);
    }

    /// Counts one user of a group less.
    pub(super) fn release(&mut self, group: GroupId, out: Out<'_>) {
        let Some(entry) = self.groups.release(group.0, out.limbo) else { return };
        if entry.value.condemned {
            self.condemned -= 1;
        }
        for adjacency in entry.value.adjacencies {
            self.adjacencies.release(adjacency.0, out.limbo);
        }
    }

    /// A new group with the adjacencies of `hops`, not yet published.
    fn add_group(
        &mut self,
        key: GroupKey,
        hops: &[Hop],
        user: impl Fn() -> String,
        out: Out<'_>,
    ) -> Result<GroupId, FibError> {
        let adjacencies = self.adjacencies_of(hops, out)?;
        let state = GroupState { adjacencies: adjacencies.clone(), ..GroupState::default() };
        let Some(id) = self.groups.add(key, state) else {
            self.release_adjacencies(adjacencies, out);
            return Err(FibError::Groups { user: user(), limit: SLOTS - 1 });
        };
        Ok(GroupId(id))
    }

    /// One adjacency for each hop, one more user counted for each.
    fn adjacencies_of(&mut self, hops: &[Hop], out: Out<'_>) -> Result<Vec<AdjacencyId>, FibError> {
        let mut found = Vec::with_capacity(hops.len());
        for hop in hops {
            let key = (hop.oif, hop.via);
            if let Some(id) = self.adjacencies.share(&key) {
                found.push(AdjacencyId(id));
            } else if let Some(id) = self.adjacencies.add(key, ()) {
                found.push(AdjacencyId(id));
                self.render_adjacency(id, key, out);
            } else {
                self.release_adjacencies(found, out);
                return Err(FibError::Adjacencies { oif: hop.oif, limit: SLOTS - 1 });
            }
        }
        Ok(found)
    }

    fn release_adjacencies(&mut self, adjacencies: Vec<AdjacencyId>, out: Out<'_>) {
        for adjacency in adjacencies {
            self.adjacencies.release(adjacency.0, out.limbo);
        }
    }

    /// Publishes an adjacency as it is now.
    fn render_adjacency(&self, id: u32, (oif, via): (u32, Option<IpAddr>), out: Out<'_>) {
        let neighbour = via.and_then(|via| self.neighbours.get(&(oif, via)).copied());
        out.state.adjacencies.set(id, Adjacency { oif, via, neighbour }, out.limbo);
    }

    /// Notes what is known of a neighbour; `None` when its entry has gone.
    pub(super) fn set_neighbour(
        &mut self,
        oif: u32,
        addr: IpAddr,
        neighbour: Option<Neighbour>,
        out: Out<'_>,
    ) {
        let before = match neighbour {
            Some(neighbour) => self.neighbours.insert((oif, addr), neighbour),
            None => self.neighbours.remove(&(oif, addr)),
        };
        let key = (oif, Some(addr));
        if before != neighbour
            && let Some(id) = self.adjacencies.find(&key)
        {
            self.render_adjacency(id, key, out);
        }
    }

    /// Publishes a group as it follows from its hops, the links and the objects.
    fn render(&self, id: GroupId, out: Out<'_>) {
        let Some(entry) = self.groups.get(id.0) else { return };
        let group = match entry.key() {
            _ if entry.value.condemned => {
                Group { kind: GroupKind::Plain, members: Box::new([]), dead: true, object: false }
            }
            GroupKey::Plain { v6, host, hops } => self.plain(*v6, *host, hops, &entry.value),
            GroupKey::Object(id) => self.object(*id, &entry.value.adjacencies),
        };
        out.state.groups.set(id.0, group, out.limbo);
    }

    fn plain(&self, v6: bool, host: bool, hops: &[Hop], state: &GroupState) -> Group {
        let mut members: Box<[Member]> =
            hops.iter().zip(&state.adjacencies).map(|(hop, &a)| member(hop, 0, a)).collect();
        let link = |member: &Member| self.links.get(&member.oif).filter(|_| !host);
        for member in &mut members {
            member.dead = !host && self.is_down(state, member.oif);
            member.linkdown = member.dead || link(member).is_some_and(|link| !link.carrier);
        }
        // fib_rebalance and rt6_multipath_rebalance leave out the same legs that the lookup passes over.
        let ignored = |link: &LinkState| if v6 { link.ignore_linkdown6 } else { link.ignore_linkdown4 };
        let left_out = |member: &Member| member.dead || member.linkdown && link(member).is_some_and(ignored);
        set_bounds(&mut members, |member| !left_out(member));
        let dead = members.iter().all(|member| member.upper < 0);
        Group { kind: GroupKind::Plain, members, dead, object: false }
    }

    /// Is the leg of a group on this interface dead?
    fn is_down(&self, state: &GroupState, oif: u32) -> bool {
        self.links.get(&oif).is_some_and(|link| !link.up) || state.unaddressed.contains(&oif)
    }

    fn object(&self, id: u32, adjacencies: &[AdjacencyId]) -> Group {
        let body = self.objects.get(&id).map(|object| &object.body);
        let (kind, mut members): (_, Box<[Member]>) = match body {
            None | Some(NexthopBody::Blackhole) => (GroupKind::Blackhole, Box::new([])),
            Some(NexthopBody::Single(hop)) => {
                (GroupKind::Plain, adjacencies.iter().map(|&a| member(hop, id, a)).collect())
            }
            Some(body @ NexthopBody::Group(list)) => match self.blackhole(list) {
                true => (GroupKind::Blackhole, Box::new([])),
                false => (GroupKind::Object { id }, self.members(body)),
            },
            Some(body @ NexthopBody::Resilient { members, buckets }) => {
                let index =
                    |id: &u32| members.iter().position(|(member, _)| member == id).unwrap_or(usize::MAX);
                let buckets = buckets.iter().map(|id| index(id) as u16).collect();
                (GroupKind::Resilient { id, buckets }, self.members(body))
            }
        };
        // nh_group_rebalance counts every member: one whose interface fails is deleted, never left out.
        set_bounds(&mut members, |_| true);
        Group { kind, members, dead: body.is_none(), object: true }
    }

    /// A group may hold a blackhole only as its single member (valid_group_nh).
    fn blackhole(&self, members: &[(u32, u16)]) -> bool {
        let body = |id| self.objects.get(id).map(|object| &object.body);
        matches!(members, [(only, _)] if body(only) == Some(&NexthopBody::Blackhole))
    }

    /// The members of a group of objects, each with the adjacency of the object it names.
    fn members(&self, body: &NexthopBody) -> Box<[Member]> {
        let one = |&(id, weight): &(u32, u16)| {
            let object = self.objects.get(&id)?;
            let NexthopBody::Single(hop) = &object.body else { return None };
            let adjacency = *self.groups.get(object.group.0)?.value.adjacencies.first()?;
            Some(Member { weight: weight.max(1), ..member(hop, id, adjacency) })
        };
        body.members().iter().filter_map(one).collect()
    }
}

fn member(hop: &Hop, object: u32, adjacency: AdjacencyId) -> Member {
    Member {
        adjacency,
        oif: hop.oif,
        via: hop.via,
        object,
        weight: hop.weight.max(1),
        upper: -1,
        dead: false,
        linkdown: false,
        onlink: hop.onlink,
        encap: hop.encap,
    }
}

mod events;
