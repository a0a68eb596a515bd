//! Frames that make a Linux kernel write outside a packet. A comparison must not harm the machine that it runs on, so such
//! frames are refused before any is sent, and not drawn. Called by `run` and `draw` only: the cases of `pcaps/`, which
//! `tests/kernel.rs` and `tests/record` play as well, were looked at one by one (`safe` in `tests/cases/segments6.py`).
//!
//! Seen in Linux 6.18, and not in what the router is asked to do but in how it rewrites the packet:
//!
//! * `ipv6_srh_rcv` goes back to the fixed header as if nothing were between it and the segment routing header.
//! * `ipv6_rpl_srh_rcv` makes room for a header that grows at the last segment only, and keeps the length of the unpacked
//!   header in one byte.

use super::{ConformError, Frame, Result};
use crate::scenario::{Scenario, Value};
use crate::wire::eth::{ETHERTYPE_IPV6, EthHdr};
use crate::wire::ip6::{ExtHdr, Ip6Hdr, is_ext};
use crate::wire::proto;
use zerocopy::FromBytes;

/// RFC 6554 3, RFC 8754 2.
const TYPE_RPL: u8 = 3;
const TYPE_SEGMENTS: u8 = 4;

/// # Errors
/// The first frame that would do harm to a kernel with this router.
pub fn refuse(scenario: &Scenario, frames: &[Frame]) -> Result<()> {
    let found = frames.iter().zip(1..).find_map(|(frame, number)| Some((number, harm(scenario, frame)?)));
    found.map_or(Ok(()), |(number, why)| Err(ConformError::Meaning(format!("frame {number}: {why}"))))
}

/// What harm a frame would do to a kernel with this router, and the cure; `None` if it does none.
pub fn harm(scenario: &Scenario, frame: &Frame) -> Option<String> {
    let (segments, rpl) = (any(scenario, ".seg6_enabled"), any(scenario, ".rpl_seg_enabled"));
    let harm = |header| match header {
        Header { kind: TYPE_SEGMENTS, left: 1.., first: false, .. } if segments => {
            Some("a segment routing header behind other headers, with seg6_enabled")
        }
        Header { kind: TYPE_RPL, left: 2.., .. } if rpl => {
            Some("an RPL header with several segments left, with rpl_seg_enabled")
        }
        // Each address has at least a byte; of more than 127 the length overflows.
        Header { kind: TYPE_RPL, left: 1, units: 16.., .. } if rpl => {
            Some("an RPL header of more than 135 bytes, with rpl_seg_enabled")
        }
        _ => None,
    };
    const CURE: &str =
        "makes a Linux kernel write outside the packet: leave it out, or switch the sysctl off";
    headers(&frame.bytes).find_map(harm).map(|harm| format!("{harm}, {CURE}"))
}

/// Whether a sysctl that ends so is on for any interface.
pub fn any(scenario: &Scenario, end: &str) -> bool {
    scenario.sysctl.iter().any(|(name, value)| name.ends_with(end) && *value != Value::Number(0))
}

/// A routing header.
struct Header {
    kind: u8,
    left: u8,
    /// Its length in units of eight bytes, the first eight not counted.
    units: u8,
    /// Right behind a fixed header.
    first: bool,
}

/// The routing headers of a frame and of all packets inside: at its last segment a packet is taken out and received anew.
/// What does not look like IPv6 has none. Linux: ipv6_srh_rcv.
fn headers(frame: &[u8]) -> impl Iterator<Item = Header> + '_ {
    let packet = match EthHdr::ref_from_prefix(frame) {
        Ok((eth, packet)) if eth.ethertype.get() == ETHERTYPE_IPV6 => packet,
        _ => &[],
    };
    // Where the fixed header stands.
    let mut fixed = 0;
    let mut next = packet.get(6).copied().unwrap_or(proto::NONE);
    let mut at = Ip6Hdr::LEN;
    std::iter::from_fn(move || {
        while is_ext(next) || next == proto::IPV6 {
            let rest = packet.get(at..)?;
            if next == proto::IPV6 {
                (fixed, next) = (at, *rest.get(6)?);
                at += Ip6Hdr::LEN;
                continue;
            }
            let (ext, _) = ExtHdr::ref_from_prefix(rest).ok()?;
            let (here, kind) = (at, next);
            at += if kind == proto::FRAGMENT { 8 } else { ext.byte_len() };
            next = ext.next_header;
            if let (proto::ROUTING, Some(&[_, units, kind, left])) = (kind, rest.first_chunk()) {
                return Some(Header { kind, left, units, first: here == fixed + Ip6Hdr::LEN });
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn refused(sysctl: &str, first: u8, headers: &[u8]) -> bool {
        let mut scenario = Scenario::default();
        scenario.sysctl.insert(format!("net.ipv6.conf.p0.{sysctl}"), Value::Number(1));
        let eth = EthHdr::new([2; 6], [2; 6], ETHERTYPE_IPV6);
        let fixed = Ip6Hdr::new(64, first, 64, [1; 16].into(), [2; 16].into());
        let bytes = [eth.as_bytes(), fixed.as_bytes(), headers, &[0; 64]].concat();
        refuse(&scenario, &[Frame { link: "p0".into(), time: 0, bytes }]).is_err()
    }

    #[test]
    fn what_harms_is_refused() {
        let segments = |left| [17, 2, TYPE_SEGMENTS, left, 0, 0, 0, 0];
        let rpl = |left| [17, 2, TYPE_RPL, left, 0, 0, 0, 0];
        let behind = |header: [u8; 8]| [[proto::ROUTING, 0, 1, 4, 0, 0, 0, 0], header].concat();
        for hops in [proto::HOPOPTS, proto::DSTOPTS, proto::FRAGMENT] {
            assert!(refused("seg6_enabled", hops, &behind(segments(1))), "behind {hops}");
            assert!(!refused("seg6_enabled", hops, &behind(segments(0))), "at its end behind {hops}");
            assert!(!refused("rpl_seg_enabled", hops, &behind(segments(1))), "switched off, behind {hops}");
        }
        assert!(!refused("seg6_enabled", proto::ROUTING, &segments(1)));
        assert!(refused("rpl_seg_enabled", proto::ROUTING, &rpl(2)));
        assert!(!refused("rpl_seg_enabled", proto::ROUTING, &rpl(1)));
        assert!(refused("rpl_seg_enabled", proto::ROUTING, &[17, 16, TYPE_RPL, 1, 0, 0, 0, 0]));
        assert!(!refused("seg6_enabled", proto::UDP, &[]));
        // Inside another packet, and inside one inside that.
        let carried = |first, inside: &[u8]| {
            let fixed = Ip6Hdr::new(64, first, 64, [3; 16].into(), [4; 16].into());
            let outer = [proto::IPV6, 0, TYPE_SEGMENTS, 0, 0, 0, 0, 0];
            [&outer[..], fixed.as_bytes(), inside].concat()
        };
        let harmful = carried(proto::DSTOPTS, &behind(segments(1)));
        assert!(refused("seg6_enabled", proto::ROUTING, &harmful));
        assert!(refused("seg6_enabled", proto::ROUTING, &carried(proto::ROUTING, &harmful)));
        assert!(refused("rpl_seg_enabled", proto::ROUTING, &carried(proto::ROUTING, &rpl(2))));
        assert!(!refused("seg6_enabled", proto::ROUTING, &carried(proto::DSTOPTS, &behind(segments(0)))));
        assert!(!refused("seg6_enabled", proto::ROUTING, &carried(proto::ROUTING, &segments(1))));
    }
}
