//! A live box as a scenario: netlink dumps and sysctls of the calling thread's namespace.
//!
//! What a kernel derives by itself is not written: the scenario so far is loaded, and only what its state lacks is added.
//! Invariant: the result loads back. What a scenario cannot say is left out and listed. Called by `warren snapshot`.

mod routes;
mod rules;
mod sysctls;

use super::load::STATES;
use super::value::MTU;
use super::{Address, Link, Neighbour, Scenario, ScenarioError};
use crate::control::netlink::{AddressMsg, Error, Family, LinkMsg, NeighbourMsg, NeighbourState, Socket};
use crate::wire::eth::fmt_mac;
use crate::wire::ip6;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use warren_fib::Nud;

/// `ARPHRD_ETHER`
const ETHER: u16 = 1;
/// Index of `lo`, which a scenario has by itself.
const LO: u32 = 1;
/// `IFA_F_NOPREFIXROUTE`, `IFA_F_OPTIMISTIC`
const NOPREFIXROUTE: u32 = 0x200;
const OPTIMISTIC: u32 = 0x04;
/// `RTN_MULTICAST`: the kind of a neighbour that is a group.
const MULTICAST: u8 = 5;

/// Why no snapshot could be taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The kernel does not answer.
    #[error(transparent)]
    Netlink(#[from] Error),
    /// What was read does not fit together, as when it changes meanwhile.
    #[error("what was read does not load back: {0}")]
    Scenario(#[from] ScenarioError),
}

/// A box on paper.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The box.
    pub scenario: Scenario,
    /// What a scenario cannot say, one line each.
    pub left_out: Vec<String>,
    /// Names of the links that are in the scenario, and lo.
    names: BTreeMap<u32, String>,
}

impl Snapshot {
    /// Reads the box. O(routes).
    pub fn take() -> Result<Snapshot, SnapshotError> {
        let mut socket = Socket::open()?;
        let mut new = Snapshot::default();
        new.links(&socket.links()?);
        new.sysctls()?;
        new.addresses(&socket.addresses()?);
        new.neighbours(&socket.neighbours()?, &socket.proxies()?);
        new.nexthops(&socket.nexthops()?);
        let mut all = Vec::new();
        socket.routes(None, |route| all.push(route))?;
        new.routes(&all)?;
        new.rules(&socket.rules()?);
        for family in Family::BOTH {
            for told in socket.exceptions(family)? {
                new.leave(told.dst, "what the kernel was told of the way there");
            }
        }
        new.load()?;
        Ok(new)
    }

    /// What the scenario is so far, loaded.
    fn load(&self) -> Result<super::Loaded, ScenarioError> {
        self.scenario.load(Path::new("snapshot"), 1, 0)
    }

    fn leave(&mut self, what: impl std::fmt::Display, why: &str) {
        self.left_out.push(format!("{what}: {why}"));
    }

    fn links(&mut self, links: &[LinkMsg]) {
        self.names.insert(LO, "lo".into());
        for link in links.iter().filter(|link| link.index != LO) {
            let Some(mac) = link.mac.filter(|_| link.arphrd == ETHER) else {
                self.leave(format_args!("link {}", link.name), "not Ethernet");
                continue;
            };
            if !MTU.contains(&link.mtu.into()) {
                self.leave(format_args!("link {}", link.name), "its MTU is none of Ethernet");
                continue;
            }
            self.names.insert(link.index, link.name.clone());
            self.scenario.link.push(Link {
                name: link.name.clone(),
                mac: Some(fmt_mac(mac)),
                mtu: Some(link.mtu),
                up: (!link.is_up()).then_some(false),
                carrier: (link.is_up() && !link.is_lower_up()).then_some(false),
                index: Some(link.index),
            });
        }
    }

    fn addresses(&mut self, addresses: &[AddressMsg]) {
        self.own_link_locals(addresses);
        let (v4, mut v6): (Vec<_>, Vec<_>) = addresses.iter().partition(|a| a.prefix.addr().is_ipv4());
        // The newest IPv6 address comes first in a kernel's list.
        v6.reverse();
        for address in v4.into_iter().chain(v6) {
            let addr = address.prefix.addr();
            let Some(dev) = self.names.get(&address.index).cloned() else { continue };
            let own = match addr {
                IpAddr::V4(_) => address.index == LO && addr.is_loopback(),
                IpAddr::V6(a) => a.is_loopback() || self.is_derived(address),
            };
            if own {
                continue;
            }
            let v6 = addr.is_ipv6();
            let flag = |bits: u32, name: &str| (address.flags & bits != 0).then(|| name.to_owned());
            let mut flags = vec![flag(NOPREFIXROUTE, "noprefixroute")];
            if v6 {
                flags.push(flag(libc::IFA_F_DEPRECATED, "deprecated"));
                flags.push(flag(OPTIMISTIC, "optimistic"));
                flags.push(flag(libc::IFA_F_TEMPORARY, "temporary"));
                flags.push(
                    flag(libc::IFA_F_TENTATIVE, "tentative").filter(|_| address.flags & OPTIMISTIC == 0),
                );
            }
            if address.peer.is_some() {
                // Its routes are written as such, because the subnet is the peer's and not its own.
                flags = vec![Some("noprefixroute".to_owned())];
                self.leave(format_args!("address {addr} on {dev}"), "its peer");
            }
            let scope = match address.scope {
                253 if !v6 => Some("link".to_owned()),
                254 if !v6 && !addr.is_loopback() => Some("host".to_owned()),
                0 if !v6 && addr.is_loopback() => Some("global".to_owned()),
                _ => None,
            };
            let flags = flags.into_iter().flatten().collect();
            self.scenario.address.push(Address { dev, prefix: address.prefix, flags, scope });
        }
    }

    /// Where the link-local address is another than the one of the hardware address, none is to be derived.
    fn own_link_locals(&mut self, addresses: &[AddressMsg]) {
        let loaded = self.load();
        for link in self.scenario.link.clone() {
            let index = link.index.unwrap_or(0);
            let expected = loaded
                .as_ref()
                .is_ok_and(|l| l.writer.draft().ifaces.get(index).is_some_and(|i| i.link_local().is_some()));
            let there = addresses.iter().any(|a| a.index == index && self.is_derived(a));
            if expected && !there {
                let name = format!("net.ipv6.conf.{}.addr_gen_mode", link.name.replace('.', "/"));
                self.scenario.sysctl.insert(name, super::Value::Number(1));
            }
        }
    }

    /// Whether it is the link-local address that a scenario gives its link by itself.
    fn is_derived(&self, address: &AddressMsg) -> bool {
        let mac = |link: &Link| link.mac.as_deref().and_then(|mac| crate::wire::eth::parse_mac(mac).ok());
        let link = self.scenario.link.iter().find(|link| link.index == Some(address.index));
        let derived = link.and_then(mac).map(|mac| IpAddr::V6(ip6::link_local_from_mac(mac)));
        derived == Some(address.prefix.addr()) && address.prefix.prefix_len() == 64
    }

    fn neighbours(&mut self, neighbours: &[NeighbourMsg], proxies: &[NeighbourMsg]) {
        for entry in neighbours.iter().filter(|n| n.kind != MULTICAST && n.index != LO) {
            let Some(dev) = self.names.get(&entry.index).cloned() else { continue };
            let Some(state) = state(entry.state) else { continue };
            let to = entry.to;
            let lladdr = entry.mac.filter(|_| nud(entry.state).is_valid()).map(fmt_mac);
            if lladdr.is_none() && nud(entry.state).is_valid() {
                self.leave(format_args!("neighbour {to} on {dev}"), "its address is not Ethernet");
                continue;
            }
            let state = Some(state.to_owned()).filter(|s| s != "permanent");
            self.scenario.neighbour.push(Neighbour { dev, to, lladdr, state, proxy: None });
        }
        for entry in proxies {
            let to = entry.to;
            let Some(dev) = self.names.get(&entry.index).cloned() else {
                self.leave(format_args!("proxy neighbour {to}"), "it is on no link of the scenario");
                continue;
            };
            self.scenario.neighbour.push(Neighbour { dev, to, lladdr: None, state: None, proxy: Some(true) });
        }
    }
}

/// The state as the FIB knows it.
fn nud(state: NeighbourState) -> Nud {
    match state {
        NeighbourState::None | NeighbourState::Other(_) => Nud::NONE,
        NeighbourState::Incomplete => Nud::INCOMPLETE,
        NeighbourState::Reachable => Nud::REACHABLE,
        NeighbourState::Stale => Nud::STALE,
        NeighbourState::Delay => Nud::DELAY,
        NeighbourState::Probe => Nud::PROBE,
        NeighbourState::Failed => Nud::FAILED,
        NeighbourState::Noarp => Nud::NOARP,
        NeighbourState::Permanent => Nud::PERMANENT,
    }
}

fn state(state: NeighbourState) -> Option<&'static str> {
    STATES.iter().find(|(_, known)| *known == nud(state)).map(|(name, _)| *name)
}
