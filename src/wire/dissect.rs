//! The flow dissector: which addresses, ports and label the kernel hashes to choose one of several paths.
//!
//! It walks a packet header by header as `__skb_flow_dissect` does and keeps one set of keys that each
//! header overwrites in part. Invariant: what a header stored stays, also when a later one is cut off;
//! so a damaged packet is hashed as the kernel hashes it. Which keys count (`fib_multipath_hash_policy`) is the
//! caller's affair. Called by the multipath stage and by routing rules that match ports.
//!
//! Of the kernel's cases only an attached BPF dissector is not here.

use std::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::FromBytes;

use super::eth::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, EthHdr};
use super::ip4::{FRAG_OFFSET, Ip4Hdr};
use super::ip6::{self, ExtHdr, FragHdr, Ip6Hdr};
use super::{l4, proto};

/// How often the walk may go on to a further header. Linux: MAX_FLOW_DISSECT_HDRS.
const MAX_HEADERS: usize = 15;

/// Addresses of a flow, by the last IP header that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addrs {
    /// No IP header could be read; or the innermost packet is TIPC, which has none.
    #[default]
    None,
    /// IPv4 source and destination.
    V4 {
        /// Source.
        src: Ipv4Addr,
        /// Destination.
        dst: Ipv4Addr,
    },
    /// IPv6 source and destination.
    V6 {
        /// Source.
        src: Ipv6Addr,
        /// Destination.
        dst: Ipv6Addr,
    },
}

/// The keys of one flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Addresses.
    pub addrs: Addrs,
    /// The last protocol number read: of layer 4, or of the encapsulation or header that ended the walk.
    pub ip_proto: u8,
    /// IPv6 flow label as a number; the last one that was not zero, so an inner zero leaves the outer label.
    pub label: u32,
    /// Source port in network order, 0 if unknown; for ESP and AH the first half of the SPI.
    pub sport: [u8; 2],
    /// Destination port in network order, 0 if unknown; for ESP and AH the second half of the SPI.
    pub dport: [u8; 2],
}

/// What [`dissect`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dissected {
    /// The keys up to the first encapsulation (all of them if there is none).
    pub outer: Flow,
    /// The keys at the end of the walk, if it went into an encapsulation. Where the inner packet could not be
    /// read these equal the outer ones, and are hashed all the same.
    pub inner: Option<Flow>,
    /// True if an encapsulation was seen, entered or not. Linux: FLOW_DIS_ENCAPSULATION.
    pub encapsulated: bool,
    /// True if the walk ended at a fragment, the first or a later one; so the ports are unknown.
    pub is_fragment: bool,
    /// True if that fragment is the first of its datagram, or its only one.
    pub first_fragment: bool,
}

/// Dissects a packet that starts at its IP header; `ethertype` says which one. Link padding must be cut off.
///
/// With `stop_at_encap` nothing inside an encapsulation is looked at; `outer` is the same either way. Any
/// bytes; at most 15 steps from header to header. Linux: __skb_flow_dissect, skb_flow_dissect_flow_keys.
#[must_use]
pub fn dissect(packet: &[u8], ethertype: u16, stop_at_encap: bool) -> Dissected {
    let mut walk = Walk { rest: packet, stop_at_encap, keys: Flow::default(), found: Dissected::default() };
    let mut next = walk.link(ethertype);
    for _ in 0..MAX_HEADERS {
        next = match next {
            Next::Link(ethertype) => walk.link(ethertype),
            Next::Ext6(kind) => walk.payload(ETHERTYPE_IPV6, kind),
            Next::End => break,
        };
    }
    let Walk { keys, found, .. } = walk;
    match found.encapsulated {
        false => Dissected { outer: keys, ..found },
        true => Dissected { inner: (!stop_at_encap).then_some(keys), ..found },
    }
}

/// What stands at the start of `Walk::rest`. None of the kernel's two ways to end matters for the keys.
enum Next {
    /// A packet of this EtherType.
    Link(u16),
    /// A header of this type in a chain of IPv6 headers.
    Ext6(u8),
    /// Nothing to go into.
    End,
}

struct Walk<'a> {
    /// From the next header on; empty once a length pointed past the end.
    rest: &'a [u8],
    stop_at_encap: bool,
    keys: Flow,
    found: Dissected,
}

impl Walk<'_> {
    /// Goes `len` bytes on. Past the end nothing can be read any more, as in the kernel.
    fn skip(&mut self, len: usize) {
        self.rest = self.rest.get(len..).unwrap_or_default();
    }

    /// A 16-bit field `at` bytes from here.
    fn word(&self, at: usize) -> Option<u16> {
        self.rest.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// Reads a header that an EtherType announced. Those below IP are met inside GRE only.
    fn link(&mut self, ethertype: u16) -> Next {
        const PPPOE: u16 = 0x8864;
        const BATMAN: u16 = 0x4305;
        const TIPC: u16 = 0x88ca;
        const PRP: u16 = 0x88fb;
        const HSR: u16 = 0x892f;
        match ethertype {
            ETHERTYPE_IPV4 => self.ip4(),
            ETHERTYPE_IPV6 => self.ip6(),
            ETHERTYPE_VLAN | ETHERTYPE_QINQ => self.tag(2, 4),
            PRP | HSR => self.tag(4, 6),
            PPPOE => self.pppoe(),
            BATMAN => self.batman(),
            TIPC if self.rest.len() >= 16 => {
                self.keys.addrs = Addrs::None;
                Next::End
            }
            // MPLS, ARP, FCoE, PTP and CFM add no key, and what follows them is not looked at.
            _ => Next::End,
        }
    }

    fn ip4(&mut self) -> Next {
        let Ok((header, _)) = Ip4Hdr::ref_from_prefix(self.rest) else { return Next::End };
        // The version is believed; a short header is not.
        if header.ihl() < Ip4Hdr::LEN {
            return Next::End;
        }
        self.keys.ip_proto = header.proto;
        self.keys.addrs = Addrs::V4 { src: header.src(), dst: header.dst() };
        if header.is_fragment() {
            self.found.is_fragment = true;
            self.found.first_fragment |= header.frag.get() & FRAG_OFFSET == 0;
            return Next::End;
        }
        self.skip(header.ihl());
        self.payload(ETHERTYPE_IPV4, header.proto)
    }

    fn ip6(&mut self) -> Next {
        let Ok((header, _)) = Ip6Hdr::ref_from_prefix(self.rest) else { return Next::End };
        self.keys.ip_proto = header.next_header;
        self.keys.addrs = Addrs::V6 { src: header.src(), dst: header.dst() };
        if header.flow_label() != 0 {
            self.keys.label = header.flow_label();
        }
        self.skip(Ip6Hdr::LEN);
        self.payload(ETHERTYPE_IPV6, header.next_header)
    }

    /// Reads the header that a protocol number announced, then the ports if what follows has any.
    fn payload(&mut self, family: u16, protocol: u8) -> Next {
        let next = match protocol {
            proto::HOPOPTS | proto::ROUTING | proto::DSTOPTS if family == ETHERTYPE_IPV6 => self.ext6(),
            proto::FRAGMENT if family == ETHERTYPE_IPV6 => self.frag6(),
            proto::IPIP => self.enter(ETHERTYPE_IPV4),
            proto::IPV6 => self.enter(ETHERTYPE_IPV6),
            proto::GRE => self.gre().unwrap_or(Next::End),
            // Layer 4. MPLS too: its labels are no keys, and nothing below them is read.
            _ => Next::End,
        };
        if !self.found.is_fragment {
            (self.keys.sport, self.keys.dport) = l4::ports(self.keys.ip_proto, self.rest);
        }
        next
    }

    /// Hop-by-hop options, routing header, destination options: passed over by their length.
    fn ext6(&mut self) -> Next {
        let Ok((header, _)) = ExtHdr::ref_from_prefix(self.rest) else { return Next::End };
        self.keys.ip_proto = header.next_header;
        self.skip(header.byte_len());
        Next::Ext6(header.next_header)
    }

    /// A fragment header ends the walk, in the first fragment and in an only one too.
    fn frag6(&mut self) -> Next {
        if let Ok((header, _)) = FragHdr::ref_from_prefix(self.rest) {
            self.keys.ip_proto = header.next_header;
            self.found.is_fragment = true;
            self.found.first_fragment |= header.frag.get() & ip6::FRAG_OFFSET == 0;
        }
        Next::End
    }

    /// An encapsulation: remembers the outer keys, the first time, and goes in if that is wanted.
    fn enter(&mut self, ethertype: u16) -> Next {
        if !self.found.encapsulated {
            self.found.encapsulated = true;
            self.found.outer = self.keys;
        }
        if self.stop_at_encap { Next::End } else { Next::Link(ethertype) }
    }

    /// GRE version 0 (RFC 2784, RFC 2890) and 1 (RFC 2637) without routing; None: not to be gone into.
    fn gre(&mut self) -> Option<Next> {
        const CSUM: u16 = 0x8000;
        const ROUTING: u16 = 0x4000;
        const KEY: u16 = 0x2000;
        const SEQ: u16 = 0x1000;
        const ACK: u16 = 0x0080;
        const PPP: u16 = 0x880b;
        const TRANSPARENT_ETHERNET: u16 = 0x6558;
        let (flags, mut ethertype) = (self.word(0)?, self.word(2)?);
        let version = flags & 7;
        let pptp = ethertype == PPP && flags & KEY != 0;
        if flags & ROUTING != 0 || version > 1 || (version == 1 && !pptp) {
            return None;
        }
        let key_at = 4 + if flags & CSUM != 0 { 4 } else { 0 };
        if flags & KEY != 0 {
            self.rest.get(key_at..key_at + 4)?;
        }
        let mut len = key_at + 4 * (flags & (KEY | SEQ)).count_ones() as usize;
        if version == 1 {
            len += if flags & ACK != 0 { 4 } else { 0 };
            ethertype = ppp_ethertype(self.word(len + 2)?).unwrap_or(ethertype);
            len += 4;
        } else if ethertype == TRANSPARENT_ETHERNET {
            let (header, _) = EthHdr::ref_from_prefix(self.rest.get(len..)?).ok()?;
            ethertype = header.ethertype.get();
            len += EthHdr::LEN;
        }
        self.skip(len);
        Some(self.enter(ethertype))
    }

    /// A tag of `len` bytes whose EtherType for what follows stands at `at`.
    fn tag(&mut self, at: usize, len: usize) -> Next {
        let Some(ethertype) = self.word(at) else { return Next::End };
        self.skip(len);
        Next::Link(ethertype)
    }

    /// PPPoE session (RFC 2516 4): version and type 1, code 0.
    fn pppoe(&mut self) -> Next {
        let (Some(0x1100), Some(protocol)) = (self.word(0), self.word(6)) else { return Next::End };
        self.skip(8);
        ppp_ethertype(protocol).map_or(Next::End, Next::Link)
    }

    /// B.A.T.M.A.N. unicast: type 0x40, version 15, ten bytes in all, then an Ethernet header.
    fn batman(&mut self) -> Next {
        let (Some(0x400f), Some(ethertype)) = (self.word(0), self.word(22)) else { return Next::End };
        self.skip(24);
        self.enter(ethertype)
    }
}

/// The EtherType of a PPP protocol, if it is IP (RFC 1332, RFC 5072).
fn ppp_ethertype(protocol: u16) -> Option<u16> {
    match protocol {
        0x0021 => Some(ETHERTYPE_IPV4),
        0x0057 => Some(ETHERTYPE_IPV6),
        _ => None,
    }
}

#[cfg(test)]
mod kernel;
#[cfg(test)]
mod tests;
