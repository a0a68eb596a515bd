//! The addresses of an interface, in the kernel's list order: source selection walks it.
//!
//! Invariant: `put4` and `put6` place an address as the kernel did before it told of it, so events alone keep the lists as a
//! dump would show them. Pure list work; called by the mirror.

use std::net::{IpAddr, Ipv6Addr};

use crate::control::netlink::AddressMsg;
use crate::iface::{Addr4, Addr6, Iface};

/// An IPv4 address from its message; `None` for IPv6.
pub(super) fn addr4(msg: &AddressMsg) -> Option<Addr4> {
    let IpAddr::V4(addr) = msg.prefix.addr() else { return None };
    let peer = match msg.peer {
        Some(IpAddr::V4(peer)) => peer,
        _ => addr,
    };
    Some(Addr4 {
        addr,
        peer,
        prefix_len: msg.prefix.prefix_len(),
        broadcast: msg.broadcast,
        scope: msg.scope,
        secondary: msg.flags & libc::IFA_F_SECONDARY != 0,
    })
}

/// An IPv6 address from its message; `None` for IPv4.
pub(super) fn addr6(msg: &AddressMsg) -> Option<Addr6> {
    let IpAddr::V6(addr) = msg.prefix.addr() else { return None };
    let has = |flag| msg.flags & flag != 0;
    Some(Addr6 {
        addr,
        prefix_len: msg.prefix.prefix_len(),
        tentative: has(libc::IFA_F_TENTATIVE) && !has(libc::IFA_F_OPTIMISTIC),
        optimistic: has(libc::IFA_F_OPTIMISTIC),
        deprecated: has(libc::IFA_F_DEPRECATED),
        temporary: has(libc::IFA_F_TEMPORARY),
        no_prefix_route: has(libc::IFA_F_NOPREFIXROUTE),
    })
}

/// What makes two IPv4 addresses the same entry (find_matching_ifa).
fn same4(a: &Addr4, b: &Addr4) -> bool {
    (a.addr, a.peer, a.prefix_len) == (b.addr, b.peer, b.prefix_len)
}

/// Adds an IPv4 address, or changes the one that is there: inet_insert_ifa, and for a promoted secondary __inet_del_ifa.
pub(super) fn put4(list: &mut Vec<Addr4>, new: Addr4) {
    if let Some(at) = list.iter().position(|old| same4(old, &new)) {
        match list.get_mut(at) {
            Some(old) if old.secondary == new.secondary => {
                *old = new;
                return;
            }
            _ => drop(list.remove(at)),
        }
    }
    let reaches = |old: &Addr4| !old.secondary && new.scope <= old.scope;
    let at =
        if new.secondary { list.len() } else { list.iter().rposition(reaches).map_or(0, |last| last + 1) };
    list.insert(at, new);
}

/// Adds an IPv6 address, or changes the one that is there: ipv6_link_dev_addr.
pub(super) fn put6(list: &mut Vec<Addr6>, new: Addr6) {
    if let Some(old) = list.iter_mut().find(|old| old.addr == new.addr) {
        *old = new;
        return;
    }
    let at = list.iter().position(|old| scope6(old.addr) <= scope6(new.addr));
    list.insert(at.unwrap_or(list.len()), new);
}

/// ipv6_addr_src_scope (RFC 4007 section 6, RFC 4291 section 2.7).
fn scope6(addr: Ipv6Addr) -> u8 {
    const SITE_LOCAL: u16 = 0xfec0;
    let [first, ..] = addr.segments();
    match addr {
        _ if addr.is_unicast_link_local() || addr.is_loopback() => 2,
        _ if first & 0xffc0 == SITE_LOCAL => 5,
        _ => 14,
    }
}

/// Adds an address of either family, or changes it.
pub(super) fn put(iface: &mut Iface, msg: &AddressMsg) {
    if let Some(new) = addr4(msg) {
        put4(&mut iface.addrs4, new);
    }
    if let Some(new) = addr6(msg) {
        put6(&mut iface.addrs6, new);
    }
}

/// Takes an address of either family away.
pub(super) fn take(iface: &mut Iface, msg: &AddressMsg) {
    if let Some(gone) = addr4(msg) {
        iface.addrs4.retain(|addr| !same4(addr, &gone));
    }
    if let Some(gone) = addr6(msg) {
        iface.addrs6.retain(|addr| addr.addr != gone.addr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn v4(last: u8, scope: u8, secondary: bool) -> Addr4 {
        let addr = Ipv4Addr::new(10, 0, 0, last);
        Addr4 { addr, peer: addr, prefix_len: 24, broadcast: None, scope, secondary }
    }

    fn lasts(list: &[Addr4]) -> Vec<u8> {
        list.iter().map(|a| a.addr.octets()[3]).collect()
    }

    #[test]
    fn primaries_come_first_and_wide_scopes_last_among_them() {
        let mut list = Vec::new();
        for new in [v4(1, 0, false), v4(2, 0, true), v4(3, 0, false), v4(4, 253, false), v4(5, 0, true)] {
            put4(&mut list, new);
        }
        assert_eq!(lasts(&list), [4, 1, 3, 2, 5]);
        // A change in place, then a promotion.
        put4(&mut list, Addr4 { broadcast: Some(Ipv4Addr::BROADCAST), ..v4(1, 0, false) });
        assert_eq!(lasts(&list), [4, 1, 3, 2, 5]);
        put4(&mut list, v4(5, 0, false));
        assert_eq!(lasts(&list), [4, 1, 3, 5, 2]);
    }

    #[test]
    fn new_ipv6_addresses_come_before_old_ones_of_their_scope() {
        let mut list = Vec::new();
        for text in ["fe80::1", "2001:db8::1", "2001:db8::2", "fe80::2"] {
            let msg = AddressMsg::new(2, format!("{text}/64").parse().unwrap());
            put6(&mut list, addr6(&msg).unwrap());
        }
        let order: Vec<_> = list.iter().map(|a| a.addr.to_string()).collect();
        assert_eq!(order, ["2001:db8::2", "2001:db8::1", "fe80::2", "fe80::1"]);
    }
}
