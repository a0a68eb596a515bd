//! The one table of drop reasons: counters, traces, metrics and documentation all come from it.
//!
//! A line reads: variant, kernel drop reason, counters with the interface that owns them, RFC section, kernel
//! function, and the sentence that teaches. `forward/` names a variant where a check fails; `forward::act` counts it.

use crate::stats::Mib;
use std::fmt;

/// Whose `inet6_dev` a counter belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The interface that received the packet.
    In,
    /// The interface that the chosen route sends on.
    Out,
    /// No interface's: it is counted for the namespace alone.
    Neither,
}

/// One line of the table.
#[derive(Debug)]
pub struct Info {
    /// The variant's own name, stable in `--json` and metrics.
    pub name: &'static str,
    /// `SKB_DROP_REASON_*` as the kernel reports it for the same packet.
    pub kernel: &'static str,
    /// What moves when a packet is dropped for it.
    pub counters: &'static [(Side, Mib)],
    /// RFC and section that ask for the drop; empty where only the kernel does.
    pub rfc: &'static str,
    /// The kernel function that drops.
    pub function: &'static str,
    /// One sentence for people.
    pub text: &'static str,
}

macro_rules! drop_reasons {
    ($($variant:ident $kernel:ident [$($side:ident $mib:ident)*] $rfc:literal $function:ident $text:literal;)*) => {
        /// Why a packet was dropped. Each variant is explained by [`DropReason::info`].
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $(#[doc = $text] $variant),* }

        impl DropReason {
            /// Every reason, in table order.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant),*];

            /// The line of the table.
            pub const fn info(self) -> &'static Info {
                match self {
                    $(DropReason::$variant => &Info {
                        name: stringify!($variant),
                        kernel: stringify!($kernel),
                        counters: &[$((Side::$side, Mib::$mib)),*],
                        rfc: $rfc,
                        function: stringify!($function),
                        text: $text,
                    }),*
                }
            }
        }
    };
}

drop_reasons! {
    // Either family, before the IP header.
    OtherHost OTHERHOST [] "894" eth_type_trans "The frame is addressed to another host at layer 2.";
    NoScratch NOMEM [] "" alloc_skb "No buffer is left in this batch for a packet that had to be made.";
    NoPort DEV_READY [] "" dev_queue_xmit "The route names an interface that cannot be sent on.";
    GsoTooBig PKT_TOO_BIG [] "" skb_gso_validate_network_len "A super-frame would need segments larger than the way out allows and may be cut no further here.";

    // ip6_rcv_core
    V6NoInterface NOT_SPECIFIED [Neither Ip6InDiscards] "8200 5" ip6_rcv_core "The interface that received the packet has no IPv6: its MTU is below 1280.";
    V6Disabled IPV6DISABLED [In Ip6InDiscards] "" ip6_rcv_core "IPv6 is switched off on the interface that received the packet.";
    V6Short IP_INHDR [In Ip6InHdrErrors] "8200 3" ip6_rcv_core "Fewer than the 40 bytes of an IPv6 header arrived.";
    V6Version UNHANDLED_PROTO [In Ip6InHdrErrors] "8200 3" ip6_rcv_core "The version field is not 6.";
    V6Loopback IP_INHDR [In Ip6InHdrErrors] "4291 2.5.3" ip6_rcv_core "The loopback address ::1 may not appear on a wire.";
    V6ScopeInterface IP_INHDR [In Ip6InHdrErrors] "4291 2.7" ip6_rcv_core "A multicast group of interface-local scope may not come from a wire.";
    V6UnicastInL2Multicast UNICAST_IN_L2_MULTICAST [In Ip6InHdrErrors] "" ip6_rcv_core "Unicast packets in layer-2 group frames are refused here.";
    V6ScopeReserved IP_INHDR [In Ip6InHdrErrors] "4291 2.7" ip6_rcv_core "The multicast destination has the reserved scope 0.";
    V6SourceMulticast IP_INHDR [In Ip6InHdrErrors] "4291 2.7" ip6_rcv_core "A multicast address may not be a source.";
    V6Truncated PKT_TOO_SMALL [In Ip6InTruncatedPkts] "8200 3" ip6_rcv_core "The payload length says more bytes than arrived.";

    // ipv6_parse_hopopts, ip6_parse_tlv
    V6HopoptsShort NOT_SPECIFIED [In Ip6InHdrErrors] "8200 4.3" ipv6_parse_hopopts "The hop-by-hop header is longer than the packet.";
    V6HopoptsLong NOT_SPECIFIED [In Ip6InHdrErrors] "8504 5.3" ipv6_parse_hopopts "The hop-by-hop header is longer than max_hbh_length allows.";
    V6OptionShort IP_INHDR [In Ip6InHdrErrors] "8200 4.2" ip6_parse_tlv "An option runs past the end of its header.";
    V6PaddingRun IP_INHDR [In Ip6InHdrErrors] "4942 2.1.9.5" ip6_parse_tlv "More than seven bytes of padding stand in a row.";
    V6PaddingData IP_INHDR [In Ip6InHdrErrors] "4942 2.1.9.5" ip6_parse_tlv "A PadN option carries data other than zero.";
    V6OptionCount IP_INHDR [In Ip6InHdrErrors] "8504 5.3" ip6_parse_tlv "More options than max_hbh_opts_number allows.";
    V6RouterAlert IP_INHDR [In Ip6InHdrErrors] "2711 2.1" ipv6_hop_ra "The router alert option is not two bytes long.";
    V6Ioam IP_INHDR [In Ip6InHdrErrors] "9486 3" ipv6_hop_ioam "The IOAM option is malformed or not aligned to four bytes.";
    V6JumboForm IP_INHDR [In Ip6InHdrErrors] "2675 2" ipv6_hop_jumbo "The jumbo payload option has a wrong length or alignment.";
    V6JumboSmall IP_INHDR [In Ip6InHdrErrors] "2675 3" ipv6_hop_jumbo "The jumbo payload length is not above 65535.";
    V6JumboPayload IP_INHDR [In Ip6InHdrErrors] "2675 3" ipv6_hop_jumbo "A jumbo payload option stands in a packet whose payload length is not zero.";
    V6JumboTruncated PKT_TOO_SMALL [In Ip6InHdrErrors] "2675 3" ipv6_hop_jumbo "The jumbo payload length says more bytes than arrived.";
    V6Calipso IP_INHDR [In Ip6InHdrErrors] "5570 5" ipv6_hop_calipso "The CALIPSO label is malformed or of an unknown domain.";
    V6OptionRefused UNHANDLED_PROTO [In Ip6InHdrErrors] "8504 5.3" ip6_tlvopt_unknown "Unknown options are refused because max_hbh_opts_number is negative.";
    V6OptionDiscard UNHANDLED_PROTO [In Ip6InHdrErrors] "8200 4.2" ip6_tlvopt_unknown "An unknown option asks to be discarded silently.";
    V6OptionUnknown UNHANDLED_PROTO [In Ip6InHdrErrors] "8200 4.2" ip6_tlvopt_unknown "An unknown option asks for a parameter problem.";

    // ip6_route_input
    V6NoRoute IP_INNOROUTES [In Ip6InNoRoutes] "4443 3.1" ip6_pkt_drop "No route leads to the destination, or the route is of type unreachable.";
    V6Prohibit IP_INNOROUTES [In Ip6InNoRoutes] "4443 3.1" ip6_pkt_drop "The route or rule prohibits the destination.";
    V6Blackhole NOT_SPECIFIED [] "" dst_discard "The route, rule or next hop is a blackhole.";
    V6DestinationUnspecified IP_INADDRERRORS [In Ip6InAddrErrors] "4291 2.5.2" ip6_pkt_drop "The unspecified address :: may not be a destination.";
    V6MulticastNotMember NOT_SPECIFIED [] "" ip6_mc_input "Nobody here listens to the group and multicast forwarding is off.";

    // ip6_forward
    V6ForwardingOff IP_INADDRERRORS [In Ip6InAddrErrors] "" ip6_forward "Forwarding is off, and nothing forces it on the ingress interface.";
    V6NotHost NOT_SPECIFIED [] "4443 2.4" ip6_forward "A unicast packet in a layer-2 broadcast or multicast frame is not forwarded.";
    V6HopLimit IP_INHDR [In Ip6InHdrErrors] "8200 3" ip6_forward "The hop limit ran out here.";
    V6ProxyLinkLocal NOT_SPECIFIED [In Ip6InDiscards] "4389 4.1" ip6_forward_proxy_check "A proxied link-local address cannot be reached through a router.";
    V6SourceUnspecified IP_INADDRERRORS [In Ip6InAddrErrors] "4291 2.5.2" ip6_forward "A packet from the unspecified address must not be forwarded.";
    V6SourceLinkLocal IP_INADDRERRORS [In Ip6InAddrErrors] "4291 2.5.6" ip6_forward "A link-local source must not leave its link.";
    V6TooBig PKT_TOO_BIG [In Ip6InTooBigErrors Out Ip6FragFails] "8200 5" ip6_forward "The packet exceeds the MTU of the way out; no router fragments IPv6.";

    // ip6_output
    V6OutDisabled IPV6DISABLED [Out Ip6OutDiscards] "" ip6_output "IPv6 is switched off on the way out.";
    V6TooBigRoute NOT_SPECIFIED [Out Ip6FragFails] "8200 5" ip6_fragment "The packet is larger than the MTU of its route or path.";
    V6NeighbourFailed NEIGH_FAILED [] "4443 3.1" ndisc_error_report "The next hop did not answer neighbour discovery.";
    V6NeighbourQueueFull NEIGH_QUEUEFULL [] "4861 7.2.2" __neigh_event_send "Too many bytes wait for the next hop's address; the oldest packet gives way.";

    // local delivery and routing headers, where warren stands for the host
    V6MulticastUnheard IP_INADDRERRORS [In Ip6InDiscards] "4291 2.8" ip6_protocol_deliver_rcu "A local route led here, but nobody listens to the group.";
    V6UnknownProtocol IP_NOPROTO [In Ip6InUnknownProtos] "8200 4" ip6_protocol_deliver_rcu "Nobody here speaks the protocol that the packet carries.";
    V6RoutingShort NOT_SPECIFIED [In Ip6InHdrErrors] "8200 4.4" ipv6_rthdr_rcv "The routing header is longer than the packet.";
    V6RoutingAddress NOT_SPECIFIED [In Ip6InAddrErrors] "8200 4.4" ipv6_rthdr_rcv "A routing header in a multicast packet or a frame not for us is ignored.";
    V6RoutingType NOT_SPECIFIED [In Ip6InHdrErrors] "5095 3" ipv6_rthdr_rcv "The routing header has segments left and a type that is not followed.";
    V6SegmentRoutingOff NOT_SPECIFIED [] "8754 4.3" ipv6_srh_rcv "Segment or RPL source routing is not on for all and for the ingress interface.";
    V6SegmentHmac NOT_SPECIFIED [] "8754 2.1.2" seg6_hmac_validate_skb "The proof that is asked for is missing, or no key is known to check it.";
    V6SegmentsLeft NOT_SPECIFIED [In Ip6InHdrErrors] "8754 4.3.1.1" ipv6_srh_rcv "The routing header has more segments left than it carries.";
    V6RplForm NOT_SPECIFIED [] "6554 3" ipv6_rpl_srh_rcv "The lengths in the RPL header do not fit each other, or it holds too many addresses.";
    V6RplMulticast NOT_SPECIFIED [] "6554 4.2" ipv6_rpl_srh_rcv "The next address of the RPL header is a group.";
    V6RplLoop NOT_SPECIFIED [] "6554 4.2" ipv6_chk_rpl_srh_loop "The route in the RPL header comes back to this host too often.";

    V6DestoptsShort NOT_SPECIFIED [In Ip6InHdrErrors] "8200 4.6" ipv6_destopt_rcv "The destination options header is longer than the packet.";
    V6DestoptsLong NOT_SPECIFIED [] "8504 5.3" ipv6_destopt_rcv "The destination options header is longer than max_dst_opts_length allows.";
    V6FragmentForm NOT_SPECIFIED [In Ip6InHdrErrors] "8200 4.5" ipv6_frag_rcv "A fragment for this host that can be part of no packet.";
    V6HostFragment FRAG_REASM_TIMEOUT [] "8200 4.5" ipv6_frag_rcv "A fragment for this host: warren puts none together.";
    V6IcmpChecksum ICMP_CSUM [In Icmp6InCsumErrors In Icmp6InErrors] "4443 2.3" icmpv6_rcv "The checksum of the ICMPv6 message is wrong.";
    V6IcmpShort PKT_TOO_SMALL [In Icmp6InErrors] "4443 2.1" icmpv6_rcv "Fewer than the eight bytes of an ICMPv6 header arrived.";
    V6IcmpQuote IPV6_BAD_EXTHDR [In Icmp6InErrors] "4443 2.4" icmpv6_notify "An ICMPv6 error about a packet that nobody here sent.";
    V6NdiscHopLimit IPV6_NDISC_HOP_LIMIT [] "4861 7.1" ndisc_rcv "Neighbour discovery that crossed a router: its hop limit is not 255.";
    V6NdiscCode IPV6_NDISC_BAD_CODE [] "4861 7.1" ndisc_rcv "Neighbour discovery with an ICMPv6 code other than 0.";
    V6NdiscForm IPV6_NDISC_BAD_OPTIONS [] "4861 7.1" ndisc_recv_ns "Neighbour discovery that is too short, has an empty option, or names a wrong address.";
    V6NdiscOtherHost IPV6_NDISC_NS_OTHERHOST [] "4861 7.2.3" ndisc_recv_ns "A neighbour solicitation for an address that is not ours on this link.";
    V6UdpNoSocket NO_SOCKET [In Udp6NoPorts] "8085 3.4" __udp6_lib_rcv "Nobody here listens to the UDP port.";
    V6UdpChecksum UDP_CSUM [In Udp6InCsumErrors In Udp6InErrors] "8200 8.1" __udp6_lib_rcv "The checksum of the UDP datagram is wrong.";
    V6TcpNoSocket NO_SOCKET [] "9293 3.10.7.1" tcp_v6_rcv "Nobody here listens to the TCP port.";
    V6TcpChecksum TCP_CSUM [In TcpInCsumErrors In TcpInErrs] "9293 3.1" tcp_v6_rcv "The checksum of the TCP segment is wrong.";

    // ip_rcv_core
    V4Short IP_INHDR [In IpInHdrErrors] "791 3.1" ip_rcv_core "Fewer than the 20 bytes of an IPv4 header arrived.";
    V4Header IP_INHDR [In IpInHdrErrors] "791 3.1" ip_rcv_core "The version is not 4 or the header length is below five words.";
    V4OptionsShort IP_INHDR [In IpInHdrErrors] "791 3.1" ip_rcv_core "The header length says more bytes than arrived.";
    V4Checksum IP_CSUM [In IpExtInCsumErrors In IpInHdrErrors] "1812 5.2.2" ip_rcv_core "The header checksum is wrong.";
    V4Truncated PKT_TOO_SMALL [In IpExtInTruncatedPkts] "1812 5.2.2" ip_rcv_core "The total length says more bytes than arrived.";
    V4TotalLength IP_INHDR [In IpInHdrErrors] "1812 5.2.2" ip_rcv_core "The total length is shorter than the header.";

    // ip_rcv_finish_core, ip_route_input_slow
    V4NoAddress NOT_SPECIFIED [] "" ip_route_input_slow "The interface that received the packet has no IPv4 set up.";
    V4UnicastInL2Multicast UNICAST_IN_L2_MULTICAST [] "1122 3.3.6" ip_rcv_finish_core "Unicast packets in layer-2 group frames are refused here.";
    V4SourceInvalid IP_INVALID_SOURCE [] "1812 5.3.7" ip_route_input_slow "A multicast, broadcast or zero address may not be a source.";
    V4DestinationInvalid IP_INVALID_DEST [] "1812 5.3.7" ip_route_input_slow "The destination is zero, or its route takes no packets from a wire.";
    V4Localnet IP_LOCALNET [] "1122 3.2.1.3" ip_route_input_slow "An address of 127/8 may not appear on a wire.";
    V4NoRoute IP_INNOROUTES [In IpExtInNoRoutes] "1812 4.3.3.1" ip_error "No route leads to the destination.";
    V4Unreachable NOT_SPECIFIED [] "1812 4.3.3.1" ip_error "The route is of type unreachable.";
    V4Prohibit NOT_SPECIFIED [] "1812 5.2.7.1" ip_error "The route or rule prohibits the destination.";
    V4Blackhole NOT_SPECIFIED [] "" ip_error "The route or rule is a blackhole.";
    V4ForwardingOff IP_INADDRERRORS [In IpInAddrErrors] "" ip_error "Forwarding is switched off for the interface that received the packet.";
    V4SourceLocal IP_LOCAL_SOURCE [] "1812 5.3.8" fib_validate_source "The source is one of this router's own addresses.";
    V4ReversePath IP_RPFILTER [In TcpExtIPReversePathFilter] "3704 2.2" fib_validate_source "The way back to the source leads through another interface.";
    V4MulticastNotMember NOT_SPECIFIED [] "" ip_route_input_mc "Nobody here listens to the group and multicast forwarding is off.";

    // ip_rcv_options
    V4Option IP_INHDR [In IpInHdrErrors] "1812 5.2.4" ip_rcv_options "An IPv4 option is malformed.";
    V4SourceRouteOff NOT_SPECIFIED [] "1812 5.2.4" ip_rcv_options "Source routes are refused by accept_source_route.";
    V4SourceRouteNotHost NOT_SPECIFIED [] "1122 3.2.1.8" ip_options_rcv_srr "A source route in a frame not addressed to us at layer 2 is refused.";
    V4SourceRouteStrict NOT_SPECIFIED [] "1812 5.2.4.1" ip_options_rcv_srr "A strict source route came to a router that it does not name.";
    V4SourceRouteHop NOT_SPECIFIED [] "791 3.1" ip_options_rcv_srr "The next hop of the source route cannot be reached.";

    // ip_forward
    V4NotHost NOT_SPECIFIED [] "1812 4.2.3.1" ip_forward "A unicast packet in a layer-2 broadcast or multicast frame is not forwarded.";
    V4Ttl IP_INHDR [In IpInHdrErrors] "1812 5.3.1" ip_forward "The time to live ran out here.";
    V4StrictGateway NOT_SPECIFIED [] "1812 5.2.7.1" ip_forward "A strict source route may not be forwarded through a gateway.";
    V4TooBig PKT_TOO_BIG [In IpFragFails] "1191 4" ip_forward "The packet is larger than the MTU of the way out and forbids fragmentation.";

    // ip_output
    V4FragmentMtu PKT_TOO_BIG [In IpFragFails] "791 3.2" ip_do_fragment "The MTU leaves no room for a fragment.";
    V4NeighbourFailed NEIGH_FAILED [] "1812 4.3.3.1" ipv4_link_failure "The next hop did not answer ARP.";
    V4NeighbourQueueFull NEIGH_QUEUEFULL [] "1122 2.3.2.2" __neigh_event_send "Too many bytes wait for the next hop's address; the oldest packet gives way.";
    V4HostFragment FRAG_REASM_TIMEOUT [] "791 3.2" ip_local_deliver "A fragment for this host: warren puts none together.";
    V4IcmpChecksum ICMP_CSUM [In IcmpInCsumErrors In IcmpInErrors] "792" icmp_rcv "The checksum of the ICMP message is wrong.";
    V4IcmpShort PKT_TOO_SMALL [In IcmpInErrors] "792" icmp_rcv "Fewer than the eight bytes of an ICMP header arrived.";
    V4UdpNoSocket NO_SOCKET [In UdpNoPorts] "1122 4.1.3.1" __udp4_lib_rcv "Nobody here listens to the UDP port.";
    V4UdpChecksum UDP_CSUM [In UdpInCsumErrors In UdpInErrors] "1122 4.1.3.4" __udp4_lib_rcv "The checksum of the UDP datagram is wrong.";
    V4TcpNoSocket NO_SOCKET [] "9293 3.10.7.1" tcp_v4_rcv "Nobody here listens to the TCP port.";
    V4TcpChecksum TCP_CSUM [In TcpInCsumErrors In TcpInErrs] "9293 3.1" tcp_v4_rcv "The checksum of the TCP segment is wrong.";
    V4UnknownProtocol IP_NOPROTO [In IpInUnknownProtos] "1122 3.2.2.1" ip_protocol_deliver_rcu "Nobody here speaks the protocol that the packet carries.";
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.info().name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete_prose() {
        for (i, r) in DropReason::ALL.iter().enumerate() {
            let info = r.info();
            assert_eq!(*r as usize, i, "{}: order of ALL is the discriminant", info.name);
            assert!(info.text.ends_with('.') && info.text.len() > 20, "{}: not a sentence", info.name);
            assert!(info.kernel.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        }
    }

    #[test]
    fn ipv6_reasons_move_ipv6_counters_only() {
        for r in DropReason::ALL {
            // Both families count TCP together.
            for (_, mib) in r.info().counters.iter().filter(|(_, m)| !m.name().starts_with("TcpIn")) {
                let v6 = mib.name().contains('6');
                assert_eq!(r.info().name.starts_with("V6"), v6, "{r}: counter {mib} of the other family");
            }
        }
    }
}
