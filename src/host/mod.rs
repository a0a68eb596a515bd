//! The host's side of the router where no kernel stands behind: ARP, neighbour discovery, echo, closed ports.
//!
//! As pure as `forward/`: all follows from bytes, the published state and the time. What is to be sent goes out with
//! the forwarder's outputs; what is learned of neighbours and told of destinations is written by [`Host::publish`] for whoever
//! owns the state. [`standalone`] runs it live; replay hands it the frames in [`crate::forward::Forwarder::local`].
//!
//! Not done: fragments are not put together, and addresses are taken as unique without asking the link (no duplicate
//! address detection).

mod arp;
mod exthdrs;
mod ip4;
mod ip6;
pub mod loopback;
mod ndisc;
mod neighbours;
mod onward;
mod segments;
mod send;
pub mod standalone;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;
mod told4;
mod told6;
mod transport;

pub use neighbours::Learned;

use crate::forward::act::Act;
use crate::forward::ctx::{Env, Nanos};
use crate::forward::observe::Observer;
use crate::frame::Meta;
use crate::iface::Iface;
use crate::neigh::Ask;
use crate::state::{Exception, Writer};
use crate::wire::eth::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthHdr};
use ahash::AHashMap;
use neighbours::{Heard, Neighbours, Probe};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zerocopy::FromBytes;

/// An address is defended once in this time (RFC 5227 1.1, DEFEND_INTERVAL).
const DEFEND_INTERVAL: Nanos = 10_000_000_000;

/// What the host was told of a destination, for the owner of the state to note.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// Of this IPv4 address.
    V4(Ipv4Addr, Exception<Ipv4Addr>),
    /// The same, which counts only if some route has its gateway already, by this interface.
    Secure4(u32, Ipv4Addr, Exception<Ipv4Addr>),
    /// Of this IPv6 address.
    V6(Ipv6Addr, Exception<Ipv6Addr>),
}

/// What a packet for this host tells it.
#[derive(Debug, Default)]
struct News {
    /// Of a neighbour.
    heard: Option<Heard>,
    /// Of the ways to destinations.
    told: Vec<Told>,
}

impl From<Option<Heard>> for News {
    fn from(heard: Option<Heard>) -> News {
        News { heard, told: Vec::new() }
    }
}

/// What the host remembers: neighbours, what it was told, and when it last defended an address.
#[derive(Debug)]
pub struct Host {
    neighbours: Neighbours,
    told: Vec<Told>,
    /// At most one entry for each IPv4 address of ours.
    defended: AHashMap<(u32, Ipv4Addr), Nanos>,
}

/// A received packet for this host, from its IP header on.
struct Local<'p, 'a> {
    /// The link-layer header it came with.
    eth: EthHdr,
    /// Cut to the length that its header says.
    bytes: &'p [u8],
    /// What travels beside the bytes.
    meta: &'p Meta,
    /// The interface that received it.
    iif: &'a Iface,
}

impl Local<'_, '_> {
    /// Whether a sender left the transport checksum to others, or one before us found it right.
    fn sum_is_known(&self) -> bool {
        self.meta.offload.needs_csum || self.meta.offload.data_valid
    }
}

impl Default for Host {
    fn default() -> Host {
        Host::new()
    }
}

impl Host {
    /// Knows no neighbours yet.
    pub fn new() -> Host {
        Host { neighbours: Neighbours::new(false), told: Vec::new(), defended: AHashMap::new() }
    }

    /// A host that answers but sends no questions of its own: for replay, where nobody is there to hear them. Timing and
    /// outcome are the same, and it learns from what the capture holds. Several may share a state.
    pub fn quiet() -> Host {
        Host { neighbours: Neighbours::new(true), ..Host::new() }
    }

    /// Answers a frame that the forwarder left to the host, and learns from it.
    pub fn receive<'a, O: Observer>(&mut self, act: &mut Act<'a, '_, O>, meta: &Meta, frame: &[u8]) {
        let Ok((eth, bytes)) = EthHdr::ref_from_prefix(frame) else { return };
        let Some(iif) = act.env.state.ifaces.get(meta.iif) else { return };
        let local = Local { eth: *eth, bytes, meta, iif };
        let News { heard, told } = match eth.ethertype.get() {
            ETHERTYPE_ARP => {
                if let Some(address) = arp::conflict(iif, bytes) {
                    self.defend(act, iif, address);
                }
                arp::receive(act, &local).into()
            }
            ETHERTYPE_IPV4 => ip4::deliver(act, &local),
            ETHERTYPE_IPV6 => onward::deliver(act, &local),
            _ => News::default(),
        };
        self.told.extend(told);
        if let Some(heard) = heard {
            self.neighbours.hear(act.env, heard);
        }
    }

    /// Carries out a wish of the forwarder: have a next hop resolved or verified.
    pub fn ask<O: Observer>(&mut self, act: &mut Act<'_, '_, O>, ask: Ask) {
        let env = act.env;
        self.neighbours.ask(env, ask, |probe| solicit(act, probe));
    }

    /// Does what time asks for: probes again, gives up, lets entries age.
    pub fn poll<O: Observer>(&mut self, act: &mut Act<'_, '_, O>) {
        let env = act.env;
        self.neighbours.poll(env, |probe| solicit(act, probe));
    }

    /// When [`Host::poll`] has something to do next; `None`: only after further frames or wishes.
    pub fn due(&self) -> Option<Nanos> {
        self.neighbours.due()
    }

    /// Writes what became of neighbours and what was told of destinations since the last call, in order, and publishes
    /// it; whether a neighbour was among it.
    pub fn publish(&mut self, writer: &mut Writer, now: Nanos) -> bool {
        let mut any = false;
        for learned in self.neighbours.learned() {
            writer.set_neighbour(learned.key.0, learned.key.1, learned.neighbour);
            any = true;
        }
        for told in self.told.drain(..) {
            match told {
                Told::V4(dst, exception) => writer.set_exception4(dst, exception, now),
                Told::Secure4(iif, dst, exception) => {
                    let gateway = exception.gateway.map(IpAddr::V4);
                    if writer.has_gateway::<Ipv4Addr>(iif, gateway) {
                        writer.set_exception4(dst, exception, now);
                    }
                }
                Told::V6(dst, exception) => writer.set_exception6(dst, exception, now),
            }
        }
        if writer.changed() {
            writer.publish();
        } else if any {
            writer.publish_routes();
        }
        any
    }

    /// Says once that an address is ours after another host used it, and keeps it, as a router must.
    /// RFC 5227 2.4 (c). The kernel leaves this to a daemon.
    fn defend<O: Observer>(&mut self, act: &mut Act<'_, '_, O>, iif: &Iface, address: Ipv4Addr) {
        let now = act.env.now;
        let last = self.defended.get(&(iif.index, address));
        if last.is_none_or(|&last| now >= last + DEFEND_INTERVAL) {
            self.defended.insert((iif.index, address), now);
            arp::announce(act, iif, address);
        }
    }
}

/// Asks for a neighbour's link-layer address, or whether it is still there.
fn solicit<O: Observer>(act: &mut Act<'_, '_, O>, ((oif, address), to): Probe) {
    let env: Env<'_> = act.env;
    let Some(oif) = env.state.ifaces.get(oif) else { return };
    match address {
        IpAddr::V4(address) => arp::solicit(act, oif, address, to),
        IpAddr::V6(address) => ndisc::solicit(act, oif, address, to),
    }
}
