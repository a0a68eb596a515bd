//! The links of the kernel's router: veth pairs with the scenario's names, indexes, addresses and MTUs, whose far ends
//! lie in a second namespace. Invariant: the far ends never speak by themselves. Called by `kernel`.

use super::apply::Links;
use super::ends::End;
use super::{ConformError, Result};
use crate::control::netlink::{LinkChange, LinkKind, NewLink, Socket};
use crate::scenario::{Link, default_mac};
use crate::sys::netns::Namespace;
use crate::wire::eth::parse_mac;

/// What the indexes of the far ends begin with.
const FAR_INDEX: u32 = 100_000;
/// The far ends take every frame that a link can carry.
const FAR_MTU: u32 = 65_535;

/// Makes all links, still down; their indexes by name.
pub fn make(netlink: &mut Socket, hosts: &Namespace, links: &[Link]) -> Result<Links> {
    use std::os::fd::AsFd;
    let mut made = Links::from([("lo".to_owned(), 1)]);
    for link in links {
        let taken = |index: &u32| {
            made.values().chain(links.iter().filter_map(|l| l.index.as_ref())).any(|i| i == index)
        };
        let free = || (2..).find(|index| !taken(index)).unwrap_or(u32::MAX);
        let index = link.index.unwrap_or_else(free);
        let [_, _, a, b] = index.to_be_bytes();
        let mac = link.mac.as_deref().map(parse_mac).transpose();
        let mac = mac.map_err(|e| ConformError::Meaning(format!("link {}: {e}", link.name)))?;
        let far = NewLink {
            // Another index than the near end's: the kernel looks at a changed carrier at once only if they differ, else
            // within a second. Linux: linkwatch_urgent_event.
            index: Some(index.saturating_add(FAR_INDEX)),
            mac: Some([2, 0, 0, 1, a, b]),
            mtu: Some(FAR_MTU),
            netns: Some(hosts.as_fd()),
            ..NewLink::new(&link.name, LinkKind::Dummy)
        };
        netlink.add_link(&NewLink {
            index: Some(index),
            mac: Some(mac.unwrap_or(default_mac(index))),
            mtu: Some(link.mtu.unwrap_or(1500)),
            ..NewLink::new(&link.name, LinkKind::Veth(Box::new(far)))
        })?;
        made.insert(link.name.clone(), index);
    }
    Ok(made)
}

/// Sets all links up, the far ends first so that the near ones find a carrier at once.
pub fn up(netlink: &mut Socket, hosts: &Namespace, links: &[Link]) -> Result<Vec<End>> {
    let far = || -> Result<Vec<End>> {
        let mut socket = Socket::open()?;
        let open = |link: &Link| {
            let index = socket.link(&link.name)?.index;
            socket.set_link(index, &LinkChange::UP)?;
            End::open(&link.name, index)
        };
        links.iter().map(open).collect()
    };
    let ends = hosts.enter(far)??;
    for link in links {
        let index = netlink.link(&link.name)?.index;
        netlink.set_link(index, &LinkChange::UP)?;
    }
    Ok(ends)
}

/// Sets down what is to be down or without carrier, once all else is there: a kernel removes what cannot be then.
pub fn down(netlink: &mut Socket, hosts: &Namespace, links: &[Link]) -> Result<()> {
    const DOWN: LinkChange<'static> = LinkChange { up: Some(false), ..LinkChange::UP };
    for link in links.iter().filter(|link| link.carrier == Some(false)) {
        hosts.enter(|| {
            let mut socket = Socket::open()?;
            let index = socket.link(&link.name)?.index;
            socket.set_link(index, &DOWN)
        })??;
    }
    for link in links.iter().filter(|link| link.up == Some(false)) {
        let index = netlink.link(&link.name)?.index;
        netlink.set_link(index, &DOWN)?;
    }
    Ok(())
}

/// Whether the kernel has noted what became of every link, which it does a little later than it happens.
pub fn ready(netlink: &mut Socket) -> Result<bool> {
    /// `IF_OPER_UP`
    const WORKS: u8 = 6;
    let links = netlink.links()?;
    Ok(links.iter().all(|l| l.is_loopback() || l.is_lower_up() == (l.operstate == WORKS)))
}
