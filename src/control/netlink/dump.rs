//! Dumps: everything of one kind, both families in one call. Used by the mirror's sync and audit.
//!
//! Invariant: a dump that the kernel reports as interrupted is started again, so what is returned was true at one moment. Two kinds
//! never report it, routes and neighbours: only events received meanwhile make those exact.

use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage};

use super::attr::body;
use super::event::{RTM_GETNETCONF, RTM_GETNEXTHOP, RTM_GETNEXTHOPBUCKET};
use super::nexthop::{NexthopRequest, by_id};
use super::route::CLONED;
use super::socket::{Dumped, Socket};
use super::{
    AddressMsg, Bucket, Error, Event, Family, LinkMsg, NeighbourMsg, NetconfMsg, NexthopMsg, Result,
    RouteMsg, RuleMsg, flag,
};

/// How often an interrupted dump is started again at once. Beyond that the caller should wait.
const ATTEMPTS: u32 = 8;

impl Socket {
    /// All links, with their sysctls but without statistics.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if links change all the time; else as any request.
    pub fn links(&mut self) -> Result<Vec<LinkMsg>> {
        let mut request = LinkMessage::default();
        request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let request = body(&request, &request.attributes)?;
        self.collect("dump links", libc::RTM_GETLINK, &[request], |event| match event {
            Event::Link(link) => Some(link),
            _ => None,
        })
    }

    /// The link called `name`.
    ///
    /// # Errors
    /// [`Error::NoLink`].
    pub fn link(&mut self, name: &str) -> Result<LinkMsg> {
        let mut request = LinkMessage::default();
        request.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let request = body(&request, &request.attributes)?;
        let mut found = None;
        let what = || format!("get link {name}");
        let answer = self.request(&what, libc::RTM_GETLINK, 0, &request, |event| {
            if let Event::Link(link) = event {
                found = Some(link);
            }
        });
        match answer {
            Err(error) if error.is(libc::ENODEV) => Err(Error::NoLink(name.to_owned())),
            Err(error) => Err(error),
            Ok(()) => found.ok_or_else(|| Error::NoLink(name.to_owned())),
        }
    }

    /// All addresses.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if addresses change all the time; else as any request.
    pub fn addresses(&mut self) -> Result<Vec<AddressMsg>> {
        self.collect("dump addresses", libc::RTM_GETADDR, &of_both::<8>(), |event| match event {
            Event::Address(address) => Some(address),
            _ => None,
        })
    }

    /// All neighbours but the proxy entries, which have a list of their own.
    ///
    /// # Errors
    /// As any request.
    pub fn neighbours(&mut self) -> Result<Vec<NeighbourMsg>> {
        self.collect("dump neighbours", libc::RTM_GETNEIGH, &of_both::<12>(), neighbour)
    }

    /// All proxy neighbours. Their coming and going is never announced.
    ///
    /// # Errors
    /// As any request.
    pub fn proxies(&mut self) -> Result<Vec<NeighbourMsg>> {
        // ndm_flags is the byte at 10.
        let request = |family: Family| vec![family.number(), 0, 0, 0, 0, 0, 0, 0, 0, 0, flag::PROXY, 0];
        let requests = Family::BOTH.map(request);
        self.collect("dump proxy neighbours", libc::RTM_GETNEIGH, &requests, neighbour)
    }

    /// All rules, in the kernel's order within each family.
    ///
    /// # Errors
    /// As any request.
    pub fn rules(&mut self) -> Result<Vec<RuleMsg>> {
        self.collect("dump rules", libc::RTM_GETRULE, &of_both::<12>(), |event| match event {
            Event::Rule(rule) => Some(rule),
            _ => None,
        })
    }

    /// All next-hop objects, by rising id.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if objects change all the time; else as any request.
    pub fn nexthops(&mut self) -> Result<Vec<NexthopMsg>> {
        self.collect("dump next hops", RTM_GETNEXTHOP, &[vec![0; 8]], |event| match event {
            Event::Nexthop(nexthop) => Some(nexthop),
            _ => None,
        })
    }

    /// The buckets of a resilient group, by rising index.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no such group or it has no buckets.
    pub fn buckets(&mut self, group: u32) -> Result<Vec<Bucket>> {
        let request = NexthopRequest { header: [0; 8], attributes: vec![by_id(group)] };
        let request = body(&request, &request.attributes)?;
        self.collect("dump next-hop buckets", RTM_GETNEXTHOPBUCKET, &[request], |event| match event {
            Event::Bucket(bucket) => Some(bucket),
            _ => None,
        })
    }

    /// The announced sysctls of all links, `all` and `default`.
    ///
    /// # Errors
    /// As any request.
    pub fn netconf(&mut self) -> Result<Vec<NetconfMsg>> {
        self.collect("dump netconf", RTM_GETNETCONF, &of_both::<4>(), |event| match event {
            Event::Netconf(netconf) => Some(netconf),
            _ => None,
        })
    }

    /// Hands all routes, or those of one table, to `each`, one by one: a million of them need not be held at once. Equal keys come in
    /// the kernel's order. O(routes).
    ///
    /// The dump is not one state: a route that moves meanwhile may come twice or not at all. An IPv6 route of one link that has the
    /// metric of a multipath route may be missing (seen on Linux 6.18).
    ///
    /// # Errors
    /// As any request. A table that does not exist is empty.
    pub fn routes(&mut self, table: Option<u32>, mut each: impl FnMut(RouteMsg)) -> Result<()> {
        for family in Family::BOTH {
            let mut request = RouteMessage::default();
            request.header.address_family = family.number().into();
            request.attributes.extend(table.map(RouteAttribute::Table));
            let request = body(&request, &request.attributes)?;
            let dumped = self.dump_once("dump routes", libc::RTM_GETROUTE, &request, |event| match event {
                Event::Route4(route, _) | Event::Route6(route, _)
                    if table.is_none_or(|t| route.table == t) =>
                {
                    each(route);
                }
                _ => {}
            });
            match dumped {
                Err(error) if error.is(libc::ENOENT) && table.is_some() => {}
                // Interruption is of no account: routes are never one state, and `each` cannot take back.
                done => drop(done?),
            }
        }
        Ok(())
    }

    /// What the kernel was told of single destinations: path MTUs and redirects, each as a copy of its route. O(routes of the
    /// family), all in the kernel; of IPv4 only those that a packet has followed since.
    ///
    /// # Errors
    /// As any request.
    pub fn exceptions(&mut self, family: Family) -> Result<Vec<RouteMsg>> {
        let mut request = RouteMessage::default();
        request.header.address_family = family.number().into();
        request.header.flags = RouteFlags::from_bits_retain(CLONED);
        let request = body(&request, &request.attributes)?;
        self.collect("dump exceptions", libc::RTM_GETROUTE, &[request], |event| match event {
            Event::Exception(exception) => Some(exception),
            _ => None,
        })
    }

    /// Begins a dump of all routes of a family, to be read piece by piece with [`Socket::more_routes`]. The kernel goes on only as pieces
    /// are read, so the reader may take its time; what changes meanwhile may be missed or seen twice. Until its end the socket is good for nothing
    /// else; to give a dump up, drop the socket.
    ///
    /// # Errors
    /// As any request.
    pub fn begin_routes(&mut self, family: Family) -> Result<()> {
        let mut request = RouteMessage::default();
        request.header.address_family = family.number().into();
        let request = body(&request, &request.attributes)?;
        self.dump_begin(libc::RTM_GETROUTE, &request)
    }

    /// Hands the next piece, some hundred routes, to `each`; `false` at the end.
    ///
    /// # Errors
    /// As any request. A route that cannot be read is an error, but the others of the piece are handed over.
    pub fn more_routes(&mut self, mut each: impl FnMut(RouteMsg)) -> Result<bool> {
        self.dump_more("dump routes", |event| {
            if let Event::Route4(route, _) | Event::Route6(route, _) = event {
                each(route);
            }
        })
    }

    /// Runs the dumps and picks out what is wanted; starts again if one was interrupted.
    fn collect<T>(
        &mut self,
        what: &'static str,
        kind: u16,
        requests: &[Vec<u8>],
        mut pick: impl FnMut(Event) -> Option<T>,
    ) -> Result<Vec<T>> {
        let mut objects = Vec::new();
        for request in requests {
            let start = objects.len();
            let mut attempt = 1;
            while self.dump_once(what, kind, request, |event| objects.extend(pick(event)))?
                == Dumped::Interrupted
            {
                if attempt == ATTEMPTS {
                    return Err(Error::Interrupted { what, attempts: ATTEMPTS });
                }
                attempt += 1;
                objects.truncate(start);
            }
        }
        Ok(objects)
    }
}

fn neighbour(event: Event) -> Option<NeighbourMsg> {
    match event {
        Event::Neighbour(neighbour) => Some(neighbour),
        _ => None,
    }
}

/// A dump request for each family: a fixed header of `N` bytes whose first is the family. All else must be 0 under strict checking.
fn of_both<const N: usize>() -> [Vec<u8>; 2] {
    Family::BOTH.map(|family| {
        let mut request = vec![0; N];
        if let Some(first) = request.first_mut() {
            *first = family.number();
        }
        request
    })
}

#[cfg(test)]
mod tests;
