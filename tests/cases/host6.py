"""IPv6 packets for the router itself: headers that end with it, errors about what it is said to have sent."""

from box import Case, route, router, udp
from scapy.all import TCP, UDP, ICMPv6DestUnreach, ICMPv6EchoRequest, IPv6, Raw, in6_chksum

OURS = "2001:db8:1::fe"


def fragment(word, nh=17):
    """A fragment header: offset in bytes with the flag in the lowest bit."""
    return bytes([nh, 0]) + word.to_bytes(2, "big") + b"\0\0\0\7"


def options(*parts, nh=17):
    """A destination options header that the parts fill."""
    body = b"".join(parts)
    assert len(body) % 8 == 6, len(body)
    return bytes([nh, (len(body) + 2) // 8 - 1]) + body


case = Case("ip6-fragment-local", "A fragment that can be part of no packet is told of; a whole one is delivered, once.")
for word, size in ((1, 12), (1, 16), (0xFFF9, 16), (8, 3), (0xFFF8, 16)):
    case.ip6(fragment(word) + bytes(size), nh=44, dst=OURS)
for nh, size in ((6, 16), (6, 24), (58, 0), (17, 0), (253, 0)):
    case.ip6(fragment(1, nh) + bytes(size), nh=44, dst=OURS)
case.ip6(fragment(0, 44) + fragment(0) + bytes(16), nh=44, dst=OURS)
case.ip6(fragment(0, 253) + bytes(16), nh=44, dst=OURS)
case.ip6(fragment(0)[:5], nh=44, dst=OURS)

for name, sysctl, says in (
    ("ip6-destination-options", {}, "Options for the destination are read as strictly as those for every hop."),
    ("ip6-destination-options-few", {"net.ipv6.max_dst_opts_number": 1}, "More options than allowed are not read."),
    ("ip6-destination-options-none", {"net.ipv6.max_dst_opts_number": -1}, "Unknown options can be refused in silence."),
    ("ip6-destination-options-length", {"net.ipv6.max_dst_opts_length": 8}, "Options longer than allowed are not read, nor counted."),
):
    case = Case(name, says, router(sysctl=sysctl))
    for parts in (
        (b"\x1e\x04abcd",),
        (b"\x1e\0", b"\x1e\0", b"\1\0"),
        (b"\x1e\1a", b"\x1e\1b", b"\1\6\0\0\0\0\0\0"),
        (b"\0" * 6,),
        (b"\0" * 8, b"\x1e\4abcd"),
        (b"\1\4\0\0\1\0",),
        (b"\x5e\4abcd",),
        (b"\x9e\4abcd",),
        (b"\xde\4abcd",),
        (b"\x1e\5abcd",),
    ):
        case.ip6(options(*parts, nh=253) + bytes(8), nh=60, dst=OURS)

case = Case("ip6-icmp-error-local", "An ICMPv6 error about nothing that this host sent is counted as an error where the protocol would know.")
for nh in (6, 17, 58, 253, 59, 60):
    for size in (0, 8, 48):
        quoted = bytes(IPv6(src=OURS, dst="2001:db8:a1::7", nh=nh))[:40] + bytes(size)
        src = f"2001:db8:a1::{nh:x}:{size:x}"
        packet = IPv6(src=src, dst=OURS) / ICMPv6DestUnreach() / Raw(quoted)
        case.frame(bytes(packet))
case.frame(bytes(IPv6(src="2001:db8:a1::9", dst=OURS) / ICMPv6DestUnreach() / Raw(bytes(39))))

case = Case("ip6-udp-length", "Of a closed port's datagram only its own bytes are quoted; a length of zero means all that came.")
for length in (0, 7, 12, 20, 21):
    packet = bytearray(bytes(IPv6(src=f"2001:db8:a1::{length + 1:x}", dst=OURS) / UDP(sport=9, dport=9, len=length or 20, chksum=1) / Raw(bytes(12))))
    packet[44:46] = length.to_bytes(2, "big")
    cut = length if 8 <= length <= 20 else 20
    packet[46:48] = b"\0\0"
    sum_ = in6_chksum(17, IPv6(bytes(packet[:40])), bytes(packet[40 : 40 + cut]))
    packet[46:48] = sum_.to_bytes(2, "big")
    case.frame(bytes(packet))
case.ip6(udp(80), dst="ff02::1", mac="33:33:00:00:00:01")
for size in (40, 76, 77, 200):
    wrong = bytearray(bytes(udp(size)))
    wrong[6:8] = b"\x12\x34"
    case.ip6(bytes(wrong), nh=17, dst="ff02::1", mac="33:33:00:00:00:01")

case = Case("ip6-reset-label", "Resets bear the label of what they answer where that is asked for.", router(sysctl={"net.ipv6.flowlabel_reflect": 2}))
case.ip6(TCP(sport=1, dport=2, flags="S"), dst=OURS, fl=0x12345, tc=0x2B)
case.ip6(TCP(sport=1, dport=2, flags="R"), dst=OURS, fl=0x12345)
case.ip6(ICMPv6EchoRequest(data=bytes(8)), dst=OURS, fl=0x12345)

anyip = route("2001:db8:aaaa::/64", type_="local", dev="lo")
case = Case("ip6-local-prefix", "A prefix that is local as a whole is answered from the address asked, and counted on its interface.", router(anyip))
for dst in ("2001:db8:aaaa::7", "2001:db8:2::", "2001:db8:1::"):
    case.ip6(ICMPv6EchoRequest(data=bytes(8)), dst=dst)
    case.ip6(udp(), dst=dst)
    case.ip6(Raw(bytes(8)), nh=253, dst=dst)
    case.ip6(TCP(sport=1, dport=2, flags="S"), dst=dst)

case = Case("ip6-all-routers", "The groups of all routers are joined in three scopes once forwarding is on.")
for group in ("ff02::2", "ff05::2", "ff02::1:ff00:fe", "ff02::1:ff00:0", "ff05::1", "ff02::6a"):
    case.ip6(ICMPv6EchoRequest(data=bytes(8)), dst=group, mac="33:33:00:00:00:02")
