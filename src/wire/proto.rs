//! Protocol numbers: the IPv4 protocol field and the IPv6 next-header field share one IANA registry.
//!
//! Called by everything that reads or writes an IP header. Source: IANA "Assigned Internet Protocol
//! Numbers"; the kernel calls them `IPPROTO_*` and `NEXTHDR_*`.

/// IPv6 hop-by-hop options (RFC 8200 4.3).
pub const HOPOPTS: u8 = 0;
/// ICMP for IPv4 (RFC 792).
pub const ICMP: u8 = 1;
/// IGMP (RFC 3376).
pub const IGMP: u8 = 2;
/// IPv4 inside IP (RFC 2003).
pub const IPIP: u8 = 4;
/// TCP (RFC 9293).
pub const TCP: u8 = 6;
/// UDP (RFC 768).
pub const UDP: u8 = 17;
/// DCCP (RFC 4340).
pub const DCCP: u8 = 33;
/// IPv6 inside IP (RFC 2473).
pub const IPV6: u8 = 41;
/// IPv6 routing header (RFC 8200 4.4).
pub const ROUTING: u8 = 43;
/// IPv6 fragment header (RFC 8200 4.5).
pub const FRAGMENT: u8 = 44;
/// GRE (RFC 2784).
pub const GRE: u8 = 47;
/// IPsec encapsulating security payload (RFC 4303).
pub const ESP: u8 = 50;
/// IPsec authentication header (RFC 4302).
pub const AH: u8 = 51;
/// ICMPv6 (RFC 4443).
pub const ICMPV6: u8 = 58;
/// IPv6: nothing follows (RFC 8200 4.7).
pub const NONE: u8 = 59;
/// IPv6 destination options (RFC 8200 4.6).
pub const DSTOPTS: u8 = 60;
/// SCTP (RFC 9260).
pub const SCTP: u8 = 132;
/// IPv6 mobility header (RFC 6275 6.1).
pub const MOBILITY: u8 = 135;
/// UDP-Lite (RFC 3828).
pub const UDPLITE: u8 = 136;
/// MPLS inside IP (RFC 4023).
pub const MPLS: u8 = 137;
