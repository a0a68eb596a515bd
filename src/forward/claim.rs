//! Which frames of a taken interface are warren's: one pure rule, which the guard in the kernel mirrors.
//!
//! Claimed is a frame that is addressed to this host at layer 2, carries no VLAN tag, is IPv4 or IPv6, is long enough
//! to hold a destination address, whose destination is not left to the kernel and that carries no router alert. The
//! alert is looked for byte by byte and not option by option: it cannot be missed in malformed options, and the guard,
//! which cannot walk options, says the same. What is taken for an alert by mistake is merely the kernel's to forward.
//! Claimed frames are warren's to forward, drop and count, malformed ones included; all others are the kernel's.

use super::decision::Why;
use crate::frame::{Meta, PktType};
use crate::state::Left;
use crate::wire::eth::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, EthHdr};
use crate::wire::ip4::{self, Ip4Hdr};
use crate::wire::ip6::{self, Ip6Hdr};
use crate::wire::proto;
use zerocopy::FromBytes;

/// The family of a claimed frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Layer 2 alone: the family of a frame that is addressed here in any way, tagged or not IP if not.
pub fn family(frame: &[u8], meta: &Meta) -> Result<Family, Why> {
    let (eth, _) = EthHdr::ref_from_prefix(frame).map_err(|_| Why::Short)?;
    if meta.vlan.is_some() {
        return Err(Why::Tagged);
    }
    match eth.ethertype.get() {
        ETHERTYPE_IPV4 => Ok(Family::V4),
        ETHERTYPE_IPV6 => Ok(Family::V6),
        ETHERTYPE_VLAN | ETHERTYPE_QINQ => Err(Why::Tagged),
        _ => Err(Why::NotIp),
    }
}

/// The whole rule. O(log n) in the destinations that are left.
pub fn claim(frame: &[u8], meta: &Meta, left: &Left) -> Result<Family, Why> {
    if meta.pkt_type != PktType::Host {
        return Err(Why::NotHost);
    }
    let family = family(frame, meta)?;
    let packet = frame.get(EthHdr::LEN..).unwrap_or_default();
    match family {
        Family::V4 => {
            let (hdr, _) = Ip4Hdr::ref_from_prefix(packet).map_err(|_| Why::Short)?;
            if left.contains4(hdr.dst()) {
                return Err(Why::Left);
            }
            if hdr.ihl() > Ip4Hdr::LEN && alert4(packet) {
                return Err(Why::RouterAlert);
            }
        }
        Family::V6 => {
            let (hdr, rest) = Ip6Hdr::ref_from_prefix(packet).map_err(|_| Why::Short)?;
            if left.contains6(hdr.dst()) {
                return Err(Why::Left);
            }
            if hdr.next_header == proto::HOPOPTS && alert6(rest) {
                return Err(Why::RouterAlert);
            }
        }
    }
    Ok(family)
}

/// RFC 2113: a byte of value 148 anywhere among the options, whether or not they are well formed.
fn alert4(packet: &[u8]) -> bool {
    let options = packet.get(Ip4Hdr::LEN..).unwrap_or_default();
    let len = Ip4Hdr::ref_from_prefix(packet).map_or(0, |(h, _)| h.ihl().saturating_sub(Ip4Hdr::LEN));
    options.iter().take(len).any(|&b| b == ip4::opt::RA)
}

/// RFC 2711: the bytes 5, 2 side by side in a hop-by-hop header of up to 64 bytes, or any longer header.
fn alert6(header: &[u8]) -> bool {
    let Some(&units) = header.get(1) else { return false };
    let options = header.get(2..).unwrap_or_default();
    let options = options.get(..usize::from(units) * 8 + 6).unwrap_or(options);
    units > 7 || options.windows(2).any(|pair| pair == [ip6::opt::ROUTER_ALERT, 2])
}
