//! Base chains of nf_tables (nftables, iptables-nft) that a forwarded packet would meet. Called by [`super::find`].

use super::{Family, Finding, ForeignError, What};
use crate::control::guard::message::{self, NLM_F_DUMP, big_endian, find, list, name};
use crate::control::guard::nft::{NETLINK_NETFILTER, TABLE_PREFIX};

const NEW_CHAIN: u16 = (10 << 8) | 3;
const GET_CHAIN: u16 = (10 << 8) | 4;

const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_NETDEV: u8 = 5;
const NFPROTO_IPV6: u8 = 10;

const DROP: u32 = 0;

/// All such chains of this namespace but those of a guard.
pub(super) fn chains() -> Result<Vec<Finding>, ForeignError> {
    let failed = |source| ForeignError::Netlink { what: "nftables chains".to_owned(), source };
    let socket = message::open(NETLINK_NETFILTER).map_err(failed)?;
    let all_families = [0; 4];
    let request = message::message(GET_CHAIN, NLM_F_DUMP, &all_families, &[]);
    match message::dump(&socket, &request, NEW_CHAIN) {
        Ok(chains) => Ok(chains.iter().flat_map(|body| chain(body)).collect()),
        // The kernel has no nf_tables.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

/// One finding for each device that the chain of this message sits on; one in all if it sits on no device.
///
/// A base chain without rules whose policy is accept changes nothing. Bridge chains see frames on the ports of a bridge,
/// which the kernel goes on working.
pub(super) fn chain(body: &[u8]) -> Vec<Finding> {
    let Some((&[protocol, ..], attributes)) = body.split_first_chunk::<4>() else { return Vec::new() };
    let text = |kind| find(attributes, kind).map(name).unwrap_or_default();
    let number = |attributes, kind| find(attributes, kind).and_then(big_endian);
    let Some(hook) = find(attributes, 4) else { return Vec::new() };
    let (table, chain) = (text(1), text(3));
    let (policy, rules) = (number(attributes, 5), number(attributes, 6).unwrap_or(0));
    let (protocol_name, hook_name) = match (protocol, number(hook, 1)) {
        (NFPROTO_IPV4, Some(at @ (0 | 2 | 4))) => ("ip", hook_name(at)),
        (NFPROTO_IPV6, Some(at @ (0 | 2 | 4))) => ("ip6", hook_name(at)),
        (NFPROTO_INET, Some(at @ (0 | 2 | 4 | 5))) => ("inet", hook_name(at)),
        (NFPROTO_NETDEV, Some(0)) => ("netdev", "ingress"),
        (NFPROTO_NETDEV, Some(1)) => ("netdev", "egress"),
        _ => return Vec::new(),
    };
    let ours = protocol == NFPROTO_NETDEV && table.starts_with(TABLE_PREFIX);
    if ours || (rules == 0 && policy != Some(DROP)) {
        return Vec::new();
    }
    let family = match protocol {
        NFPROTO_IPV4 => Some(Family::V4),
        NFPROTO_IPV6 => Some(Family::V6),
        _ => None,
    };
    let finding = |interface: Option<String>| {
        let on = interface.as_ref().map(|device| format!(" on {device}")).unwrap_or_default();
        let policy = if policy == Some(DROP) { ", policy drop" } else { "" };
        let line = format!(
            "nftables chain {protocol_name} {table} {chain} (hook {hook_name}{on}, {rules} rules{policy})"
        );
        Finding { what: What::Firewall, family, interface, line }
    };
    let devices = devices(hook);
    if devices.is_empty() {
        vec![finding(None)]
    } else {
        devices.into_iter().map(|d| finding(Some(d))).collect()
    }
}

/// The devices of a hook: NFTA_HOOK_DEV, or the names in NFTA_HOOK_DEVS. A name with a wildcard stands as it is.
fn devices(hook: &[u8]) -> Vec<String> {
    let mut devices: Vec<String> = find(hook, 3).map(name).into_iter().collect();
    let several = find(hook, 4).unwrap_or_default();
    devices.extend(list(several).map(|(_, device)| name(device)));
    devices.sort();
    devices.dedup();
    devices
}

fn hook_name(number: u32) -> &'static str {
    match number {
        0 => "prerouting",
        2 => "forward",
        4 => "postrouting",
        _ => "ingress",
    }
}
