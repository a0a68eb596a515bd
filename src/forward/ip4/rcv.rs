//! Receive checks of the header, in the kernel's order. RFC 1812 5.2.2; Linux: ip_rcv_core.

use super::super::ctx::Ctx;
use super::super::l3::gso;
use super::super::observe::Observer;
use super::Packet;
use crate::drop::DropReason as D;
use crate::frame::Meta;
use crate::stats::Mib;
use crate::wire::csum;
use crate::wire::ip4::Ip4Hdr;
use zerocopy::FromBytes;

/// Checks, counts, and cuts layer-2 padding.
pub fn receive<'p, O: Observer>(
    cx: &mut Ctx<'_, '_, O>,
    bytes: &'p [u8],
    meta: Meta,
) -> Result<Packet<'p>, D> {
    cx.count_in(Mib::IpInReceives, 1);
    cx.count_in(Mib::IpExtInOctets, bytes.len());
    let (hdr, _) = cx.some(D::V4Short, Ip4Hdr::ref_from_prefix(bytes).ok())?;
    cx.check(D::V4Header, hdr.version() == 4 && hdr.ihl() >= Ip4Hdr::LEN)?;
    // The kernel counts the ECN bits before it looks at the checksum.
    cx.count_in(ecn_counter(hdr.tos), gso::segments(&meta, bytes.len()));
    cx.rule(match hdr.tos & 3 {
        0 => "ECN: not capable",
        1 => "ECN: ECT(1)",
        2 => "ECN: ECT(0)",
        _ => "ECN: congestion",
    });
    let header = cx.some(D::V4OptionsShort, bytes.get(..hdr.ihl()))?;
    cx.check(D::V4Checksum, csum::checksum(header) == 0)?;
    let total = usize::from(hdr.total_len.get());
    let packet = cx.some(D::V4Truncated, bytes.get(..total))?;
    cx.check(D::V4TotalLength, total >= hdr.ihl())?;
    cx.rule_if(total < bytes.len(), "padding cut");
    cx.len = total;
    Ok(Packet { bytes: packet, hdr, meta })
}

/// The counter for the ECN bits of a received packet (RFC 3168 5).
pub fn ecn_counter(tos: u8) -> Mib {
    match tos & 3 {
        0 => Mib::IpExtInNoECTPkts,
        1 => Mib::IpExtInECT1Pkts,
        2 => Mib::IpExtInECT0Pkts,
        _ => Mib::IpExtInCEPkts,
    }
}
