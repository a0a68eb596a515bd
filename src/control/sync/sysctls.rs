//! Sysctls and joined groups: read anew once a second and after related events, because most changes are never announced.
//!
//! Invariant: only what differs from the draft is written to it. Per-interface values come from the devconf arrays of link
//! messages, all others from `/proc` of the calling thread's namespace; a file that does not exist leaves the kernel's default.
//! Called by the mirror.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::control::netlink::{Family, LinkMsg, NetconfMsg, Scope, devconf};
use crate::state::Writer;
use crate::sysctl::{Conf4, Conf6, Global4, Global6, NeighConf, RateMask6, Sysctl};

const PROC_SYS: &str = "/proc/sys/net";

/// Names of [`Conf4`] by their place in the array.
const CONF4: &[(usize, &str)] = &[
    (devconf::v4::FORWARDING, "forwarding"),
    (devconf::v4::MC_FORWARDING, "mc_forwarding"),
    (devconf::v4::BC_FORWARDING, "bc_forwarding"),
    (devconf::v4::ACCEPT_SOURCE_ROUTE, "accept_source_route"),
    (devconf::v4::RP_FILTER, "rp_filter"),
    (devconf::v4::ACCEPT_LOCAL, "accept_local"),
    (devconf::v4::ROUTE_LOCALNET, "route_localnet"),
    (devconf::v4::LOG_MARTIANS, "log_martians"),
    (devconf::v4::ACCEPT_REDIRECTS, "accept_redirects"),
    (devconf::v4::SEND_REDIRECTS, "send_redirects"),
    (devconf::v4::SHARED_MEDIA, "shared_media"),
    (devconf::v4::SECURE_REDIRECTS, "secure_redirects"),
    (devconf::v4::PROXY_ARP, "proxy_arp"),
    (devconf::v4::SRC_VALID_MARK, "src_valid_mark"),
    (devconf::v4::IGNORE_ROUTES_WITH_LINKDOWN, "ignore_routes_with_linkdown"),
    (devconf::v4::DROP_UNICAST_IN_L2_MULTICAST, "drop_unicast_in_l2_multicast"),
    (devconf::v4::PROMOTE_SECONDARIES, "promote_secondaries"),
    (devconf::v4::DISABLE_POLICY, "disable_policy"),
    (devconf::v4::DISABLE_XFRM, "disable_xfrm"),
];

/// Names of [`Conf6`] by their place in the array.
const CONF6: &[(usize, &str)] = &[
    (devconf::v6::FORWARDING, "forwarding"),
    (devconf::v6::FORCE_FORWARDING, "force_forwarding"),
    (devconf::v6::MC_FORWARDING, "mc_forwarding"),
    (devconf::v6::PROXY_NDP, "proxy_ndp"),
    (devconf::v6::IGNORE_ROUTES_WITH_LINKDOWN, "ignore_routes_with_linkdown"),
    (devconf::v6::DISABLE_IPV6, "disable_ipv6"),
    (devconf::v6::MTU, "mtu"),
    (devconf::v6::HOP_LIMIT, "hop_limit"),
    (devconf::v6::ACCEPT_SOURCE_ROUTE, "accept_source_route"),
    (devconf::v6::SEG6_ENABLED, "seg6_enabled"),
    (devconf::v6::SEG6_REQUIRE_HMAC, "seg6_require_hmac"),
    (devconf::v6::RPL_SEG_ENABLED, "rpl_seg_enabled"),
    (devconf::v6::IOAM6_ENABLED, "ioam6_enabled"),
    (devconf::v6::IOAM6_ID, "ioam6_id"),
    (devconf::v6::DROP_UNICAST_IN_L2_MULTICAST, "drop_unicast_in_l2_multicast"),
    (devconf::v6::DISABLE_POLICY, "disable_policy"),
    (devconf::v6::ACCEPT_REDIRECTS, "accept_redirects"),
    (devconf::v6::NDISC_TCLASS, "ndisc_tclass"),
    (devconf::v6::ROUTER_PROBE_INTERVAL, "router_probe_interval"),
    (devconf::v6::USE_OIF_ADDRS_ONLY, "use_oif_addrs_only"),
    (devconf::v6::USE_TEMPADDR, "use_tempaddr"),
    (devconf::v6::USE_OPTIMISTIC, "use_optimistic"),
    (devconf::v6::KEEP_ADDR_ON_DOWN, "keep_addr_on_down"),
    (devconf::v6::ACCEPT_DAD, "accept_dad"),
    (devconf::v6::ACCEPT_RA, "accept_ra"),
    (devconf::v6::ROUTER_SOLICITATIONS, "router_solicitations"),
    (devconf::v6::ADDR_GEN_MODE, "addr_gen_mode"),
];

/// Takes over a link's own sysctls. An interface without IPv6 (an MTU below 1280) counts as one where it is disabled.
pub(super) fn take_arrays(writer: &mut Writer, link: &LinkMsg) {
    let Some(iface) = writer.draft().ifaces.get(link.index) else { return };
    let (mut conf4, mut conf6) = (iface.conf4, iface.conf6);
    let at = |row: &[i32], place: usize| row.get(place).map(|value| i64::from(*value));
    for (place, name) in CONF4 {
        at(&link.conf4, *place).and_then(|value| conf4.set(name, value));
    }
    for (place, name) in CONF6 {
        let value = at(&link.conf6, *place).map(|value| match *place {
            // The array has milliseconds, the file seconds (ipv6_store_devconf).
            devconf::v6::ROUTER_PROBE_INTERVAL => value / 1000,
            devconf::v6::IOAM6_ID => value & i64::from(u16::MAX),
            _ => value,
        });
        value.and_then(|value| conf6.set(name, value));
    }
    if link.conf6.is_empty() {
        conf6.disable_ipv6 = 1;
    }
    if (conf4, conf6) != (iface.conf4, iface.conf6) {
        writer.update_iface(link.index, |iface| (iface.conf4, iface.conf6) = (conf4, conf6));
    }
}

/// Takes over what the kernel announces. True if that changed something.
pub(super) fn take_netconf(writer: &mut Writer, msg: &NetconfMsg) -> bool {
    let sysctl = &writer.draft().sysctl;
    let iface = |index| writer.draft().ifaces.get(index);
    let (conf4, conf6) = match msg.scope {
        Scope::All => (sysctl.all4, sysctl.all6),
        Scope::Default => (sysctl.default4, sysctl.default6),
        Scope::Link(index) => match iface(index) {
            Some(iface) => (iface.conf4, iface.conf6),
            None => return false,
        },
    };
    let (mut new4, mut new6) = (conf4, conf6);
    let take = |to: &mut i64, from: Option<i32>| *to = from.map_or(*to, i64::from);
    match msg.family {
        Family::V4 => {
            take(&mut new4.forwarding, msg.forwarding);
            take(&mut new4.rp_filter, msg.rp_filter);
            take(&mut new4.mc_forwarding, msg.mc_forwarding);
            take(&mut new4.proxy_arp, msg.proxy);
            take(&mut new4.bc_forwarding, msg.bc_forwarding);
            take(&mut new4.ignore_routes_with_linkdown, msg.ignore_routes_with_linkdown);
        }
        Family::V6 => {
            take(&mut new6.forwarding, msg.forwarding);
            take(&mut new6.mc_forwarding, msg.mc_forwarding);
            take(&mut new6.proxy_ndp, msg.proxy);
            take(&mut new6.force_forwarding, msg.force_forwarding);
            take(&mut new6.ignore_routes_with_linkdown, msg.ignore_routes_with_linkdown);
        }
    }
    if (new4, new6) == (conf4, conf6) {
        return false;
    }
    let sysctl = &mut writer.draft_mut().sysctl;
    match msg.scope {
        Scope::All => {
            (sysctl.all4, sysctl.all6) = (new4, new6);
            sysctl.ip4.ip_forward = new4.forwarding;
            relink(writer);
        }
        Scope::Default => (sysctl.default4, sysctl.default6) = (new4, new6),
        Scope::Link(index) => {
            writer.update_iface(index, |iface| (iface.conf4, iface.conf6) = (new4, new6));
        }
    }
    true
}

/// Lets every interface's routes follow a sysctl of `all`.
fn relink(writer: &mut Writer) {
    let indexes: Vec<u32> = writer.draft().ifaces.iter().map(|iface| iface.index).collect();
    for index in indexes {
        writer.update_iface(index, |_| ());
    }
}

/// Reads all that is not one interface's. True if something differed.
pub(super) fn read_global(writer: &mut Writer) -> bool {
    let (all4, all6) = (Conf4::all_default(), Conf6::default());
    let mut new = Sysctl { all4, all6, ..Sysctl::default() };
    let (v4, v6) = (Path::new(PROC_SYS).join("ipv4"), Path::new(PROC_SYS).join("ipv6"));
    read(&v4, Global4::NAMES, |name, value| new.ip4.set(name, value));
    read(&v6, Global6::NAMES, |name, value| new.ip6.set(name, value));
    read(&v4.join("conf/all"), Conf4::NAMES, |name, value| new.all4.set(name, value));
    read(&v6.join("conf/all"), Conf6::NAMES, |name, value| new.all6.set(name, value));
    read(&v4.join("conf/default"), Conf4::NAMES, |name, value| new.default4.set(name, value));
    read(&v6.join("conf/default"), Conf6::NAMES, |name, value| new.default6.set(name, value));
    let mask = fs::read_to_string(v6.join("icmp/ratemask")).ok();
    new.ratemask6 = mask.and_then(|list| RateMask6::parse(&list)).unwrap_or_default();
    let differs = writer.draft().sysctl != new;
    if differs {
        writer.draft_mut().sysctl = new;
        relink(writer);
    }
    differs
}

/// Reads the neighbour parameters of the interfaces that warren takes. True if something differed.
pub(super) fn read_neigh(writer: &mut Writer) -> bool {
    let mut found = Vec::new();
    for iface in writer.draft().ifaces.iter().filter(|iface| iface.taken) {
        let conf = |family: &str| {
            let mut conf = NeighConf::default();
            let dir = Path::new(PROC_SYS).join(family).join("neigh").join(&iface.name);
            read(&dir, NeighConf::NAMES, |name, value| conf.set(name, value));
            conf
        };
        let conf = (conf("ipv4"), conf("ipv6"));
        if conf != (iface.neigh4, iface.neigh6) {
            found.push((iface.index, conf));
        }
    }
    for (index, conf) in &found {
        writer.update_iface(*index, |iface| (iface.neigh4, iface.neigh6) = *conf);
    }
    !found.is_empty()
}

/// Reads the files `names` in `dir`; what cannot be read is left out. The ICMP files of IPv6 have a folder of their own.
fn read(dir: &Path, names: &[(&str, i64)], mut set: impl FnMut(&str, i64) -> Option<()>) {
    for (name, _) in names {
        let mut text = fs::read_to_string(dir.join(name));
        if let (Err(_), Some(file)) = (&text, name.strip_prefix("icmp_")) {
            text = fs::read_to_string(dir.join("icmp").join(file));
        }
        if let Some(value) = text.ok().and_then(|text| text.trim().parse().ok()) {
            set(name, value);
        }
    }
}

/// Whether IPv6 is in use on a link at this moment: it may have been switched off without an event yet.
pub(super) fn has_ipv6(name: &str) -> bool {
    let file = Path::new(PROC_SYS).join("ipv6/conf").join(name).join("disable_ipv6");
    fs::read_to_string(file).is_ok_and(|text| text.trim() == "0")
}

/// Groups by interface index.
type Groups<A> = BTreeMap<u32, Vec<A>>;

/// Reads the multicast groups that this host has joined. True if something differed.
pub(super) fn read_groups(writer: &mut Writer) -> bool {
    // Not /proc/net, which is the namespace of the process's first thread.
    let text = |file| fs::read_to_string(Path::new("/proc/thread-self/net").join(file)).unwrap_or_default();
    let (v4, v6) = (groups4(&text("igmp")), groups6(&text("igmp6")));
    let mut found = Vec::new();
    for iface in writer.draft().ifaces.iter() {
        let of = |index| (v4.get(&index).cloned(), v6.get(&index).cloned());
        let (groups4, groups6) = of(iface.index);
        let groups = (groups4.unwrap_or_default(), groups6.unwrap_or_default());
        if (&groups.0, &groups.1) != (&iface.groups4, &iface.groups6) {
            found.push((iface.index, groups));
        }
    }
    let differs = !found.is_empty();
    for (index, groups) in found {
        writer.update_iface(index, |iface| (iface.groups4, iface.groups6) = groups);
    }
    differs
}

/// `/proc/net/igmp`: a line for each interface, then indented ones with a group as the machine loads its four bytes.
fn groups4(text: &str) -> Groups<Ipv4Addr> {
    let mut groups = Groups::new();
    let mut index = 0;
    for line in text.lines().skip(1) {
        let Some(first) = line.split_whitespace().next() else { continue };
        if !line.starts_with(char::is_whitespace) {
            index = first.parse().unwrap_or(0);
        } else if let Ok(group) = u32::from_str_radix(first, 16) {
            groups.entry(index).or_insert_with(Vec::new).push(Ipv4Addr::from(group.to_ne_bytes()));
        }
    }
    groups
}

/// `/proc/net/igmp6`: index, name, group in wire order and more on each line.
fn groups6(text: &str) -> Groups<Ipv6Addr> {
    let mut groups = Groups::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let index = words.next().and_then(|word| word.parse().ok());
        let group = words.nth(1).and_then(|word| u128::from_str_radix(word, 16).ok());
        if let (Some(index), Some(group)) = (index, group) {
            groups.entry(index).or_insert_with(Vec::new).push(Ipv6Addr::from(group));
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sysctl_of_an_interface_has_a_place() {
        let names = |table: &[(usize, &'static str)]| {
            let mut names: Vec<_> = table.iter().map(|(_, name)| *name).collect();
            names.sort_unstable();
            names
        };
        let all = |table: &[(&'static str, i64)]| {
            let mut names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(CONF4), all(Conf4::NAMES));
        assert_eq!(names(CONF6), all(Conf6::NAMES));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn igmp_of_a_kernel() {
        let text = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
                    1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
                    10\tp0        :     2      V3\n\t\t\t\tFB0000E0     1 0:00000000\t\t0\n\
                    \t\t\t\t010000E0     1 0:00000000\t\t0\n";
        let groups = groups4(text);
        assert_eq!(groups[&1], [Ipv4Addr::new(224, 0, 0, 1)]);
        assert_eq!(groups[&10], [Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::new(224, 0, 0, 1)]);
    }

    #[test]
    fn igmp6_of_a_kernel() {
        let text = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n\
                    10   p0              ff0200000000000000000001ff000001     2 00000004 0\nbroken\n";
        let groups = groups6(text);
        assert_eq!(groups[&1], ["ff02::1".parse::<Ipv6Addr>().unwrap()]);
        assert_eq!(groups[&10], ["ff02::1:ff00:1".parse::<Ipv6Addr>().unwrap()]);
    }
}
