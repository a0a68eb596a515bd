//! Interfaces with their addresses and sysctls, as `state` publishes them and `forward/` reads them.

use crate::sysctl::{Conf4, Conf6, NeighConf};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// What the interface's frames start with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LinkKind {
    /// An Ethernet header.
    #[default]
    Ethernet,
    /// `lo`.
    Loopback,
    /// The IP header (tun, IP tunnels): sent on, never received from.
    Raw,
}

/// Scope of an IPv4 address (`RT_SCOPE_*`): smaller reaches farther.
pub const SCOPE_LINK: u8 = 253;
/// `RT_SCOPE_HOST`
pub const SCOPE_HOST: u8 = 254;

/// An IPv4 address of an interface, in the kernel's list order (primary before its secondaries).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addr4 {
    /// The address itself (`IFA_LOCAL`).
    pub addr: Ipv4Addr,
    /// The peer's address on point-to-point links, else the same (`IFA_ADDRESS`).
    pub peer: Ipv4Addr,
    /// Prefix length of the subnet.
    pub prefix_len: u8,
    /// `IFA_BROADCAST`, if set.
    pub broadcast: Option<Ipv4Addr>,
    /// `RT_SCOPE_*`
    pub scope: u8,
    /// `IFA_F_SECONDARY`: another address of the same subnet came first.
    pub secondary: bool,
}

/// An IPv6 address of an interface, in the kernel's list order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addr6 {
    /// The address.
    pub addr: Ipv6Addr,
    /// Prefix length of the subnet.
    pub prefix_len: u8,
    /// `IFA_F_TENTATIVE` without `IFA_F_OPTIMISTIC`: may not be used yet.
    pub tentative: bool,
    /// `IFA_F_OPTIMISTIC`: usable, not preferred.
    pub optimistic: bool,
    /// `IFA_F_DEPRECATED`: its preferred lifetime is over.
    pub deprecated: bool,
    /// `IFA_F_TEMPORARY` (RFC 8981).
    pub temporary: bool,
    /// `IFA_F_NOPREFIXROUTE`.
    pub no_prefix_route: bool,
}

/// One interface as the kernel has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Iface {
    /// Interface index.
    pub index: u32,
    /// Where its counters are (`stats::WorkerStats`).
    pub slot: u16,
    /// Name.
    pub name: String,
    /// What frames start with.
    pub kind: LinkKind,
    /// Hardware address; zero where the link has none.
    pub mac: [u8; 6],
    /// Link MTU in bytes.
    pub mtu: u32,
    /// `IFF_UP`
    pub up: bool,
    /// `IFF_LOWER_UP`
    pub carrier: bool,
    /// warren receives on it.
    pub taken: bool,
    /// IPv4 addresses.
    pub addrs4: Vec<Addr4>,
    /// IPv6 addresses.
    pub addrs6: Vec<Addr6>,
    /// IPv4 groups joined by the host.
    pub groups4: Vec<Ipv4Addr>,
    /// IPv6 groups joined by the host.
    pub groups6: Vec<Ipv6Addr>,
    /// Addresses that the host answers ARP requests for.
    pub proxies4: Vec<Ipv4Addr>,
    /// Addresses that the host answers neighbour solicitations for.
    pub proxies6: Vec<Ipv6Addr>,
    /// `net.ipv4.conf.DEV.*`
    pub conf4: Conf4,
    /// `net.ipv6.conf.DEV.*`
    pub conf6: Conf6,
    /// `net.ipv4.neigh.DEV.*`
    pub neigh4: NeighConf,
    /// `net.ipv6.neigh.DEV.*`
    pub neigh6: NeighConf,
}

impl Iface {
    /// A fresh Ethernet interface, up, with the kernel's defaults and no address.
    pub fn new(index: u32, name: &str, mac: [u8; 6]) -> Iface {
        Iface {
            index,
            slot: 0,
            name: name.into(),
            kind: LinkKind::Ethernet,
            mac,
            mtu: 1500,
            up: true,
            carrier: true,
            taken: true,
            addrs4: Vec::new(),
            addrs6: Vec::new(),
            groups4: Vec::new(),
            groups6: Vec::new(),
            proxies4: Vec::new(),
            proxies6: Vec::new(),
            conf4: Conf4::default(),
            conf6: Conf6::default(),
            neigh4: NeighConf::default(),
            neigh6: NeighConf::default(),
        }
    }

    /// Bytes before the IP header in frames of this link.
    pub fn header_len(&self) -> usize {
        if self.kind == LinkKind::Raw { 0 } else { 14 }
    }

    /// The first usable link-local address (`ipv6_get_lladdr`).
    pub fn link_local(&self) -> Option<Ipv6Addr> {
        self.addrs6.iter().find(|a| a.addr.is_unicast_link_local() && !a.tentative).map(|a| a.addr)
    }
}

/// All interfaces of the namespace, found by index.
#[derive(Clone, Debug, Default)]
pub struct Ifaces(Vec<Arc<Iface>>);

impl Ifaces {
    /// The interface with this index. O(log n).
    pub fn get(&self, index: u32) -> Option<&Iface> {
        let at = self.0.binary_search_by_key(&index, |i| i.index).ok()?;
        self.0.get(at).map(Arc::as_ref)
    }

    /// The interface with this name. O(n).
    pub fn by_name(&self, name: &str) -> Option<&Iface> {
        self.iter().find(|i| i.name == name)
    }

    /// The loopback interface, which every namespace has. O(n).
    pub fn loopback(&self) -> Option<&Iface> {
        self.iter().find(|i| i.kind == LinkKind::Loopback)
    }

    /// All, by index: the kernel's device list order as source selection walks it.
    pub fn iter(&self) -> impl Iterator<Item = &Iface> {
        self.0.iter().map(Arc::as_ref)
    }

    /// Adds or replaces.
    pub fn set(&mut self, iface: Iface) {
        match self.0.binary_search_by_key(&iface.index, |i| i.index) {
            Ok(at) => {
                if let Some(old) = self.0.get_mut(at) {
                    *old = Arc::new(iface);
                }
            }
            Err(at) => self.0.insert(at, Arc::new(iface)),
        }
    }

    /// Changes one in place; false if there is none.
    pub fn update(&mut self, index: u32, change: impl FnOnce(&mut Iface)) -> bool {
        let found = self.0.iter_mut().find(|i| i.index == index);
        found.map(|i| change(Arc::make_mut(i))).is_some()
    }

    /// Changes every one.
    pub fn update_all(&mut self, mut change: impl FnMut(&mut Iface)) {
        self.0.iter_mut().for_each(|i| change(Arc::make_mut(i)));
    }

    /// Removes; the interface if it was there.
    pub fn remove(&mut self, index: u32) -> Option<Arc<Iface>> {
        let at = self.0.iter().position(|i| i.index == index)?;
        Some(self.0.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_by_index_and_name_in_order() {
        let mut all = Ifaces::default();
        for (i, n) in [(7, "c"), (2, "a"), (5, "b")] {
            all.set(Iface::new(i, n, [0; 6]));
        }
        assert_eq!(all.iter().map(|i| i.index).collect::<Vec<_>>(), [2, 5, 7]);
        assert_eq!(all.get(5).map(|i| i.name.as_str()), Some("b"));
        assert!(all.update(5, |i| i.mtu = 9000) && !all.update(6, |_| ()));
        assert_eq!(all.by_name("b").map(|i| i.mtu), Some(9000));
        assert!(all.remove(2).is_some() && all.get(2).is_none());
    }
}
