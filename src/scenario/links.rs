//! Links and addresses of a scenario, with all that a kernel makes of them. Called by `load`, in its order.

use super::load::{Loader, scope};
use super::sysctl::NeighDefaults;
use super::{Address, Link, Scenario, derive};
use crate::iface::{Addr4, Addr6, LinkKind};
use crate::state::LinkInfo;
use crate::wire::eth::parse_mac;
use crate::wire::ip6;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use warren_fib::Place;

/// Index of `lo`, which is always there.
const LO: u32 = 1;
/// What a link has unless the scenario says otherwise; the rest are the kernel's own defaults in `crate::sysctl`.
const MTU: u32 = 1500;
const MTU_LO: u32 = 65536;

/// The default hardware address of a link: locally administered, the index in its last bytes.
pub fn default_mac(index: u32) -> [u8; 6] {
    let [a, b, c, d] = index.to_be_bytes();
    [2, 0, a, b, c, d]
}

impl Loader<'_> {
    pub(super) fn lo(&mut self, neigh: NeighDefaults) {
        let (name, kind) = ("lo".to_owned(), LinkKind::Loopback);
        self.set_link(
            LinkInfo { index: LO, name, kind, mac: [0; 6], mtu: MTU_LO, up: true, carrier: true },
            neigh,
        );
    }

    fn set_link(&mut self, link: LinkInfo, neigh: NeighDefaults) {
        let index = link.index;
        self.writer.set_link(link);
        self.writer.update_iface(index, |i| (i.neigh4, i.neigh6) = (neigh.v4, neigh.v6));
    }

    pub(super) fn link(&mut self, s: &Scenario, entry: &Link, neigh: NeighDefaults) -> Result<(), String> {
        let ifaces = &self.writer.draft().ifaces;
        if ifaces.by_name(&entry.name).is_some() {
            return Err("there is a link of this name already (lo is always there)".into());
        }
        let chosen: Vec<u32> = s.link.iter().filter_map(|l| l.index).collect();
        let free = |i: &u32| ifaces.get(*i).is_none() && !chosen.contains(i);
        let index = entry.index.or_else(|| (LO + 1..).find(free)).unwrap_or(0);
        if let Some(other) = ifaces.get(index) {
            return Err(format!("index {index} is that of {}", other.name));
        }
        if index == 0 || i32::try_from(index).is_err() {
            return Err(format!("index {index} is not between 2 and {}", i32::MAX));
        }
        let mac = match &entry.mac {
            Some(text) => parse_mac(text).map_err(|e| e.to_string())?,
            None => default_mac(index),
        };
        let (name, mtu) = (entry.name.clone(), entry.mtu.unwrap_or(MTU));
        let kind = LinkKind::Ethernet;
        self.set_link(LinkInfo { index, name, kind, mac, mtu, up: true, carrier: true }, neigh);
        Ok(())
    }

    /// What links get without being asked: loopback addresses, link-local addresses, the route of groups.
    /// Linux: init_loopback, addrconf_dev_config.
    pub(super) fn unasked(&mut self) -> Result<(), String> {
        let links: Vec<_> = self.writer.draft().ifaces.iter().cloned().collect();
        for link in links {
            let index = link.index;
            // RFC 8200 5: below 1280 there is no IPv6; what arrives is discarded as if it were switched off.
            let too_small = link.mtu < ip6::MIN_MTU;
            if too_small {
                self.writer.update_iface(index, |i| i.conf6.disable_ipv6 = 1);
            }
            let ipv6 = !too_small && link.conf6.disable_ipv6 == 0;
            if index == LO {
                self.add(index, net(Ipv4Addr::LOCALHOST, 8)?, &[], None)?;
                if ipv6 {
                    let itself = net(Ipv6Addr::LOCALHOST, 128)?;
                    self.add(index, itself, &["noprefixroute".to_owned()], None)?;
                }
            } else if ipv6 {
                if let Some(groups) = derive::multicast6(&link) {
                    self.writer.insert6(groups, Place::New).map_err(|e| e.to_string())?;
                }
                if link.conf6.addr_gen_mode == 0 {
                    self.add(index, net(ip6::link_local_from_mac(link.mac), 64)?, &[], None)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn address(&mut self, entry: &Address) -> Result<(), String> {
        let index = self.index(&entry.dev)?;
        self.add(index, entry.prefix, &entry.flags, entry.scope.as_deref())
    }

    /// Gives a link an address with the routes that a kernel derives from it.
    fn add(&mut self, index: u32, net: IpNet, flags: &[String], scope: Option<&str>) -> Result<(), String> {
        let known = ["deprecated", "tentative", "optimistic", "temporary", "noprefixroute", "secondary"];
        if let Some(flag) = flags.iter().find(|f| !known.contains(&f.as_str())) {
            return Err(format!("unknown flag {flag:?}; there are {}", known.join(", ")));
        }
        let has = |flag: &str| flags.iter().any(|f| f == flag);
        let Some(mut link) = self.writer.draft().ifaces.get(index).cloned() else { return Ok(()) };
        match net {
            IpNet::V4(net) => {
                // iproute2 gives loopback addresses host scope.
                let natural = if net.addr().is_loopback() { derive::SCOPE_HOST } else { 0 };
                let scope = scope.map_or(Ok(natural), self::scope)?;
                let (addr, prefix_len) = (net.addr(), net.prefix_len());
                let new = Addr4 { addr, peer: addr, prefix_len, broadcast: None, scope, secondary: false };
                let new = derive::insert4(&mut link.addrs4, new)?;
                for route in derive::routes4(&link, &new, !has("noprefixroute")) {
                    self.writer.insert4(route, Place::Append).map_err(|e| e.to_string())?;
                }
            }
            IpNet::V6(_) if link.conf6.disable_ipv6 != 0 => {
                return Err("IPv6 is off on this link (disable_ipv6, or an MTU below 1280)".into());
            }
            IpNet::V6(net) => {
                let new = Addr6 {
                    addr: net.addr(),
                    prefix_len: net.prefix_len(),
                    tentative: has("tentative"),
                    optimistic: has("optimistic"),
                    deprecated: has("deprecated"),
                    temporary: has("temporary"),
                    no_prefix_route: has("noprefixroute"),
                };
                derive::insert6(&mut link.addrs6, new)?;
                for route in derive::routes6(&link, &new) {
                    self.writer.insert6(route, Place::New).map_err(|e| e.to_string())?;
                }
            }
        }
        self.writer.update_iface(index, |i| (i.addrs4, i.addrs6) = (link.addrs4, link.addrs6));
        Ok(())
    }

    pub(super) fn groups(&mut self) {
        let links: Vec<u32> = self.writer.draft().ifaces.iter().map(|i| i.index).collect();
        for index in links {
            self.writer.update_iface(index, |i| {
                i.groups4 = vec![derive::ALL_HOSTS];
                i.groups6 = derive::groups6(i);
            });
        }
    }

    /// The last thing that happens to a link: it goes down, or loses its carrier.
    /// Linux: fib_disable_ip, addrconf_ifdown, neigh_ifdown, neigh_carrier_down.
    pub(super) fn last(&mut self, s: &Scenario, entry: &Link) {
        let up = entry.up != Some(false);
        let carrier = up && entry.carrier != Some(false);
        let Some(i) = self.writer.draft().ifaces.by_name(&entry.name).cloned().filter(|_| !carrier) else {
            return;
        };
        for gone in s.neighbour.iter().filter(|n| n.dev == entry.name && n.proxy != Some(true)) {
            let permanent = matches!(gone.state.as_deref(), None | Some("permanent"));
            if !(up && permanent) {
                self.writer.set_neighbour(i.index, gone.to, None);
            }
        }
        let (kind, mac, mtu, name) = (i.kind, i.mac, i.mtu, i.name);
        self.writer.set_link(LinkInfo { index: i.index, name, kind, mac, mtu, up, carrier });
        if !up {
            let keeps =
                self.writer.draft().sysctl.all6.keep_addr_on_down > 0 || i.conf6.keep_addr_on_down > 0;
            self.writer.update_iface(i.index, |i| {
                // They are taken as unique (IFA_F_NODAD), so they stay fit to speak. Linux: addrconf_ifdown.
                i.addrs6.retain(|a| keeps && !ip6::is_link_local(a.addr));
                (i.groups4, i.groups6) = (Vec::new(), Vec::new());
            });
        }
        while self.writer.withdraw(4096) {}
    }
}

fn net(addr: impl Into<IpAddr>, len: u8) -> Result<IpNet, String> {
    IpNet::new(addr.into(), len).map_err(|e| e.to_string())
}
