//! What link and nexthop events do to groups.
//!
//! Invariant: each event costs the number of groups, whatever the number of routes.

use super::{GroupId, GroupKey, LinkState, Nexthops, Object};
use crate::arena::{Entry, SLOTS};
use crate::error::FibError;
use crate::route::{NexthopBody, NexthopObject};
use crate::writer::Out;

impl Nexthops {
    /// Notes the state of an interface: fib_sync_down_dev, fib_sync_up, fib6_ifdown, fib6_ifup, nexthop_flush_dev.
    pub(in crate::writer) fn set_link(&mut self, link: LinkState, out: Out<'_>) {
        let before = self.links.insert(link.index, link);
        let went_down = !link.up && before.is_none_or(|before| before.up);
        if link.up && before.is_some_and(|before| !before.up) {
            // Legs that died with the last IPv4 address live again too.
            self.set_addressed4(link.index, true, out);
        }
        for id in self.using(link.index) {
            // A route whose every leg is dead is flushed; one that was already dead when it came waits for its link.
            if went_down && self.all_dead(id, false) {
                self.condemn(id);
            }
            self.render(id, out);
        }
        if !link.up || !link.carrier {
            self.flush_objects(link.index, out);
        }
    }

    /// Notes that an interface has got an IPv4 address, or lost the last one: fib_sync_up, fib_disable_ip. A group that is made
    /// later is not affected, one that is used again is: so is the kernel's fib_info.
    pub(in crate::writer) fn set_addressed4(&mut self, index: u32, addressed: bool, out: Out<'_>) {
        for id in self.using(index).into_iter().filter(|&id| self.is_v4(id)).collect::<Vec<_>>() {
            let Some(entry) = self.groups.get_mut(id.0) else { continue };
            let before = entry.value.unaddressed.len();
            entry.value.unaddressed.retain(|&oif| oif != index);
            if !addressed {
                entry.value.unaddressed.push(index);
            }
            if entry.value.unaddressed.len() == before {
                continue;
            }
            if !addressed && self.all_dead(id, true) {
                self.condemn(id);
            }
            self.render(id, out);
        }
    }

    fn is_v4(&self, id: GroupId) -> bool {
        matches!(self.groups.get(id.0).map(Entry::key), Some(GroupKey::Plain { v6: false, .. }))
    }

    /// Forgets an interface. An IPv4 route goes with the first of its legs (fib_sync_down_dev, NETDEV_UNREGISTER).
    pub(in crate::writer) fn remove_link(&mut self, index: u32, out: Out<'_>) {
        let gone =
            LinkState { index, up: false, carrier: false, ignore_linkdown4: false, ignore_linkdown6: false };
        self.set_link(gone, out);
        for id in self.using(index) {
            if self.is_v4(id) {
                self.condemn(id);
                self.render(id, out);
            }
        }
        self.neighbours.retain(|&(oif, _), _| oif != index);
        // Legs of IPv6 routes stay dead until their deletion is announced; the state goes when no group needs it.
        if self.using(index).is_empty() {
            self.links.remove(&index);
        }
    }

    /// The groups of routes with a leg on this interface that are not condemned.
    fn using(&self, index: u32) -> Vec<GroupId> {
        let uses = |key: &GroupKey| matches!(key, GroupKey::Plain { hops, .. } if hops.iter().any(|hop| hop.oif == index));
        let groups = self.groups.iter().filter(|(_, entry)| !entry.value.condemned && uses(entry.key()));
        groups.map(|(id, _)| GroupId(id)).collect()
    }

    /// Are all legs of a group dead? Those of local routes only if `forced`: a link that goes down leaves them.
    fn all_dead(&self, id: GroupId, forced: bool) -> bool {
        let Some(entry) = self.groups.get(id.0) else { return false };
        match entry.key() {
            GroupKey::Plain { host, hops, .. } => {
                (forced || !host) && hops.iter().all(|hop| self.is_down(&entry.value, hop.oif))
            }
            GroupKey::Object(_) => false,
        }
    }

    /// Makes a group dead for good and unknown to new routes. The caller renders it.
    fn condemn(&mut self, id: GroupId) {
        self.groups.detach(id.0);
        if let Some(entry) = self.groups.get_mut(id.0)
            && !entry.value.condemned
        {
            entry.value.condemned = true;
            self.condemned += 1;
        }
    }

    /// Adds or replaces an object; the groups that contain it follow.
    pub(in crate::writer) fn set_nexthop(
        &mut self,
        object: NexthopObject,
        out: Out<'_>,
    ) -> Result<(), FibError> {
        let NexthopObject { id, body } = object;
        self.check(id, &body)?;
        let hops = match &body {
            NexthopBody::Single(hop) => std::slice::from_ref(hop),
            _ => &[],
        };
        let group = match self.objects.get(&id).map(|object| object.group) {
            None => self.add_group(GroupKey::Object(id), hops, || format!("nexthop object {id}"), out)?,
            Some(group) => {
                let new = self.adjacencies_of(hops, out)?;
                let state = self.groups.get_mut(group.0).map(|entry| &mut entry.value.adjacencies);
                let old = state.map(|state| std::mem::replace(state, new)).unwrap_or_default();
                self.release_adjacencies(old, out);
                group
            }
        };
        self.objects.insert(id, Object { body, group });
        self.render(group, out);
        self.render_containing(id, out);
        Ok(())
    }

    /// Refuses what the kernel would not have announced.
    fn check(&self, group: u32, body: &NexthopBody) -> Result<(), FibError> {
        let members = body.members();
        for &(id, _) in members {
            let unknown = || FibError::UnknownNexthop { user: format!("nexthop group {group}"), id };
            let member = self.objects.get(&id).ok_or_else(unknown)?;
            if !member.body.members().is_empty() || id == group {
                return Err(FibError::NotAMember { group, id });
            }
        }
        let NexthopBody::Resilient { buckets, .. } = body else { return Ok(()) };
        match buckets.iter().find(|bucket| !members.iter().any(|(id, _)| id == *bucket)) {
            Some(&id) => Err(FibError::NotAMember { group, id }),
            None if members.len() > SLOTS => {
                Err(FibError::Groups { user: format!("nexthop group {group}"), limit: SLOTS })
            }
            None => Ok(()),
        }
    }

    fn render_containing(&self, id: u32, out: Out<'_>) {
        for object in self.objects.values() {
            if object.body.members().iter().any(|&(member, _)| member == id) {
                self.render(object.group, out);
            }
        }
    }

    /// Removes an object: its routes go, groups shrink, and a group that loses its last member goes too. False if there is
    /// no such object.
    pub(in crate::writer) fn remove_nexthop(&mut self, id: u32, out: Out<'_>) -> bool {
        let Some(object) = self.objects.remove(&id) else { return false };
        let mut empty = Vec::new();
        let mut shrunk = Vec::new();
        for (&group, object) in &mut self.objects {
            if remove_member(&mut object.body, id) {
                if object.body.members().is_empty() { empty.push(group) } else { shrunk.push(object.group) }
            }
        }
        // First those that contain it: they must not be seen with an adjacency that has gone.
        for group in shrunk {
            self.render(group, out);
        }
        self.condemn(object.group);
        self.render(object.group, out);
        self.release(object.group, out);
        for group in empty {
            self.remove_nexthop(group, out);
        }
        true
    }

    /// Nexthop objects do not survive loss of their interface or its carrier, and nothing announces it (nexthop_flush_dev).
    fn flush_objects(&mut self, index: u32, out: Out<'_>) {
        let on_link = |object: &Object| matches!(&object.body, NexthopBody::Single(hop) if hop.oif == index);
        let gone: Vec<u32> =
            self.objects.iter().filter(|(_, object)| on_link(object)).map(|(&id, _)| id).collect();
        for id in gone {
            self.remove_nexthop(id, out);
        }
    }
}

/// Takes a member out of a group's body. True if it was one.
fn remove_member(body: &mut NexthopBody, id: u32) -> bool {
    let (NexthopBody::Group(members) | NexthopBody::Resilient { members, .. }) = body else { return false };
    let before = members.len();
    members.retain(|&(member, _)| member != id);
    if members.len() == before {
        return false;
    }
    if let NexthopBody::Resilient { members, buckets } = body {
        rehome(members, buckets, id);
    }
    true
}

/// Gives the buckets of a lost member to those that hold less than their share, in order: what the kernel does at once where
/// all buckets are idle (nh_res_table_upkeep). The next dump of the buckets settles what it really did.
fn rehome(members: &[(u32, u16)], buckets: &mut [u32], lost: u32) {
    let total: u64 = members.iter().map(|&(_, weight)| u64::from(weight.max(1))).sum();
    let slots = buckets.len() as u64;
    let mut cumulative = 0;
    let mut before = 0;
    for &(id, weight) in members {
        cumulative += u64::from(weight.max(1));
        let upto = (slots * cumulative + total / 2).checked_div(total).unwrap_or(0);
        let held = buckets.iter().filter(|&&bucket| bucket == id).count() as u64;
        let wanted = (upto - before).saturating_sub(held);
        before = upto;
        for bucket in buckets.iter_mut().filter(|bucket| **bucket == lost).take(wanted as usize) {
            *bucket = id;
        }
    }
}
