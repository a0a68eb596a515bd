//! Sysctls: those that make two runs comparable, and any of those that the path reads. Called by `scenario`.

use super::{Lot, set};
use crate::scenario::Scenario;

/// What every box has.
pub fn fixed(lot: &mut Lot, s: &mut Scenario) {
    // No ICMP error is limited, but those of ip_error: see `frames`.
    set(s, "net.ipv4.icmp_ratemask", 0);
    // The kernel's own seed is secret.
    set(s, "net.ipv4.fib_multipath_hash_seed", 1 + lot.below(0xffff_fffe) as i64);
}

/// Draws them.
pub fn draw(lot: &mut Lot, s: &mut Scenario, slow: bool) {
    fixed(lot, s);
    let policy = lot.below(4) as i64;
    set(s, "net.ipv4.fib_multipath_hash_policy", policy);
    if policy == 3 {
        let fields =
            lot.one(&[1, 2, 3, 7, 8, 0x10, 0x20, 0x30, 0x37, 0x3f, 0x40, 0x1c0, 0x400, 0x800, 0xc37, 0xfff]);
        set(s, "net.ipv4.fib_multipath_hash_fields", fields);
    }
    for (name, percent, values) in [
        ("fib_multipath_use_neigh", if slow { 60 } else { 30 }, &[1][..]),
        ("ip_default_ttl", 20, &[1, 2, 63, 255]),
        ("ip_forward_use_pmtu", 15, &[1]),
        ("ip_forward_update_priority", 10, &[0]),
        ("icmp_errors_use_inbound_ifaddr", 25, &[1]),
        ("icmp_echo_ignore_all", 12, &[1]),
        ("icmp_echo_ignore_broadcasts", 40, &[0]),
        ("fwmark_reflect", 10, &[1]),
        ("conf.all.forwarding", 2, &[0]),
        ("conf.all.rp_filter", 25, &[1, 2, 2]),
        ("conf.all.accept_local", 8, &[1]),
        ("conf.all.accept_source_route", 60, &[1]),
        ("conf.all.bc_forwarding", 40, &[1]),
        ("conf.all.send_redirects", 40, &[0]),
        ("conf.all.shared_media", 50, &[0]),
        ("conf.all.secure_redirects", 10, &[0]),
        ("conf.all.route_localnet", 10, &[1]),
        ("conf.all.log_martians", 2, &[1]),
        ("conf.all.src_valid_mark", 10, &[1]),
        ("conf.all.drop_unicast_in_l2_multicast", 15, &[1]),
        ("conf.all.ignore_routes_with_linkdown", 15, &[1]),
    ] {
        if let Some(value) = lot.maybe(percent, values) {
            set(s, format!("net.ipv4.{name}"), value);
        }
    }
    for link in s.link.clone() {
        device(lot, s, &link.name, link.mtu.unwrap_or(1500) >= 1280);
    }
}

fn device(lot: &mut Lot, s: &mut Scenario, dev: &str, ipv6: bool) {
    // Next hops that do not answer fail soon, and as many packets as there are may wait for that.
    for family in ["ipv4", "ipv6"].into_iter().take(1 + usize::from(ipv6)) {
        for (name, value) in [("mcast_solicit", 1), ("retrans_time_ms", 100), ("unres_qlen_bytes", 4 << 20)] {
            set(s, format!("net.{family}.neigh.{dev}.{name}"), value);
        }
    }
    // Redirects are off where neither is on.
    let silent = s.sysctl.contains_key("net.ipv4.conf.all.send_redirects");
    for (name, percent, values) in [
        ("forwarding", 5, &[0][..]),
        ("rp_filter", 30, &[1, 2, 2]),
        ("accept_local", 10, &[1]),
        ("accept_source_route", 15, &[0]),
        ("bc_forwarding", 50, &[1]),
        ("send_redirects", if silent { 80 } else { 40 }, &[0]),
        ("shared_media", 40, &[0]),
        ("route_localnet", 12, &[1]),
        ("proxy_arp", 10, &[1]),
        ("src_valid_mark", 10, &[1]),
        ("drop_unicast_in_l2_multicast", 15, &[1]),
        ("ignore_routes_with_linkdown", 20, &[1]),
        ("accept_redirects", 10, &[0]),
        ("promote_secondaries", 10, &[1]),
        ("disable_policy", 5, &[1]),
    ] {
        if let Some(value) = lot.maybe(percent, values) {
            set(s, format!("net.ipv4.conf.{dev}.{name}"), value);
        }
    }
}
