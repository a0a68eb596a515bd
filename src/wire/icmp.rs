//! ICMP and ICMPv6: the header they share, types and codes, checksums.
//!
//! An error message is built in place: the caller puts header and quoted bytes into the frame and calls
//! [`set_csum4`] or [`set_csum6`] last. Called by the ICMP stages of both families and the local host.

use std::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{csum, proto};

/// The first eight bytes of every ICMP and ICMPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IcmpHdr {
    /// Type: a constant of [`v4`] or [`v6`].
    pub kind: u8,
    /// Code, of a meaning that depends on the type.
    pub code: u8,
    /// Checksum; for ICMPv6 with the pseudo header.
    pub csum: U16,
    /// Four bytes of a meaning that depends on the type.
    pub rest: [u8; 4],
}

impl IcmpHdr {
    /// Bytes of the header.
    pub const LEN: usize = 8;

    /// A header with checksum zero. `rest` is 0, [`mtu4`], [`mtu6`], [`pointer4`], [`pointer6`] or a gateway.
    #[must_use]
    pub fn new(kind: u8, code: u8, rest: [u8; 4]) -> Self {
        Self { kind, code, csum: U16::ZERO, rest }
    }
}

/// `rest` of "fragmentation needed": the MTU of the next hop in its low half. RFC 1191 4.
#[must_use]
pub fn mtu4(mtu: u16) -> [u8; 4] {
    u32::from(mtu).to_be_bytes()
}

/// `rest` of "packet too big". RFC 4443 3.2.
#[must_use]
pub fn mtu6(mtu: u32) -> [u8; 4] {
    mtu.to_be_bytes()
}

/// `rest` of an IPv4 parameter problem: the offset of the bad byte, in the first byte. RFC 792.
#[must_use]
pub fn pointer4(offset: u8) -> [u8; 4] {
    [offset, 0, 0, 0]
}

/// `rest` of an IPv6 parameter problem: the offset of the bad byte. RFC 4443 3.4.
#[must_use]
pub fn pointer6(offset: u32) -> [u8; 4] {
    offset.to_be_bytes()
}

/// `rest` of an IPv4 redirect: the better gateway. RFC 792.
#[must_use]
pub fn gateway4(gateway: Ipv4Addr) -> [u8; 4] {
    gateway.octets()
}

/// Sets the checksum of a whole ICMP message, header first. False, and nothing done, below eight bytes.
#[must_use]
pub fn set_csum4(message: &mut [u8]) -> bool {
    set_csum(0, message)
}

/// Sets the checksum of a whole ICMPv6 message, header first. RFC 4443 2.3.
///
/// False, and nothing done, below eight bytes.
#[must_use]
pub fn set_csum6(src: Ipv6Addr, dst: Ipv6Addr, message: &mut [u8]) -> bool {
    set_csum(csum::pseudo6(src, dst, proto::ICMPV6, message.len() as u32), message)
}

fn set_csum(pseudo: u32, message: &mut [u8]) -> bool {
    let Ok((header, _)) = IcmpHdr::mut_from_prefix(message) else { return false };
    header.csum = U16::ZERO;
    let csum = !csum::fold(pseudo + csum::sum(message));
    if let Ok((header, _)) = IcmpHdr::mut_from_prefix(message) {
        header.csum = U16::new(csum);
    }
    true
}

/// ICMP for IPv4: types, then codes under the name of their type. RFC 792, RFC 1122 3.2.2, RFC 1812 5.2.7.
pub mod v4 {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const DEST_UNREACH: u8 = 3;
    /// Source quench, obsolete.
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAM_PROBLEM: u8 = 12;
    /// Timestamp request.
    pub const TIMESTAMP: u8 = 13;
    /// Timestamp reply.
    pub const TIMESTAMP_REPLY: u8 = 14;
    /// The last type that the kernel knows: address mask reply. Linux: NR_ICMP_TYPES.
    pub const LAST_KNOWN: u8 = 18;

    /// Unreachable: network.
    pub const NET_UNREACH: u8 = 0;
    /// Unreachable: host.
    pub const HOST_UNREACH: u8 = 1;
    /// Unreachable: protocol.
    pub const PROT_UNREACH: u8 = 2;
    /// Unreachable: port.
    pub const PORT_UNREACH: u8 = 3;
    /// Unreachable: fragmentation needed and DF set.
    pub const FRAG_NEEDED: u8 = 4;
    /// Unreachable: source route failed.
    pub const SR_FAILED: u8 = 5;
    /// Unreachable: packet filtered, the network is prohibited.
    pub const NET_ANO: u8 = 9;
    /// Unreachable: packet filtered.
    pub const PKT_FILTERED: u8 = 13;
    /// Redirect: for this host.
    pub const REDIR_HOST: u8 = 1;
    /// Time exceeded: TTL.
    pub const EXC_TTL: u8 = 0;
    /// Time exceeded: reassembly.
    pub const EXC_FRAGTIME: u8 = 1;

    /// True for the types about which the kernel never sends an error: the five error types, the
    /// unassigned ones, router advertisement and solicitation, and all beyond [`LAST_KNOWN`].
    /// RFC 1122 3.2.2; Linux: icmp_pointers, __icmp_send.
    #[must_use]
    pub fn forbids_error(kind: u8) -> bool {
        !matches!(kind, ECHO_REPLY | ECHO | TIMESTAMP..=LAST_KNOWN)
    }

    /// True for messages that quote the packet they are about: 3, 4, 5, 11 and 12. Linux: icmp_is_err.
    #[must_use]
    pub fn is_error(kind: u8) -> bool {
        matches!(kind, DEST_UNREACH | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAM_PROBLEM)
    }
}

/// ICMPv6: types, then codes. RFC 4443, RFC 4861.
pub mod v6 {
    /// Destination unreachable.
    pub const DEST_UNREACH: u8 = 1;
    /// Packet too big.
    pub const PKT_TOOBIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem.
    pub const PARAM_PROBLEM: u8 = 4;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Router solicitation, first of neighbour discovery.
    pub const ROUTER_SOLICIT: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERT: u8 = 134;
    /// Neighbour solicitation.
    pub const NEIGHBOUR_SOLICIT: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOUR_ADVERT: u8 = 136;
    /// Redirect, last of neighbour discovery.
    pub const REDIRECT: u8 = 137;

    /// Unreachable: no route.
    pub const NOROUTE: u8 = 0;
    /// Unreachable: prohibited.
    pub const ADM_PROHIBITED: u8 = 1;
    /// Unreachable: beyond the scope of the source address.
    pub const NOT_NEIGHBOUR: u8 = 2;
    /// Unreachable: address.
    pub const ADDR_UNREACH: u8 = 3;
    /// Unreachable: port.
    pub const PORT_UNREACH: u8 = 4;
    /// Unreachable: source address failed ingress policy.
    pub const POLICY_FAIL: u8 = 5;
    /// Time exceeded: hop limit.
    pub const EXC_HOPLIMIT: u8 = 0;
    /// Time exceeded: reassembly.
    pub const EXC_FRAGTIME: u8 = 1;
    /// Parameter problem: header field.
    pub const HDR_FIELD: u8 = 0;
    /// Parameter problem: next header unknown.
    pub const UNK_NEXTHDR: u8 = 1;
    /// Parameter problem: option unknown.
    pub const UNK_OPTION: u8 = 2;
    /// Parameter problem: the first fragment does not hold all headers (RFC 7112 5).
    pub const HDR_INCOMPLETE: u8 = 3;

    /// True for informational messages, types 128 and up. RFC 4443 2.1; Linux: ICMPV6_INFOMSG_MASK.
    #[must_use]
    pub fn is_informational(kind: u8) -> bool {
        kind & 0x80 != 0
    }

    /// True for the five messages of neighbour discovery, which a proxying router answers itself.
    /// RFC 4861 4; Linux: ip6_forward_proxy_check.
    #[must_use]
    pub fn is_ndisc(kind: u8) -> bool {
        matches!(kind, ROUTER_SOLICIT..=REDIRECT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Icmpv4Header, Icmpv4Slice, Icmpv6Header, Icmpv6Slice};
    use etherparse::{Icmpv4Type, Icmpv6Type, icmpv4, icmpv6};

    fn message(header: IcmpHdr, quoted: &[u8]) -> Vec<u8> {
        [header.as_bytes(), quoted].concat()
    }

    #[test]
    fn errors_are_those_etherparse_makes() {
        bolero::check!().with_type::<(u16, Vec<u8>)>().for_each(|(mtu, quoted)| {
            let rest = mtu4(*mtu);
            let mut ours = message(IcmpHdr::new(v4::DEST_UNREACH, v4::FRAG_NEEDED, rest), quoted);
            assert!(set_csum4(&mut ours));
            let needed = icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: *mtu };
            let theirs = Icmpv4Header::with_checksum(Icmpv4Type::DestinationUnreachable(needed), quoted);
            assert_eq!(ours, [&theirs.to_bytes()[..], quoted].concat());
            assert_eq!(Icmpv4Slice::from_slice(&ours).unwrap().icmp_type(), theirs.icmp_type);
        });
    }

    #[test]
    fn errors_of_ipv6_are_those_etherparse_makes() {
        bolero::check!().with_type::<([u8; 16], [u8; 16], u32, Vec<u8>)>().for_each(
            |(src, dst, at, quoted)| {
                let header = IcmpHdr::new(v6::PARAM_PROBLEM, v6::UNK_OPTION, pointer6(*at));
                let mut ours = message(header, quoted);
                assert!(set_csum6((*src).into(), (*dst).into(), &mut ours));
                let problem = icmpv6::ParameterProblemHeader {
                    code: icmpv6::ParameterProblemCode::UnrecognizedIpv6Option,
                    pointer: *at,
                };
                let kind = Icmpv6Type::ParameterProblem(problem);
                let theirs = Icmpv6Header::with_checksum(kind, *src, *dst, quoted).unwrap();
                assert_eq!(ours, [&theirs.to_bytes()[..], quoted].concat());
                assert!(Icmpv6Slice::from_slice(&ours).unwrap().is_checksum_valid(*src, *dst));
            },
        );
    }

    #[test]
    fn the_four_bytes_stand_where_the_rfcs_put_them() {
        assert_eq!(mtu4(0x0578), [0, 0, 5, 0x78]);
        assert_eq!(mtu6(0x0001_0500), [0, 1, 5, 0]);
        assert_eq!(pointer4(20), [20, 0, 0, 0]);
        assert_eq!(gateway4(Ipv4Addr::new(10, 0, 0, 1)), [10, 0, 0, 1]);
        let mut short = [1; 7];
        assert!(!set_csum4(&mut short));
        assert_eq!(short, [1; 7]);
    }

    #[test]
    fn types_are_sorted_as_the_kernel_sorts_them() {
        let answered: Vec<u8> = (0..=255).filter(|kind| !v4::forbids_error(*kind)).collect();
        assert_eq!(answered, [0, 8, 13, 14, 15, 16, 17, 18]);
        let errors: Vec<u8> = (0..=255).filter(|kind| v4::is_error(*kind)).collect();
        assert_eq!(errors, [3, 4, 5, 11, 12]);
        let discovery: Vec<u8> = (0..=255).filter(|kind| v6::is_ndisc(*kind)).collect();
        assert_eq!(discovery, [133, 134, 135, 136, 137]);
        assert!(v6::is_informational(128) && !v6::is_informational(127));
    }
}
