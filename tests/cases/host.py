"""Both families: packets for the router itself. Echo, closed ports, unknown protocols, neighbours that ask."""

from box import LINK_MACS, Case, host4, neighbour, router, udp
from scapy.all import (
    ARP,
    ICMP,
    IP,
    TCP,
    Ether,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    Raw,
)

OURS4, FAR4 = "10.0.1.254", "10.0.2.254"
OURS6, FAR6 = "2001:db8:1::fe", "2001:db8:2::fe"
DATA = Raw(bytes(range(48)))


def wrong(packet):
    """The packet with its last byte changed, so that a checksum over it is wrong."""
    raw = bytearray(bytes(packet))
    raw[-1] ^= 0x55
    return bytes(raw)


case = Case("ip4-echo", "An echo request is answered from the address asked, with its data and TOS; wrong checksums and other types are not.")
case.ip4(ICMP(id=7, seq=1) / DATA, dst=OURS4)
case.ip4(ICMP(id=7, seq=2) / DATA, dst=FAR4)
case.ip4(ICMP(id=7, seq=3) / DATA, dst=OURS4, tos=0x28)
case.ip4(ICMP(id=7, seq=4) / DATA, dst=OURS4, tos=0xB9)
case.ip4(ICMP(id=7, seq=5), dst=OURS4, ttl=1)
case.ip4(ICMP(id=7, seq=6), dst=OURS4, ttl=0)
case.ip4(ICMP(id=7, seq=7) / Raw(b"odd"), dst=OURS4, pad=b"\xee" * 9)
case.ip4(ICMP(id=7, seq=8) / Raw(bytes(1400)), dst=OURS4)
case.ip4(ICMP(id=7, seq=9, code=3) / DATA, dst=OURS4)
case.ip4(ICMP(id=7, seq=10, chksum=0x1234) / DATA, dst=OURS4)
case.ip4(ICMP(type=0, id=7, seq=11) / DATA, dst=OURS4)
case.ip4(bytes([8, 0, 0xF7, 0xFF]), proto=1, dst=OURS4)
case.ip4(ICMP(id=7, seq=12) / DATA, dst=OURS4, flags="DF")

quiet = {"net.ipv4.icmp_echo_ignore_all": 1, "net.ipv6.icmp.echo_ignore_all": 1}
case = Case("echo-ignored", "Echo requests can be ignored, all of them.", router(sysctl=quiet))
case.ip4(ICMP(id=7, seq=1) / DATA, dst=OURS4)
case.ip6(ICMPv6EchoRequest(id=7, seq=1, data=bytes(8)), dst=OURS6)

loud = {"net.ipv4.icmp_echo_ignore_broadcasts": 0}
for name, sysctl, says in (
    ("ip4-echo-broadcast", loud, "Broadcast echo requests are answered where that is allowed, from the link's address."),
    ("ip4-echo-broadcast-ignored", {}, "Broadcast echo requests are ignored, as everything else for all hosts."),
):
    case = Case(name, says, router(sysctl=sysctl))
    case.ip4(ICMP(id=7, seq=1) / DATA, dst="10.0.1.255", mac="ff:ff:ff:ff:ff:ff")
    case.ip4(ICMP(id=7, seq=2) / DATA, dst="255.255.255.255", mac="ff:ff:ff:ff:ff:ff")
    case.ip4(ICMP(id=7, seq=3) / DATA, dst="10.0.1.255")
    case.ip4(udp(), dst="10.0.1.255", mac="ff:ff:ff:ff:ff:ff")
    case.ip4(DATA, proto=253, dst="10.0.1.255", mac="ff:ff:ff:ff:ff:ff")
    case.ip4(ICMP(id=7, seq=4) / DATA, dst="224.0.0.1", mac="01:00:5e:00:00:01")

case = Case("ip6-echo", "An echo request is answered from the address asked, with its data and traffic class; a group's from an address that suits.")
case.ip6(ICMPv6EchoRequest(id=7, seq=1, data=bytes(range(48))), dst=OURS6)
case.ip6(ICMPv6EchoRequest(id=7, seq=2, data=bytes(range(48))), dst=FAR6)
case.ip6(ICMPv6EchoRequest(id=7, seq=3, data=b"odd"), dst=OURS6, tc=0xB9, pad=b"\xee" * 9)
case.ip6(ICMPv6EchoRequest(id=7, seq=4), dst=OURS6, hlim=0)
case.ip6(ICMPv6EchoRequest(id=7, seq=5, code=3), dst=OURS6)
case.ip6(ICMPv6EchoRequest(id=7, seq=6, data=bytes(1400)), dst=OURS6)
case.ip6(ICMPv6EchoRequest(id=7, seq=7, data=bytes(8)), dst="ff02::1", mac="33:33:00:00:00:01")
case.ip6(ICMPv6EchoRequest(id=7, seq=8, data=bytes(8)), dst="2001:db8:1::")
case.ip6(wrong(ICMPv6EchoRequest(id=7, seq=9, cksum=0x1234, data=bytes(8))), nh=58, dst=OURS6)
case.ip6(ICMPv6EchoReply(id=7, seq=10, data=bytes(8)), dst=OURS6)
case.ip6(bytes([128, 0, 0, 0]), nh=58, dst=OURS6)
case.ip6(ICMPv6EchoRequest(id=7, seq=11, data=bytes(8)), src="fe80::99", dst="fe80::ff:fe00:2")
case.ip6(ICMPv6EchoRequest(id=7, seq=12, data=bytes(8)), src="::", dst=OURS6)
case.scenario = router(neighbour("p0", "fe80::99"))

for name, knob, dst, mac in (
    ("ip6-echo-multicast-ignored", "net.ipv6.icmp.echo_ignore_multicast", "ff02::1", "33:33:00:00:00:01"),
    ("ip6-echo-anycast-ignored", "net.ipv6.icmp.echo_ignore_anycast", "2001:db8:1::", None),
):
    case = Case(name, "These echo requests can be ignored; those to one address of ours are answered all the same.", router(sysctl={knob: 1}))
    case.ip6(ICMPv6EchoRequest(id=7, seq=1, data=bytes(8)), dst=dst, mac=mac)
    case.ip6(ICMPv6EchoRequest(id=7, seq=2, data=bytes(8)), dst=OURS6)

case = Case("ip6-echo-anycast-source", "With anycast_src_echo_reply an anycast address answers for itself.", router(sysctl={"net.ipv6.anycast_src_echo_reply": 1}))
case.ip6(ICMPv6EchoRequest(id=7, seq=1, data=bytes(8)), dst="2001:db8:1::")

case = Case("ip6-echo-label", "The flow label of a request comes back where flowlabel_reflect says so.", router(sysctl={"net.ipv6.flowlabel_reflect": 4}))
case.ip6(ICMPv6EchoRequest(id=7, seq=1, data=bytes(8)), dst=OURS6, fl=0x12345)

case = Case("closed-udp-port", "A datagram to a port that nobody listens to is answered with port unreachable, unless it is damaged or for many.")
case.ip4(udp(), dst=OURS4)
case.ip4(udp(), dst=FAR4, ttl=1)
case.ip4(wrong(IP(src=host4(180), dst=OURS4) / udp(20))[20:], proto=17, dst=OURS4)
case.ip4(b"\x03\xe8\x07\xd0\x00\x0a\x00\x00ab", proto=17, dst=OURS4)
case.ip4(b"\x03\xe8\x07\xd0\x00\xff\x00\x00ab", proto=17, dst=OURS4)
case.ip4(b"\x03\xe8\x07\xd0\x00\x07\x00\x00ab", proto=17, dst=OURS4)
case.ip4(b"\x03\xe8", proto=17, dst=OURS4)
case.ip6(udp(), dst=OURS6)
case.ip6(udp(), dst=FAR6, hlim=1)
case.ip6(udp(), dst="ff02::1", mac="33:33:00:00:00:01")
case.ip6(b"\x03\xe8\x07\xd0\x00\x0a\x00\x00ab", nh=17, dst=OURS6)
case.ip6(b"\x03\xe8\x07\xd0\x00\xff\x12\x34ab", nh=17, dst=OURS6)

case = Case("closed-tcp-port", "A segment to a port that nobody listens to is answered with a reset, which no reset and no damaged segment is.")
for flags in ("S", "SEC", "A", "PA", "F", "FA", "R", "RA", "SF", ""):
    case.ip4(TCP(sport=1000, dport=80, seq=1000, ack=5000, flags=flags) / Raw(b"abc"), dst=OURS4, tos=0x2A)
    case.ip6(TCP(sport=1000, dport=80, seq=1000, ack=5000, flags=flags) / Raw(b"abc"), dst=OURS6, tc=0x2A)
case.ip4(TCP(sport=1000, dport=80, flags="S", chksum=0x1234), dst=OURS4)
case.ip6(TCP(sport=1000, dport=80, flags="S", chksum=0x1234), dst=OURS6)
case.ip4(TCP(sport=1000, dport=80, flags="S", dataofs=4), dst=OURS4)
case.ip4(TCP(sport=1000, dport=80, flags="S", dataofs=15), dst=OURS4)
case.ip4(b"\x03\xe8\x00\x50", proto=6, dst=OURS4)
case.ip4(TCP(sport=1000, dport=80, flags="S"), dst=FAR4, mac="ff:ff:ff:ff:ff:ff")

case = Case("unknown-protocol", "A protocol that nobody speaks is answered with the error of its family, which points at the byte that names it.")
case.ip4(DATA, proto=253, dst=OURS4, ttl=1)
case.ip4(DATA, proto=253, dst=FAR4)
case.ip6(DATA, nh=253, dst=OURS6, hlim=1)
case.ip6(bytes([253, 0, 1, 4, 0, 0, 0, 0]) + b"data", nh=60, dst=OURS6)
case.ip6(bytes([0, 0, 1, 4, 0, 0, 0, 0]) * 2, nh=60, dst=OURS6)
case.ip6(bytes([253, 0, 1, 4, 0, 0, 0, 0]) + b"data", nh=0, dst=OURS6)
case.ip6(b"", nh=59, dst=OURS6)
case.ip6(b"data", nh=59, dst=OURS6)

case = Case("ip6-extension-headers-local", "Extension headers of a packet for the router are walked: options by their action bits, routing headers if segments are left.")
for option in (0x1E, 0x5E, 0x9E, 0xDE):
    case.ip6(bytes([59, 0, option, 4, 0, 0, 0, 0]), nh=60, dst=OURS6)
    case.ip6(bytes([59, 0, option, 4, 0, 0, 0, 0]), nh=60, dst="ff02::1", mac="33:33:00:00:00:01")
case.ip6(bytes([59, 0, 1, 9, 0, 0, 0, 0]), nh=60, dst=OURS6)
case.ip6(bytes([59, 9, 1, 4, 0, 0, 0, 0]), nh=60, dst=OURS6)
case.ip6(bytes([59, 0]), nh=60, dst=OURS6)
for kind in (0, 2, 3, 4, 5, 253):
    for left in (0, 1):
        case.ip6(bytes([59, 0, kind, left, 0, 0, 0, 0]), nh=43, dst=OURS6)
case.ip6(bytes([59, 3, 0, 0, 0, 0, 0, 0]), nh=43, dst=OURS6)
case.ip6(bytes([59, 0, 0, 1, 0, 0, 0, 0]), nh=43, dst="ff02::1", mac="33:33:00:00:00:01")
case.ip6(bytes([17, 0, 0, 0, 0, 0, 0, 7]) + bytes([0x03, 0xE8, 7, 0xD0, 0, 8, 0, 0]), nh=44, dst=OURS6)

# Neighbours of its own make themselves known, and are answered from what they said.
case = Case("neighbour-heard", "Who asks for the router's address, by ARP or discovery, is known from then on.")
HER = "02:00:00:00:02:01"
case.frame(Ether(src=HER, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=HER, psrc="10.0.1.77", pdst=OURS4))
case.frame(Ether(src=HER, dst=LINK_MACS["p0"]) / IP(src="10.0.1.77", dst=OURS4) / ICMP(id=7, seq=1) / DATA)
solicitation = ICMPv6ND_NS(tgt=OURS6) / ICMPv6NDOptSrcLLAddr(lladdr=HER)
case.frame(Ether(src=HER, dst="33:33:ff:00:00:fe") / IPv6(src="2001:db8:1::77", dst="ff02::1:ff00:fe", hlim=255) / solicitation)
case.frame(Ether(src=HER, dst=LINK_MACS["p0"]) / IPv6(src="2001:db8:1::77", dst=OURS6) / ICMPv6EchoRequest(id=7, seq=1, data=bytes(8)))
