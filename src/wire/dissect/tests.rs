//! The dissector against etherparse on generated packets, and the kernel's odd corners by hand.

use super::*;
use crate::wire::proto::{DSTOPTS, ESP, FRAGMENT, GRE, HOPOPTS, ICMPV6, IPIP, IPV6, ROUTING, TCP, UDP};
use etherparse::{IpNumber, NetSlice, SlicedPacket, TransportSlice};
use zerocopy::IntoBytes;

const A4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// Ports 0x1234 to 0x5678 and enough behind them for a UDP or TCP header of 20 bytes.
const SEGMENT: [u8; 20] = [0x12, 0x34, 0x56, 0x78, 0, 20, 0, 0, 0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0, 0];

fn ip4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ip4Hdr::new((20 + payload.len()) as u16, 64, protocol, A4, B4);
    [header.as_bytes(), payload].concat()
}

fn ip6(label: u32, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = Ip6Hdr::new(payload.len() as u16, next_header, 64, A6, B6);
    header.set_flow_label(label);
    [header.as_bytes(), payload].concat()
}

fn flow(addrs: Addrs, ip_proto: u8, label: u32, ports: bool) -> Flow {
    let (sport, dport) = if ports { ([0x12, 0x34], [0x56, 0x78]) } else { ([0; 2], [0; 2]) };
    Flow { addrs, ip_proto, label, sport, dport }
}

fn flow4(ip_proto: u8, ports: bool) -> Flow {
    flow(Addrs::V4 { src: A4, dst: B4 }, ip_proto, 0, ports)
}

fn flow6(ip_proto: u8, label: u32, ports: bool) -> Flow {
    flow(Addrs::V6 { src: A6, dst: B6 }, ip_proto, label, ports)
}

/// One IP header of a generated packet, what stands behind it, and how the next one is packed in.
#[derive(Clone, Debug, bolero::TypeGenerator)]
struct Layer {
    v6: bool,
    src: [u8; 16],
    dst: [u8; 16],
    label: u32,
    options: u8,
    chain: Vec<u8>,
    fragment: Option<u16>,
    in_gre: bool,
    transport: u8,
}

impl Layer {
    fn is_fragment(&self) -> bool {
        // An offset of zero and no more to come is no fragment to etherparse; that case is tested by hand.
        self.fragment.is_some_and(|field| self.frag_field(field) != 0)
    }

    fn frag_field(&self, random: u16) -> u16 {
        if self.v6 { random & (ip6::FRAG_OFFSET | ip6::FRAG_MF) } else { random & 0x3fff }
    }

    fn ethertype(&self) -> u16 {
        if self.v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 }
    }

    fn packet(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let field = self.fragment.map(|field| self.frag_field(field)).filter(|field| *field != 0);
        if !self.v6 {
            let words = self.options % 11;
            let [a, b, c, d, e, f, g, h, ..] = self.src;
            let len = 20 + usize::from(words) * 4 + payload.len();
            let mut header = Ip4Hdr::new(len as u16, 64, protocol, [a, b, c, d].into(), [e, f, g, h].into());
            header.ver_ihl += words;
            header.frag.set(field.unwrap_or(0));
            return [header.as_bytes(), &vec![1; usize::from(words) * 4], payload].concat();
        }
        let mut kinds: Vec<u8> =
            self.chain.iter().take(6).map(|k| [ROUTING, DSTOPTS][*k as usize % 2]).collect();
        if self.options.is_multiple_of(2) {
            kinds.insert(0, HOPOPTS);
        }
        kinds.extend(field.map(|_| FRAGMENT));
        let mut body = Vec::new();
        for (i, kind) in kinds.iter().enumerate() {
            let next = kinds.get(i + 1).copied().unwrap_or(protocol);
            let size = self.chain.get(i).copied().unwrap_or(0) % 3;
            match field {
                Some(field) if *kind == FRAGMENT => {
                    body.extend([next, 0, (field >> 8) as u8, field as u8, 0, 0, 0, 1]);
                }
                _ => body.extend([&[next, size][..], &vec![0; usize::from(size) * 8 + 6]].concat()),
            }
        }
        body.extend(payload);
        let first = kinds.first().copied().unwrap_or(protocol);
        let mut header = Ip6Hdr::new(body.len() as u16, first, 64, self.src.into(), self.dst.into());
        header.set_flow_label(self.label);
        [header.as_bytes(), &body].concat()
    }
}

/// Packs the layers into one another. The last holds a transport header.
fn build(layers: &[Layer]) -> Vec<u8> {
    let (first, inner) = layers.split_first().unwrap();
    let Some(next) = inner.first() else {
        return first.packet([TCP, UDP, ICMPV6, ESP][first.transport as usize % 4], &SEGMENT);
    };
    let payload = build(inner);
    if first.in_gre {
        return first.packet(GRE, &[&[0, 0][..], &next.ethertype().to_be_bytes(), &payload].concat());
    }
    first.packet(if next.v6 { IPV6 } else { IPIP }, &payload)
}

/// The keys of the outermost IP header, by etherparse, over the keys of those around it; and what is inside.
fn oracle(packet: &[u8], mut keys: Flow) -> (Flow, bool, Vec<u8>) {
    let sliced = SlicedPacket::from_ip(packet).unwrap();
    let payload = match sliced.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let (src, dst) = (ip.header().source_addr(), ip.header().destination_addr());
            keys.addrs = Addrs::V4 { src, dst };
            ip.payload()
        }
        NetSlice::Ipv6(ip) => {
            let (src, dst) = (ip.header().source_addr(), ip.header().destination_addr());
            keys.addrs = Addrs::V6 { src, dst };
            let label = ip.header().flow_label().value();
            keys.label = if label == 0 { keys.label } else { label };
            ip.payload()
        }
        NetSlice::Arp(_) => unreachable!("from_ip"),
    };
    let ports = match sliced.transport {
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port()),
        Some(TransportSlice::Tcp(tcp)) => (tcp.source_port(), tcp.destination_port()),
        // etherparse knows no ESP: there the first four bytes of the payload are meant.
        _ if payload.ip_number == IpNumber(ESP) && !payload.fragmented => (0x1234, 0x5678),
        _ => (0, 0),
    };
    keys.ip_proto = payload.ip_number.0;
    (keys.sport, keys.dport) = (ports.0.to_be_bytes(), ports.1.to_be_bytes());
    (keys, payload.fragmented, payload.payload.to_vec())
}

#[test]
fn etherparse_finds_the_same_flows() {
    bolero::check!().with_type::<(Layer, Option<Layer>)>().for_each(|(outer, inner)| {
        // A fragment hides what is in it, so etherparse would have nothing to compare.
        let inner = inner.as_ref().filter(|_| !outer.is_fragment());
        let layers: Vec<Layer> = [Some(outer), inner].into_iter().flatten().cloned().collect();
        let packet = build(&layers);
        let (keys, fragment, payload) = oracle(&packet, Flow::default());
        let mut want = Dissected { outer: keys, is_fragment: fragment, ..Dissected::default() };
        if layers.len() == 2 {
            let skip = if outer.in_gre { 4 } else { 0 };
            let (keys, fragment, _) = oracle(&payload[skip..], keys);
            want = Dissected { inner: Some(keys), encapsulated: true, is_fragment: fragment, ..want };
        }
        let got = dissect(&packet, outer.ethertype(), false);
        let last = layers.last().unwrap();
        let mask = if last.v6 { ip6::FRAG_OFFSET } else { FRAG_OFFSET };
        want.first_fragment = want.is_fragment && last.fragment.unwrap() & mask == 0;
        assert_eq!(got, want, "{packet:02x?}");
    });
}

#[test]
fn any_bytes_and_any_cut_are_taken() {
    bolero::check!().with_type::<(Vec<Layer>, Vec<u8>, u16, u16)>().for_each(|(layers, noise, cut, at)| {
        // Long chains of layers as well as noise; whole, damaged and cut off.
        let mut packet = if layers.is_empty() { noise.clone() } else { build(layers) };
        let len = packet.len();
        if let Some(byte) = packet.get_mut(usize::from(*at) % len.max(1)) {
            *byte ^= noise.first().unwrap_or(&0);
        }
        packet.truncate(usize::from(*cut) % (len + 1));
        for ethertype in [ETHERTYPE_IPV4, ETHERTYPE_IPV6] {
            let (deep, stopped) = (dissect(&packet, ethertype, false), dissect(&packet, ethertype, true));
            assert_eq!(deep.outer, stopped.outer, "what is inside must not change the outside");
            assert_eq!((deep.encapsulated, stopped.inner), (stopped.encapsulated, None));
            assert_eq!(deep.inner.is_some(), deep.encapsulated);
            assert!(deep.is_fragment || !deep.first_fragment);
        }
    });
}

#[test]
fn stopping_keeps_the_protocol_of_the_encapsulation() {
    for (protocol, packet) in [
        (IPIP, ip6(5, IPIP, &ip4(UDP, &SEGMENT))),
        (IPV6, ip6(5, IPV6, &ip6(9, UDP, &SEGMENT))),
        (GRE, ip6(5, GRE, &[&[0, 0, 8, 0][..], &ip4(UDP, &SEGMENT)].concat())),
    ] {
        let got = dissect(&packet, ETHERTYPE_IPV6, true);
        let want = Dissected { outer: flow6(protocol, 5, false), encapsulated: true, ..Dissected::default() };
        assert_eq!(got, want);
    }
}

#[test]
fn the_outer_label_stays_under_an_inner_zero() {
    let packet = ip6(0x12345, IPV6, &ip6(0, TCP, &SEGMENT));
    assert_eq!(dissect(&packet, ETHERTYPE_IPV6, false).inner, Some(flow6(TCP, 0x12345, true)));
    let packet = ip6(0x12345, IPV6, &ip6(7, TCP, &SEGMENT));
    assert_eq!(dissect(&packet, ETHERTYPE_IPV6, false).inner, Some(flow6(TCP, 7, true)));
}

#[test]
fn a_first_or_only_fragment_shows_no_ports() {
    for (field, first) in [([0, 0], true), ([0, 1], true), ([0, 9], false)] {
        let packet = ip6(0, FRAGMENT, &[&[UDP, 0, field[0], field[1], 0, 0, 0, 1][..], &SEGMENT].concat());
        let got = dissect(&packet, ETHERTYPE_IPV6, false);
        let want = Dissected { outer: flow6(UDP, 0, false), is_fragment: true, ..Dissected::default() };
        assert_eq!(got, Dissected { first_fragment: first, ..want });
    }
    // A fragment header means nothing in IPv4, nor do hop-by-hop options.
    for protocol in [FRAGMENT, HOPOPTS] {
        let got = dissect(&ip4(protocol, &[UDP, 0, 0, 1, 0, 0, 0, 1]), ETHERTYPE_IPV4, false);
        assert_eq!(got, Dissected { outer: flow4(protocol, false), ..Dissected::default() });
    }
}

#[test]
fn what_was_stored_stays_when_a_header_is_cut_off() {
    let packet = ip6(3, HOPOPTS, &[&[UDP, 0, 1, 4, 0, 0, 0, 0][..], &SEGMENT].concat());
    assert_eq!(dissect(&packet, ETHERTYPE_IPV6, false).outer, flow6(UDP, 3, true));
    assert_eq!(dissect(&packet[..51], ETHERTYPE_IPV6, false).outer, flow6(UDP, 3, false));
    assert_eq!(dissect(&packet[..41], ETHERTYPE_IPV6, false).outer, flow6(HOPOPTS, 3, false));
    assert_eq!(dissect(&packet[..39], ETHERTYPE_IPV6, false).outer, Flow::default());
    // An encapsulation with nothing readable in it: the inner keys are the outer ones.
    let packet = ip4(IPIP, &[0x45; 19]);
    let got = dissect(&packet, ETHERTYPE_IPV4, false);
    assert_eq!((got.outer, got.inner), (flow4(IPIP, false), Some(flow4(IPIP, false))));
    // A header length below five words is not believed.
    let mut short = ip4(UDP, &SEGMENT);
    short[0] = 0x44;
    assert_eq!(dissect(&short, ETHERTYPE_IPV4, false), Dissected::default());
}

/// GRE around an IPv4 packet; `before` stands between the flags and that packet.
fn gre(flags: u16, before: &[u8]) -> Option<Flow> {
    let packet = ip4(GRE, &[&flags.to_be_bytes()[..], before, &ip4(UDP, &SEGMENT)].concat());
    let got = dissect(&packet, ETHERTYPE_IPV4, false);
    assert_eq!(got.outer, flow4(GRE, false));
    got.inner
}

#[test]
fn gre_is_entered_as_the_kernel_enters_it() {
    let entered = Some(flow4(UDP, true));
    let outside = Some(flow4(GRE, false));
    let [ip, ppp] = [&[0x08, 0x00][..], &[0x88, 0x0b]];
    assert_eq!(gre(0x0000, ip), entered);
    assert_eq!(gre(0x8000, &[ip, &[0; 4]].concat()), entered, "checksum");
    assert_eq!(gre(0xb000, &[ip, &[0; 12]].concat()), entered, "checksum, key and sequence number");
    assert_eq!(gre(0x4000, ip), None, "routing");
    assert_eq!(gre(0x0002, ip), None, "version 2");
    assert_eq!(gre(0x2001, &[ip, &[0; 4]].concat()), None, "version 1 without PPP");
    assert_eq!(gre(0x0001, ppp), None, "version 1 without key");
    let (ipv4, other) = ([0xff, 0x03, 0x00, 0x21], [0xff, 0x03, 0xc0, 0x21]);
    assert_eq!(gre(0x2001, &[ppp, &[0; 4], &ipv4].concat()), entered, "PPTP");
    assert_eq!(gre(0x3081, &[ppp, &[0; 12], &ipv4].concat()), entered, "PPTP with both numbers");
    assert_eq!(gre(0x2001, &[ppp, &[0; 4], &other].concat()), outside, "PPTP with a control protocol");
    assert_eq!(gre(0x0000, &[0x88, 0x47]), outside, "MPLS is an encapsulation, and not read");
}

#[test]
fn links_inside_gre_are_walked() {
    let entered = Some(flow4(UDP, true));
    let outside = Some(flow4(GRE, false));
    let mac = [2; 12];
    let vlan = [0x81, 0x00, 0, 5];
    let ip = [0x08, 0x00];
    let ethernet = |rest: &[&[u8]]| gre(0, &[&[0x65, 0x58][..], &mac, &rest.concat()].concat());
    assert_eq!(ethernet(&[&ip]), entered);
    assert_eq!(ethernet(&[&vlan, &vlan, &vlan, &ip]), entered);
    assert_eq!(ethernet(&[&[0x88, 0xfb], &[0; 4], &ip]), entered, "PRP");
    assert_eq!(ethernet(&[&[0x88, 0x64, 0x11, 0, 0, 1, 0, 60, 0x00, 0x21]]), entered, "PPPoE");
    assert_eq!(ethernet(&[&[0x88, 0x64, 0x11, 1, 0, 1, 0, 60, 0x00, 0x21]]), outside, "not a session packet");
    assert_eq!(ethernet(&[&[0x43, 0x05, 0x40, 15], &[0; 8], &mac, &ip]), entered, "B.A.T.M.A.N.");
    assert_eq!(ethernet(&[&[0x43, 0x05, 0x40, 14], &[0; 8], &mac, &ip]), outside, "another version");
    assert_eq!(ethernet(&[&[0x88, 0xca]]), Some(flow(Addrs::None, GRE, 0, false)), "TIPC");
    assert_eq!(ethernet(&[&[0x08, 0x06]]), outside, "ARP");
}

#[test]
fn the_walk_ends_after_fifteen_more_headers() {
    let nested = |depth: usize| (0..depth).fold(ip4(UDP, &SEGMENT), |inner, _| ip4(IPIP, &inner));
    assert_eq!(dissect(&nested(15), ETHERTYPE_IPV4, false).inner, Some(flow4(UDP, true)));
    assert_eq!(dissect(&nested(16), ETHERTYPE_IPV4, false).inner, Some(flow4(IPIP, false)));
    // The sixteenth extension header is read, since the IP header hands the first one over for nothing.
    let chain = |depth: usize| {
        let header = |next| [next, 0, 1, 4, 0, 0, 0, 0];
        let rest = [header(DSTOPTS).repeat(depth - 1), header(UDP).to_vec(), SEGMENT.to_vec()].concat();
        dissect(&ip6(0, DSTOPTS, &rest), ETHERTYPE_IPV6, false).outer
    };
    assert_eq!(chain(16), flow6(UDP, 0, true));
    assert_eq!(chain(17), flow6(DSTOPTS, 0, false));
}
