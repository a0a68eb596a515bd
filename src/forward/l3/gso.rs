//! Super-frames: a router compares the size of their segments, not theirs, with the MTU.

use crate::frame::{GsoKind, Meta, Offload};
use crate::wire::eth;

/// Whether a packet, or each segment of a super-frame, fits into `mtu`.
///
/// RFC 8200 5, RFC 1191 4; Linux: ip_exceeds_mtu, ip6_pkt_too_big, skb_gso_validate_network_len.
pub fn fits(packet: &[u8], offload: &Offload, mtu: u32) -> bool {
    let mtu = mtu as usize;
    packet.len() <= mtu || (offload.is_gso() && segment_len(packet, offload).is_some_and(|len| len <= mtu))
}

/// Bytes of each segment of a super-frame from its IP header on. Linux: skb_gso_network_seglen.
///
/// The virtio header's own `hdr_len` is no help: AF_PACKET fills it with the length of the linear part.
pub fn segment_len(packet: &[u8], offload: &Offload) -> Option<usize> {
    let l4 = usize::from(offload.csum_start).checked_sub(eth::EthHdr::LEN)?;
    let header = match offload.gso {
        GsoKind::Tcp4 | GsoKind::Tcp6 => usize::from(packet.get(l4 + 12)? >> 4) * 4,
        GsoKind::UdpL4 => 8,
        GsoKind::None | GsoKind::Udp => return None,
    };
    Some(l4 + header + usize::from(offload.gso_size))
}

/// For how many packets a frame stands (`gso_segs`).
pub fn segments(meta: &Meta, packet_len: usize) -> usize {
    let o = &meta.offload;
    if !o.is_gso() || o.gso_size == 0 {
        return 1;
    }
    let headers = usize::from(o.csum_start).saturating_sub(eth::EthHdr::LEN) + 20;
    packet_len.saturating_sub(headers).div_ceil(usize::from(o.gso_size)).max(1)
}
