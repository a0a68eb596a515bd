//! The common packets of a batch in few steps: both families, no options or extension headers to read, one plain
//! path, a known next hop, small enough. It decides nothing that it cannot finish; all else takes the full path,
//! and a property test holds that both give the same bytes and counters.

use super::claim::Family;
use super::ctx::{Env, neighbour};
use super::decision::Egress;
use super::l3::{gso, multipath};
use crate::frame::{Meta, PktType};
use crate::iface::{Iface, LinkKind};
use crate::wire::ip4::Ip4Hdr;
use crate::wire::ip6::{self, Ip6Hdr};
use crate::wire::{csum, proto};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use warren_fib::{GroupKind, Ip, Member, TABLE_LOCAL, TABLE_MAIN};
use zerocopy::FromBytes;

/// A packet that goes out at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fast<'a> {
    /// The family.
    pub family: Family,
    /// The way out.
    pub egress: Egress<'a>,
    /// Bytes of the IP packet, layer-2 padding cut.
    pub len: usize,
    /// The two ECN bits.
    pub ecn: u8,
}

/// Decides for a packet (from its IP header on), or leaves it to the full path.
pub fn decide<'a>(
    env: Env<'a>,
    iif: &'a Iface,
    family: Family,
    packet: &[u8],
    meta: &Meta,
) -> Option<Fast<'a>> {
    if meta.pkt_type != PktType::Host {
        return None;
    }
    match family {
        Family::V4 => v4(env, iif, packet, meta),
        Family::V6 => v6(env, iif, packet, meta),
    }
}

fn v6<'a>(env: Env<'a>, iif: &'a Iface, bytes: &[u8], meta: &Meta) -> Option<Fast<'a>> {
    let (hdr, _) = Ip6Hdr::ref_from_prefix(bytes).ok()?;
    let (src, dst) = (hdr.src(), hdr.dst());
    let sysctl = &env.state.sysctl;
    let quiet = sysctl.all6.forwarding != 0
        && sysctl.all6.proxy_ndp == 0
        && iif.conf6.disable_ipv6 == 0
        && iif.kind == LinkKind::Ethernet
        && !env.state.odd_local6
        && !env.state.rules6.custom();
    let plain = hdr.version() == 6 && hdr.hop_limit > 1 && hdr.next_header != proto::HOPOPTS;
    let special = env.state.left.contains6(dst) || env.state.exceptions6.contains(dst);
    if !(quiet && plain && ordinary6(src) && ordinary6(dst)) || special {
        return None;
    }
    let packet = bytes.get(..Ip6Hdr::LEN + usize::from(hdr.payload_len.get()))?;
    let member = member(env, TABLE_MAIN, dst, || multipath::hash6(env.state, packet))?;
    let oif = env.state.ifaces.get(member.oif)?;
    let mtu = u32::try_from(oif.conf6.mtu).unwrap_or(0);
    let fits = oif.conf6.disable_ipv6 == 0 && gso::fits(packet, &meta.offload, mtu);
    // A route over lo rejects. Linux: fib6_is_reject.
    if oif.index == iif.index || oif.kind == LinkKind::Loopback || !fits {
        return None;
    }
    let next = member.via.unwrap_or(IpAddr::V6(dst));
    let egress = neighbour(env, oif, next, None).ok()?;
    Some(Fast { family: Family::V6, egress, len: packet.len(), ecn: hdr.traffic_class() & 3 })
}

/// Neither special nor scoped: what crosses routers.
fn ordinary6(addr: Ipv6Addr) -> bool {
    !(addr.is_unspecified() || addr.is_loopback() || addr.is_multicast() || ip6::is_link_local(addr))
}

fn v4<'a>(env: Env<'a>, iif: &'a Iface, bytes: &[u8], meta: &Meta) -> Option<Fast<'a>> {
    let (hdr, _) = Ip4Hdr::ref_from_prefix(bytes).ok()?;
    let (src, dst) = (hdr.src(), hdr.dst());
    let all = &env.state.sysctl.all4;
    let quiet = iif.conf4.forwarding != 0
        && iif.conf4.rp_filter.max(all.rp_filter) == 0
        && iif.kind == LinkKind::Ethernet
        && !env.state.rules4.custom()
        && !env.state.custom_local4;
    let header = bytes.get(..Ip4Hdr::LEN)?;
    let plain = hdr.ver_ihl == 0x45 && hdr.ttl > 1 && csum::checksum(header) == 0;
    let special = env.state.own4.contains(&src) || env.state.exceptions4.contains(dst);
    if !(quiet && plain && ordinary4(src) && ordinary4(dst)) || special {
        return None;
    }
    let total = usize::from(hdr.total_len.get());
    let packet = bytes.get(..total).filter(|_| total >= Ip4Hdr::LEN)?;
    // While no rule is added, table local answers for main as well.
    let member = member(env, TABLE_LOCAL, dst, || multipath::hash4(env.state, packet, dst))?;
    let oif = env.state.ifaces.get(member.oif)?;
    if oif.index == iif.index || !gso::fits(packet, &meta.offload, oif.mtu.min(u32::from(u16::MAX))) {
        return None;
    }
    let next = member.via.unwrap_or(IpAddr::V4(dst));
    let egress = neighbour(env, oif, next, None).ok()?;
    Some(Fast { family: Family::V4, egress, len: total, ecn: hdr.tos & 3 })
}

fn ordinary4(addr: Ipv4Addr) -> bool {
    !(addr.is_unspecified() || addr.is_loopback() || addr.is_multicast() || addr.is_broadcast())
}

/// The next hop of a destination with one plain path: the only member, or the one that the hash chooses.
fn member<'a, A: Ip>(env: Env<'a>, table: u32, dst: A, hash: impl FnOnce() -> u32) -> Option<&'a Member> {
    let set = env.view.table::<A>(table)?.longest(dst)?;
    let path = set.paths.first().filter(|_| set.plain)?;
    let group = env.view.group(path.group?).filter(|g| g.kind == GroupKind::Plain && !g.dead)?;
    let usable = |m: &&Member| !m.dead && !m.encap;
    match &group.members[..] {
        [only] => Some(only).filter(usable),
        members if env.state.sysctl.ip4.fib_multipath_use_neigh == 0 => {
            members.get(group.select(hash(), |_| true)?).filter(usable)
        }
        _ => None,
    }
}
