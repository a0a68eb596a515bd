//! What we ask of the kernel: make, change and remove objects. Each call waits for the kernel's answer.
//!
//! All return [`super::Error::Refused`] with the request in words and the kernel's explanation if the kernel says no, and
//! [`super::Error::TooLong`] if there are too many legs or members. Callers: neighbour resolution, scenarios, the demo, tests.

use std::fmt::Display;
use std::net::IpAddr;

use netlink_packet_core::{Emitable, Nla};

use super::attr::body;
use super::event::{RTM_DELNEXTHOP, RTM_NEWNEXTHOP};
use super::nexthop::{NexthopRequest, by_id};
use super::{
    AddressMsg, LinkChange, Mode, NeighbourMsg, NeighbourState, NewLink, NexthopMsg, Result, RouteMsg,
    RuleMsg, Socket, flag,
};

impl Socket {
    /// Makes a link.
    ///
    /// # Errors
    /// See the module.
    pub fn add_link(&mut self, link: &NewLink<'_>) -> Result<()> {
        let message = link.encode();
        let send = Request { verb: "add link", kind: libc::RTM_NEWLINK, flags: Mode::Add.flags() };
        self.ask(send, link, &message, &message.attributes)
    }

    /// Changes the link with this index.
    ///
    /// # Errors
    /// See the module.
    pub fn set_link(&mut self, index: u32, change: &LinkChange<'_>) -> Result<()> {
        let message = change.encode(index);
        let send = Request { verb: "set link", kind: libc::RTM_NEWLINK, flags: 0 };
        self.ask(send, &format_args!("#{index}"), &message, &message.attributes)
    }

    /// Removes the link with this index; of a veth pair, both ends.
    ///
    /// # Errors
    /// See the module.
    pub fn delete_link(&mut self, index: u32) -> Result<()> {
        let message = LinkChange::default().encode(index);
        let send = Request { verb: "delete link", kind: libc::RTM_DELLINK, flags: 0 };
        self.ask(send, &format_args!("#{index}"), &message, &message.attributes)
    }

    /// Adds an address to a link, or with [`Mode::Replace`] changes its lifetimes.
    ///
    /// # Errors
    /// See the module.
    pub fn add_address(&mut self, address: &AddressMsg, mode: Mode) -> Result<()> {
        let message = address.encode();
        let send = Request { verb: "add address", kind: libc::RTM_NEWADDR, flags: mode.flags() };
        self.ask(send, address, &message, &message.attributes)
    }

    /// Takes an address from a link.
    ///
    /// # Errors
    /// See the module.
    pub fn delete_address(&mut self, address: &AddressMsg) -> Result<()> {
        let message = address.encode();
        let send = Request { verb: "delete address", kind: libc::RTM_DELADDR, flags: 0 };
        self.ask(send, address, &message, &message.attributes)
    }

    /// Adds or changes a neighbour. The state [`NeighbourState::Probe`] makes the kernel check a known one at once.
    ///
    /// # Errors
    /// See the module.
    pub fn add_neighbour(&mut self, neighbour: &NeighbourMsg, mode: Mode) -> Result<()> {
        let message = neighbour.encode();
        let send = Request { verb: "add neighbour", kind: libc::RTM_NEWNEIGH, flags: mode.flags() };
        self.ask(send, neighbour, &message, &message.attributes)
    }

    /// Tells the kernel that a packet is, or would be, sent to `to` on the link: it resolves an unknown neighbour, checks a
    /// stale one after a while, and leaves a confirmed one alone (`NTF_USE`; Linux `neigh_event_send`).
    ///
    /// # Errors
    /// See the module.
    pub fn use_neighbour(&mut self, index: u32, to: IpAddr) -> Result<()> {
        let neighbour =
            NeighbourMsg { flags: flag::USE, ..NeighbourMsg::new(index, to, None, NeighbourState::None) };
        self.add_neighbour(&neighbour, Mode::Replace)
    }

    /// Removes a neighbour.
    ///
    /// # Errors
    /// See the module.
    pub fn delete_neighbour(&mut self, neighbour: &NeighbourMsg) -> Result<()> {
        let message = neighbour.encode();
        let send = Request { verb: "delete neighbour", kind: libc::RTM_DELNEIGH, flags: 0 };
        self.ask(send, neighbour, &message, &message.attributes)
    }

    /// Adds a route, or puts it in another's place; the mode says how it stands to routes with the same key.
    ///
    /// # Errors
    /// See the module.
    pub fn add_route(&mut self, route: &RouteMsg, mode: Mode) -> Result<()> {
        let message = route.encode();
        let send = Request { verb: "add route", kind: libc::RTM_NEWROUTE, flags: mode.flags() };
        self.ask(send, route, &message, &message.attributes)
    }

    /// Removes the first route that matches all that is given; of an IPv6 multipath route, only the given legs.
    ///
    /// # Errors
    /// See the module.
    pub fn delete_route(&mut self, route: &RouteMsg) -> Result<()> {
        let message = route.encode();
        let send = Request { verb: "delete route", kind: libc::RTM_DELROUTE, flags: 0 };
        self.ask(send, route, &message, &message.attributes)
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// See the module.
    pub fn add_rule(&mut self, rule: &RuleMsg) -> Result<()> {
        let message = rule.encode();
        let send = Request { verb: "add rule", kind: libc::RTM_NEWRULE, flags: Mode::Add.flags() };
        self.ask(send, rule, &message, &message.attributes)
    }

    /// Removes the first rule that matches all that is given.
    ///
    /// # Errors
    /// See the module.
    pub fn delete_rule(&mut self, rule: &RuleMsg) -> Result<()> {
        let message = rule.encode();
        let send = Request { verb: "delete rule", kind: libc::RTM_DELRULE, flags: 0 };
        self.ask(send, rule, &message, &message.attributes)
    }

    /// Adds a next-hop object, or puts it in the place of the one with its id.
    ///
    /// # Errors
    /// See the module.
    pub fn add_nexthop(&mut self, nexthop: &NexthopMsg, mode: Mode) -> Result<()> {
        let message = nexthop.encode();
        let send = Request { verb: "add nexthop", kind: RTM_NEWNEXTHOP, flags: mode.flags() };
        self.ask(send, nexthop, &message, &message.attributes)
    }

    /// Removes a next-hop object. The routes that use it go too, the IPv4 ones without an event.
    ///
    /// # Errors
    /// See the module.
    pub fn delete_nexthop(&mut self, id: u32) -> Result<()> {
        let message = NexthopRequest { header: [0; 8], attributes: vec![by_id(id)] };
        let send = Request { verb: "delete nexthop", kind: RTM_DELNEXTHOP, flags: 0 };
        self.ask(send, &format_args!("id {id}"), &message, &message.attributes)
    }

    fn ask(
        &mut self,
        send: Request,
        object: &dyn Display,
        message: &impl Emitable,
        attributes: &[impl Nla],
    ) -> Result<()> {
        let bytes = body(message, attributes)?;
        self.request(&|| format!("{} {object}", send.verb), send.kind, send.flags, &bytes, |_| {})
    }
}

/// What kind of request, and what to call it in an error.
#[derive(Clone, Copy)]
struct Request {
    verb: &'static str,
    kind: u16,
    flags: u16,
}
