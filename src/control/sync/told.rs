//! What the kernel was told of the ways to single destinations: path MTUs and redirects. It announces none of them.
//!
//! They are dumped when a counter says that a message came which may have taught it one, when routes change while some are
//! known, and after each load and audit. The kernel walks all its routes for that, so no more than a tenth of the time goes
//! there. A dump does not say whose next hop an exception is of: that is the one of the longest prefix which has the
//! gateway, or which a redirect has changed. RFC 8201 4; Linux: rt6_nh_dump_exceptions, fnhe_dump_buckets.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use warren_fib::{Hop, Hops, NexthopBody, Prefix, Route};

use super::convert::Addr;
use super::{Mirror, POLL, SyncError, clock};
use crate::control::netlink::{Error, RouteMsg, metric};
use crate::state::{Exception, Exceptions, Leg};
use crate::stats::{Mib, kernel};

/// Messages that may teach the kernel.
const MESSAGES: [Mib; 4] =
    [Mib::IcmpInDestUnreachs, Mib::IcmpInRedirects, Mib::Icmp6InPktTooBigs, Mib::Icmp6InRedirects];

/// When the kernel is asked again.
#[derive(Debug)]
pub(super) struct Told {
    due: bool,
    not_before: Instant,
    messages: u64,
}

impl Told {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: true, not_before: now, messages: 0 }
    }

    /// Something may have changed.
    pub(super) fn ask(&mut self) {
        self.due = true;
    }

    /// Looks whether messages came. To be called now and then.
    pub(super) fn look(&mut self) {
        let counters = kernel::datagrams();
        let messages = MESSAGES.iter().filter_map(|mib| counters.get(mib)).sum();
        self.due |= self.messages != messages;
        self.messages = messages;
    }
}

impl Mirror {
    /// Reads anew what the kernel was told, if it is time.
    pub(super) fn refresh_told(&mut self) -> Result<(), SyncError> {
        let known = || {
            let draft = self.writer.draft();
            !(draft.exceptions4.is_empty() && draft.exceptions6.is_empty())
        };
        self.told.due |= (self.changes.routes || self.changes.links) && known();
        let start = Instant::now();
        if !self.told.due || start < self.told.not_before {
            return Ok(());
        }
        let now = clock();
        match self.exceptions::<Ipv4Addr>(now).and_then(|v4| Ok((v4, self.exceptions::<Ipv6Addr>(now)?))) {
            Ok((v4, v6)) => {
                self.writer.set_exceptions(v4, v6);
                self.told.due = false;
            }
            // It is tried again: routes change.
            Err(Error::Interrupted { .. } | Error::Malformed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.told.not_before = start + POLL.max(start.elapsed() * 10);
        Ok(())
    }

    fn exceptions<A: Addr>(&mut self, now: u64) -> Result<Exceptions<A>, Error> {
        let dumped = match self.requests.exceptions(A::FAMILY) {
            // A family that is not there was told nothing.
            Err(Error::Refused { .. }) => Vec::new(),
            dumped => dumped?,
        };
        Ok(dumped.iter().filter_map(|msg| self.exception::<A>(msg, now)).collect())
    }

    /// An exception with its destination; `None` if no route that is known can have it.
    fn exception<A: Addr>(&self, msg: &RouteMsg, now: u64) -> Option<(A, Exception<A>)> {
        let dst = A::from_ip(msg.dst.addr())?;
        let [leg] = &msg.legs[..] else { return None };
        let (oif, shown) = (leg.link?, leg.gateway);
        let mtu = msg.metrics.get(metric::MTU);
        let told_mtu = msg.expires.is_some() && mtu != 0;
        let owns = |hop: &Hop, exactly: bool| hop.oif == oif && (!exactly || hop.via == shown);
        let (route, object, hop) =
            [true, false].into_iter().find_map(|exactly| self.owner(msg, dst, |hop| owns(hop, exactly)))?;
        let leg = match object {
            0 => {
                let hops = self.hops(&route).into_iter().map(|(_, hop)| (hop.oif, hop.via));
                let metrics = (route.mtu, route.mtu_lock, route.hoplimit);
                let info = Leg::info((route.kind, route.protocol, route.scope, route.prefsrc), metrics, hops);
                Leg::of_route::<A>(route.table, route.metric, route.dst.len(), (oif, hop.via), info)
            }
            _ => Leg::of_object(object, (oif, hop.via)),
        };
        // Without a gateway a redirect says that the destination is on the link.
        let gateway = (hop.via != shown).then(|| shown.and_then(A::from_ip).unwrap_or(dst));
        let src = msg.src.and_then(|src| A::from_ip(src.addr())).filter(|_| !route.src.is_default());
        let ends = |left: Duration| now.saturating_add(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX));
        let exception = Exception {
            leg,
            src,
            mtu: if told_mtu { mtu } else { 0 },
            locked: !A::V6 && told_mtu && msg.metrics.is_locked(metric::MTU) && !route.mtu_lock,
            gateway,
            expires: msg.expires.map_or(u64::MAX, ends),
        };
        (exception.mtu != 0 || gateway.is_some()).then_some((dst, exception))
    }

    /// The route of the longest prefix that has such a next hop, the object that this is, if it is one, and the hop.
    fn owner<A: Addr>(
        &self,
        msg: &RouteMsg,
        dst: A,
        wanted: impl Fn(&Hop) -> bool,
    ) -> Option<(Route<A>, u32, Hop)> {
        let prefixes = (0..=A::BITS).rev().filter_map(|len| Prefix::new(dst, len).ok());
        prefixes.flat_map(|prefix| self.writer.routes_at(msg.table, prefix)).find_map(|route| {
            let fits = !A::V6 || route.metric == msg.priority;
            let found = |(object, hop): &(u32, Hop)| wanted(hop).then_some((*object, hop.clone()));
            let (object, hop) = self.hops(&route).iter().filter(|_| fits).find_map(found)?;
            Some((route, object, hop))
        })
    }

    /// The next hops of a route, each with the object that it is, or 0.
    fn hops<A: Addr>(&self, route: &Route<A>) -> Vec<(u32, Hop)> {
        let single = |id: u32| match self.writer.nexthop(id) {
            Some(NexthopBody::Single(hop)) => Some((id, hop)),
            _ => None,
        };
        match &route.hops {
            Hops::None => Vec::new(),
            Hops::List(hops) => hops.iter().map(|hop| (0, hop.clone())).collect(),
            Hops::Object(id) => match self.writer.nexthop(*id) {
                Some(body @ (NexthopBody::Group(_) | NexthopBody::Resilient { .. })) => {
                    body.members().iter().filter_map(|(id, _)| single(*id)).collect()
                }
                _ => single(*id).into_iter().collect(),
            },
        }
    }
}
