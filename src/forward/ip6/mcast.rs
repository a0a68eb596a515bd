//! Multicast packets: who listens. Linux: ip6_mc_input.

use super::super::ctx::Ctx;
use super::super::decision::Verdict;
use super::super::observe::Observer;
use super::Packet;
use crate::drop::DropReason as D;
use crate::stats::Mib;

/// Counts, then delivers to the host if it joined the group. RFC 4291 2.8; Linux: ip6_mc_input, ipv6_chk_mcast_addr.
pub fn input<'a, O: Observer>(cx: &mut Ctx<'a, '_, O>, packet: &Packet<'_>) -> Result<Verdict<'a>, D> {
    cx.count_in(Mib::Ip6InMcastPkts, 1);
    cx.count_in(Mib::Ip6InMcastOctets, packet.bytes.len());
    let joined = cx.iif.groups6.contains(&packet.hdr.dst());
    cx.check(D::V6MulticastNotMember, joined)?;
    cx.rule("group joined");
    Ok(Verdict::Local)
}
