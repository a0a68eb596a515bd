//! Comparing what is small with a dump of it: links, addresses, rules, next-hop objects, neighbours, sysctls.
//!
//! Invariant: with `fix` the mirror has what the dump shows; without it nothing changes. `pass` goes through all kinds, and
//! some are read anew like this after events. Routes are in `sweep`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use warren_fib::{Neighbour, NexthopBody, NexthopObject, Rule};

use super::convert::{self, Addr};
use super::{Mirror, SyncError, address, events, sysctls};
use crate::control::netlink::{Error, Family, RuleMsg};
use crate::iface::{Addr4, Addr6};

/// Most differences that are told in words.
const TOLD: usize = 100;

/// What an audit has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    /// Objects compared: links, addresses, rules, next hops, neighbours, prefixes with routes.
    pub checked: usize,
    /// Differences found, and repaired.
    pub repaired: usize,
    /// The first hundred of them in words.
    pub differences: Vec<String>,
}

impl Audit {
    /// Counts a difference.
    pub(super) fn differs(&mut self, what: String) {
        self.repaired += 1;
        if self.differences.len() < TOLD {
            self.differences.push(what);
        }
    }
}

/// The kinds of object, in the order of loading: each names only those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Small {
    Links,
    Addresses,
    Sysctls,
    Rules,
    Nexthops,
    Neighbours,
}

impl Small {
    pub(super) const ALL: [Self; 6] =
        [Self::Links, Self::Addresses, Self::Sysctls, Self::Rules, Self::Nexthops, Self::Neighbours];

    /// How long the kernel may take to tell: linkwatch waits up to a second.
    fn patience(self) -> Duration {
        Duration::from_millis(if self == Self::Links { 1500 } else { 200 })
    }
}

/// Differences that may settle by themselves, since when they are there.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    seen: BTreeMap<String, Instant>,
    young: bool,
}

impl Doubts {
    /// Whether a difference has been there for so long.
    fn is_old(&mut self, what: &str, patience: Duration) -> bool {
        let since = *self.seen.entry(what.to_owned()).or_insert_with(Instant::now);
        let old = since.elapsed() >= patience;
        self.young |= !old;
        old
    }

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        !self.seen.is_empty()
    }

    /// At the end of an audit: whether there are doubts that another one must settle.
    pub(super) fn remain(&mut self) -> bool {
        let young = std::mem::take(&mut self.young);
        if !young {
            self.seen.clear();
        }
        young
    }
}

/// How many objects were compared, and the differences in words.
type Found = Result<(usize, Vec<String>), SyncError>;

impl Mirror {
    /// Compares one kind with the kernel, and follows it if `fix`.
    pub(super) fn check(&mut self, kind: Small, fix: bool) -> Found {
        match kind {
            Small::Links => self.check_links(fix),
            Small::Addresses => self.check_addresses(fix),
            Small::Sysctls => self.check_sysctls(),
            Small::Rules => self.check_rules(fix),
            Small::Nexthops => self.check_nexthops(fix),
            Small::Neighbours => self.check_neighbours(fix),
        }
    }

    /// Audits one kind. A difference counts if it has been there for a while: the kernel shows some things before it acts and
    /// tells (a lost carrier, an address that waits for its detection of duplicates).
    pub(super) fn audit_small(&mut self, kind: Small, audit: &mut Audit) -> Result<(), SyncError> {
        self.drain()?;
        self.refresh()?;
        let (checked, differences) = self.check(kind, false)?;
        self.drain()?;
        audit.checked += checked;
        let settled: Vec<_> =
            differences.into_iter().filter(|what| self.doubts.is_old(what, kind.patience())).collect();
        if !settled.is_empty() {
            self.check(kind, true)?;
            settled.into_iter().for_each(|what| audit.differs(what));
        }
        Ok(())
    }

    fn check_links(&mut self, fix: bool) -> Found {
        let links = self.requests.links()?;
        let count = links.len();
        let mut found = Vec::new();
        let here: Vec<u32> = links.iter().map(|link| link.index).collect();
        for link in links {
            let info = events::link_info(&link);
            let iface = self.writer.draft().ifaces.get(link.index);
            let same = iface.is_some_and(|i| {
                (i.kind, i.mac, i.mtu, i.up) == (info.kind, info.mac, info.mtu, info.up)
                    && i.name == info.name
            });
            let carrier = iface.is_some_and(|i| i.carrier == info.carrier);
            if !same || !carrier {
                found.push(format!("link {} #{}: the kernel has {info:?}", link.name, link.index));
            }
            if fix {
                self.link(link);
            }
        }
        let gone = self.writer.draft().ifaces.iter().filter(|iface| !here.contains(&iface.index));
        for (name, index) in gone.map(|iface| (iface.name.clone(), iface.index)).collect::<Vec<_>>() {
            found.push(format!("link {name} #{index}: the kernel does not have it"));
            if fix {
                self.link_gone(index);
            }
        }
        Ok((count, found))
    }

    fn check_addresses(&mut self, fix: bool) -> Found {
        let dump = self.requests.addresses()?;
        let mut lists: BTreeMap<u32, (Vec<Addr4>, Vec<Addr6>)> =
            self.writer.draft().ifaces.iter().map(|iface| (iface.index, Default::default())).collect();
        for msg in &dump {
            // An address of a link that is not known yet comes again with the link.
            let Some((v4, v6)) = lists.get_mut(&msg.index) else { continue };
            v4.extend(address::addr4(msg));
            v6.extend(address::addr6(msg));
        }
        let mut found = Vec::new();
        for (index, (v4, v6)) in lists {
            let Some(iface) = self.writer.draft().ifaces.get(index) else { continue };
            let had4 = !iface.addrs4.is_empty();
            // An IPv6 address that a link is given while it is not ready is announced when it is.
            let ready = iface.up && iface.carrier;
            if iface.addrs4 == v4 && (iface.addrs6 == v6 || !ready) && !fix {
                continue;
            }
            if (&iface.addrs4, &iface.addrs6) == (&v4, &v6) {
                continue;
            }
            let had = (&iface.addrs4, &iface.addrs6);
            found.push(format!("addresses of {}: the kernel has {v4:?} {v6:?}, not {had:?}", iface.name));
            if fix {
                let addressed = !v4.is_empty();
                self.writer.update_iface(index, |iface| (iface.addrs4, iface.addrs6) = (v4, v6));
                if addressed || had4 {
                    self.writer.set_addressed4(index, addressed);
                }
            }
        }
        Ok((dump.len(), found))
    }

    /// Sysctls are read anew once a second anyway: a difference is no error.
    pub(super) fn check_sysctls(&mut self) -> Found {
        sysctls::read_global(&mut self.writer);
        for link in self.requests.links()? {
            sysctls::take_arrays(&mut self.writer, &link);
        }
        sysctls::read_neigh(&mut self.writer);
        sysctls::read_groups(&mut self.writer);
        Ok((0, Vec::new()))
    }

    pub(super) fn check_rules(&mut self, fix: bool) -> Found {
        let dump = self.requests.rules()?;
        let mut found = Vec::new();
        match self.rules::<Ipv4Addr>(&dump) {
            Ok(rules) => {
                let differs = !self.writer.draft().rules4.iter().eq(&rules);
                if differs {
                    found.push("IPv4 rules".to_owned());
                }
                if fix
                    && differs
                    && let Err(error) = self.writer.set_rules4(rules)
                {
                    self.refuse(Family::V4, &error);
                }
                self.set_reason(Family::V4, None);
            }
            Err(reason) => self.set_reason(Family::V4, Some(reason)),
        }
        match self.rules::<Ipv6Addr>(&dump) {
            Ok(rules) => {
                let differs = !self.writer.draft().rules6.iter().eq(&rules);
                if differs {
                    found.push("IPv6 rules".to_owned());
                }
                if fix && differs {
                    self.writer.set_rules6(rules);
                }
                self.set_reason(Family::V6, None);
            }
            Err(reason) => self.set_reason(Family::V6, Some(reason)),
        }
        Ok((dump.len(), found))
    }

    /// A family's rules out of a dump; the error says which one warren does not carry.
    fn rules<A: Addr>(&self, dump: &[RuleMsg]) -> Result<Vec<Rule<A>>, String> {
        let index = |name: &str| self.writer.draft().ifaces.by_name(name).map(|iface| iface.index);
        let of_family = dump.iter().filter(|msg| msg.family == A::FAMILY);
        let convert = |msg: &RuleMsg| {
            convert::rule(msg, index).map_err(|what| {
                format!("rule {msg} matches by {what}, which warren does not carry; remove the rule")
            })
        };
        of_family.map(convert).collect()
    }

    fn set_reason(&mut self, family: Family, reason: Option<String>) {
        if let Some(place) = self.reasons.rules.get_mut(family as usize) {
            *place = reason;
        }
    }

    pub(super) fn check_nexthops(&mut self, fix: bool) -> Found {
        let dump = self.requests.nexthops()?;
        let mut want = BTreeMap::new();
        for msg in &dump {
            let buckets = match events::buckets(&mut self.requests, msg) {
                Ok(buckets) => buckets,
                // The group went meanwhile.
                Err(Error::Refused { .. }) => return Err(interrupted().into()),
                Err(error) => return Err(error.into()),
            };
            want.extend(convert::nexthop(msg, &buckets).map(|object| (object.id, object)));
        }
        let have: BTreeMap<u32, NexthopObject> =
            self.writer.nexthops().map(|object| (object.id, object)).collect();
        let mut found = Vec::new();
        for (id, object) in &have {
            match want.get(id) {
                None => found.push(format!("nexthop {id}: the kernel does not have it")),
                Some(new) if new != object => {
                    found.push(format!("nexthop {id}: the kernel has {:?}, not {:?}", new.body, object.body));
                }
                Some(_) => {}
            }
            if fix && !want.contains_key(id) {
                self.nexthop_gone(*id);
            }
        }
        let new = want.keys().filter(|id| !have.contains_key(id));
        found.extend(new.map(|id| format!("nexthop {id}: the mirror does not have it")));
        if fix {
            // Groups name single ones.
            let is_group = |object: &NexthopObject| !object.body.members().is_empty();
            let mut changed: Vec<_> =
                want.into_values().filter(|new| have.get(&new.id) != Some(new)).collect();
            changed.sort_by_key(is_group);
            for object in changed {
                self.uncarried.rescan |=
                    matches!(&object.body, NexthopBody::Single(hop) if hop.encap) || self.uncarried.any();
                self.changes.routes = true;
                if let Err(error) = self.writer.set_nexthop(object) {
                    Family::BOTH.into_iter().for_each(|family| self.failed(family, &error));
                }
            }
        }
        Ok((dump.len(), found))
    }

    /// Whether some group is resilient: its buckets move in silence.
    pub(super) fn has_buckets(&self) -> bool {
        self.writer.nexthops().any(|object| matches!(object.body, NexthopBody::Resilient { .. }))
    }

    /// Only whether a neighbour can be sent to, and where, is compared: much of the rest is never announced.
    fn check_neighbours(&mut self, fix: bool) -> Found {
        let dump = self.requests.neighbours()?;
        let mut want: AHashMap<(u32, IpAddr), Neighbour> = AHashMap::new();
        for msg in dump.iter().filter(|msg| msg.kind != events::MULTICAST) {
            want.extend(convert::neighbour(msg).map(|neighbour| ((msg.index, msg.to), neighbour)));
        }
        let have: AHashMap<_, _> = self.writer.neighbours().map(|(oif, addr, n)| ((oif, addr), n)).collect();
        let usable = |of: Option<&Neighbour>| of.filter(|n| n.state.is_valid()).map(|n| n.lladdr);
        let mut found = Vec::new();
        for key in have.keys().chain(want.keys().filter(|key| !have.contains_key(*key))) {
            let (new, old) = (want.get(key), have.get(key));
            if usable(new) == usable(old) {
                continue;
            }
            let (oif, addr) = *key;
            found.push(format!("neighbour {addr} dev #{oif}: the kernel has {new:?}, not {old:?}"));
            if fix {
                self.writer.set_neighbour(oif, addr, new.copied());
                self.changes.neighbours = true;
            }
        }
        Ok((want.len(), found))
    }
}

fn interrupted() -> Error {
    Error::Interrupted { what: "dump next-hop buckets", attempts: 1 }
}
