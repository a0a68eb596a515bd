//! Sysctls: those that make two runs comparable, and any of those that the path reads. Called by `scenario`.
//!
//! Not drawn: see the module above.

use super::{Lot, set};
use crate::scenario::{Scenario, Value};

/// Draws them.
pub fn draw(lot: &mut Lot, s: &mut Scenario, slow: bool) {
    fixed(lot, s);
    for (name, percent, values) in [
        ("conf.all.forwarding", 10, &[0, 0, 0, 2][..]),
        ("conf.all.accept_source_route", 10, &[1, -1]),
        ("conf.all.use_optimistic", 5, &[1]),
        ("conf.all.keep_addr_on_down", 10, &[1]),
        ("conf.all.ignore_routes_with_linkdown", 15, &[1]),
    ] {
        maybe(lot, s, name, percent, values);
    }
    for name in ["seg6_enabled", "rpl_seg_enabled"] {
        maybe(lot, s, &format!("conf.all.{name}"), 12, &[1]);
    }
    // A link that is too small for IPv6 has none of them.
    for link in s.link.clone().into_iter().filter(|l| l.mtu.is_none_or(|mtu| mtu >= 1280)) {
        device(lot, s, &link.name, link.mtu.unwrap_or(1500), slow);
    }
    let policy = lot.below(4) as i64;
    set(s, "net.ipv6.fib_multipath_hash_policy", policy);
    if policy == 3 {
        let fields = lot.one(&[
            1, 2, 3, 7, 8, 0x10, 0x10, 0x13, 0x20, 0x30, 0x3f, 0x40, 0x1c0, 0x400, 0x800, 0xc37, 0xfff,
        ]);
        set(s, "net.ipv6.fib_multipath_hash_fields", fields);
    }
    for (name, percent, values) in [
        ("max_hbh_opts_number", 40, &[0, 1, 2, 2, 3, 3, 4, 16, -1, -2, -8][..]),
        ("max_hbh_length", 10, &[7, 8, 15, 16, 24, 1000]),
        ("max_dst_opts_number", 25, &[0, 1, 2, 3, -1, -8]),
        ("max_dst_opts_length", 10, &[7, 8, 15, 16, 1000]),
        ("icmp.echo_ignore_all", 5, &[1]),
        ("icmp.echo_ignore_multicast", 15, &[1]),
        ("icmp.echo_ignore_anycast", 15, &[1]),
        ("icmp.error_anycast_as_unicast", 15, &[1]),
        ("anycast_src_echo_reply", 25, &[1]),
        ("flowlabel_reflect", 20, &[1, 2, 4, 7]),
        ("fwmark_reflect", 10, &[1]),
    ] {
        maybe(lot, s, name, percent, values);
    }
}

fn maybe(lot: &mut Lot, s: &mut Scenario, name: &str, percent: usize, values: &[i64]) {
    if let Some(value) = lot.maybe(percent, values) {
        set(s, format!("net.ipv6.{name}"), value);
    }
}

/// What every box has.
pub fn fixed(lot: &mut Lot, s: &mut Scenario) {
    // No ICMPv6 error is limited. (A rate of zero would forbid redirects.)
    s.sysctl.insert("net.ipv6.icmp.ratemask".to_owned(), Value::Text(String::new()));
    // The kernel's own labels and multipath seed are secret.
    set(s, "net.ipv6.auto_flowlabels", 0);
    set(s, "net.ipv4.fib_multipath_hash_seed", 1 + lot.below(0xffff_fffe) as i64);
}

fn device(lot: &mut Lot, s: &mut Scenario, dev: &str, mtu: u32, slow: bool) {
    // As many packets as there are may wait for next hops that do not answer.
    let again = if slow { 100 } else { 2000 };
    for (name, value) in [("mcast_solicit", 1), ("retrans_time_ms", again), ("unres_qlen_bytes", 4 << 20)] {
        set(s, format!("net.ipv6.neigh.{dev}.{name}"), value);
    }
    let mtus: Vec<i64> =
        [1280, 1281, 1300, 1400, 1500].into_iter().filter(|m| *m <= i64::from(mtu)).collect();
    if lot.chance(15) {
        set(s, format!("net.ipv6.conf.{dev}.mtu"), lot.one(&mtus));
    }
    // Where the box as a whole does not forward, most links are made to.
    let forced =
        if s.sysctl.get("net.ipv6.conf.all.forwarding") == Some(&Value::Number(0)) { 75 } else { 12 };
    for (name, percent, values) in [
        ("forwarding", 10, &[0][..]),
        ("force_forwarding", forced, &[1]),
        ("proxy_ndp", 15, &[1]),
        ("ignore_routes_with_linkdown", 15, &[1]),
        ("hop_limit", 15, &[1, 2, 63, 255]),
        ("accept_source_route", 8, &[1, -1]),
        ("ioam6_enabled", 15, &[1]),
        ("drop_unicast_in_l2_multicast", 20, &[1]),
        ("accept_redirects", 10, &[0]),
        ("ndisc_tclass", 12, &[0x20, 0xff]),
        ("use_oif_addrs_only", 12, &[1]),
        ("use_tempaddr", 30, &[1, 2]),
        ("use_optimistic", 5, &[1]),
        ("disable_policy", 5, &[1]),
    ] {
        maybe(lot, s, &format!("conf.{dev}.{name}"), percent, values);
    }
    for name in ["seg6_enabled", "rpl_seg_enabled"] {
        if s.sysctl.contains_key(&format!("net.ipv6.conf.all.{name}")) {
            maybe(lot, s, &format!("conf.{dev}.{name}"), 80, &[1]);
            maybe(lot, s, &format!("conf.{dev}.seg6_require_hmac"), 10, &[-1, 1]);
        }
    }
}
