//! What values a kernel takes for each sysctl. Checked when a scenario is read, so that no box is built that cannot be.
//!
//! A test writes the limits, and what lies behind them, to a kernel. Called by `value`.

use super::Value;
use super::sysctl::{Name, RATEMASK6, number, parse, ratemask6};
use crate::sysctl::{Conf4, Conf6, Global4, Global6, NeighConf, SysctlError};
use std::ops::RangeInclusive;

/// What a sysctl takes that has no limits of its own.
const INT: RangeInclusive<i64> = i32::MIN as i64..=i32::MAX as i64;
/// Seconds that a kernel can count in ticks, whatever it was built with: up to 1000 a second.
const SECONDS: i64 = i32::MAX as i64 / 1000;

/// Those that have limits of their own, without the names of devices. Linux: ipv4_net_table, ipv6_table_template,
/// ipv6_icmp_table_template, addrconf_sysctl, neigh_sysctl_template.
const LIMITED: [(RangeInclusive<i64>, &[&str]); 20] = [
    (1..=255, &["ipv4/ip_default_ttl", "conf6/hop_limit"]),
    (0..=1, &["ipv4/ip_forward_update_priority", "ipv4/icmp_errors_use_inbound_ifaddr"]),
    (
        0..=1,
        &["ipv4/icmp_echo_ignore_all", "ipv4/icmp_echo_ignore_broadcasts", "ipv4/fib_multipath_use_neigh"],
    ),
    (0..=1, &["ipv6/icmp_error_anycast_as_unicast", "conf6/force_forwarding", "conf6/rpl_seg_enabled"]),
    (0..=1, &["conf6/ioam6_enabled"]),
    (0..=3, &["ipv4/fib_multipath_hash_policy", "ipv6/fib_multipath_hash_policy"]),
    (0..=3, &["ipv6/auto_flowlabels", "conf6/addr_gen_mode"]),
    (0..=7, &["ipv6/flowlabel_reflect"]),
    (
        0..=255,
        &["ipv4/ip_forward_use_pmtu", "ipv4/fwmark_reflect", "ipv6/fwmark_reflect", "conf6/ndisc_tclass"],
    ),
    (0..=255, &["ipv4/ip_no_pmtu_disc", "ipv6/flowlabel_state_ranges", "ipv6/anycast_src_echo_reply"]),
    (
        0..=255,
        &["ipv6/icmp_echo_ignore_all", "ipv6/icmp_echo_ignore_multicast", "ipv6/icmp_echo_ignore_anycast"],
    ),
    (1..=4095, &["ipv4/fib_multipath_hash_fields", "ipv6/fib_multipath_hash_fields"]),
    (0..=65535, &["conf6/ioam6_id"]),
    (0..=u32::MAX as i64, &["ipv4/fib_multipath_hash_seed"]),
    (0..=i32::MAX as i64, &["ipv4/icmp_msgs_per_sec", "ipv4/icmp_msgs_burst"]),
    (0..=i32::MAX as i64, &["ipv4/icmp_ratelimit", "ipv6/icmp_ratelimit", "neigh/retrans_time_ms"]),
    (0..=i32::MAX as i64, &["neigh/mcast_solicit", "neigh/unres_qlen_bytes"]),
    (-1..=i32::MAX as i64, &["conf6/router_solicitations"]),
    (1280..=i32::MAX as i64, &["conf6/mtu"]),
    (-SECONDS..=SECONDS, &["conf6/router_probe_interval", "neigh/delay_first_probe_time"]),
];

/// What the kernel takes as a value of this sysctl; `None` if forwarding does not read it. A device's `mtu` is also limited
/// by the link's own.
pub fn range(name: &str) -> Option<RangeInclusive<i64>> {
    let name = parse(name)?;
    let (folder, leaf, known) = match &name {
        Name::Conf { v6: false, leaf, .. } => ("conf4", *leaf, Conf4::default().get(leaf)),
        Name::Conf { v6: true, leaf, .. } => ("conf6", *leaf, Conf6::default().get(leaf)),
        Name::Neigh { leaf, .. } => ("neigh", *leaf, NeighConf::default().get(leaf)),
        Name::Global { v6: false, leaf } => ("ipv4", leaf.as_str(), Global4::default().get(leaf)),
        Name::Global { v6: true, leaf } => ("ipv6", leaf.as_str(), Global6::default().get(leaf)),
    };
    known?;
    let place = format!("{folder}/{leaf}");
    let limited = LIMITED.iter().find(|(_, names)| names.contains(&place.as_str()));
    Some(limited.map_or(INT, |(range, _)| range.clone()))
}

/// Whether a kernel would take this value for this sysctl; devices are not looked for. The error names the cure.
pub(super) fn check(name: &str, value: &Value) -> Result<(), String> {
    if name == RATEMASK6 {
        return ratemask6(value).map(|_| ());
    }
    let range = range(name).ok_or_else(|| SysctlError::Unknown(name.to_owned()).to_string())?;
    if name.ends_with(".mc_forwarding") {
        return Err(format!("sysctl {name}: only a multicast routing daemon sets it: leave it out"));
    }
    let number = number(name, value)?;
    let (least, most) = (range.start(), range.end());
    let outside =
        || format!("sysctl {name}: {number} is not between {least} and {most}, as the kernel wants");
    range.contains(&number).then_some(()).ok_or_else(outside)
}
