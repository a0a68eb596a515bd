"""IPv6 routing headers that lead a packet on from segment to segment: segment routing and RPL source routes."""

from ipaddress import IPv6Address

from box import Case, route, router, udp
from scapy.all import IP, ICMPv6EchoRequest, IPv6, Raw

OURS = "2001:db8:1::fe"
OURS_P1 = "2001:db8:2::fe"
LINK_LOCAL = "fe80::ff:fe00:2"
FAR = "2001:db8:a2::9"
SEG6 = {"net.ipv6.conf.all.seg6_enabled": 1, "net.ipv6.conf.p0.seg6_enabled": 1}
RPL = {"net.ipv6.conf.all.rpl_seg_enabled": 1, "net.ipv6.conf.p0.rpl_seg_enabled": 1}


def srh(left, *segments, nh=17, last=None, flags=0, tlvs=b"", units=None):
    """A segment routing header; the last segment stands first, as on the wire."""
    body = b"".join(IPv6Address(s).packed for s in segments) + tlvs
    last = max(len(segments) - 1, 0) if last is None else last
    return bytes([nh, len(body) // 8 if units is None else units, 4, left, last, flags, 0, 0]) + body


def hmac(key=7):
    """An HMAC TLV that no key proves."""
    return bytes([5, 38, 0, 0]) + key.to_bytes(4, "big") + bytes(32)


def options(nh):
    """A header of options, all padding."""
    return bytes([nh, 0, 1, 4, 0, 0, 0, 0])


def inner6(**fields):
    """An IPv6 packet to be carried in another."""
    return bytes(IPv6(**{"src": "2001:db8:a1::99", "dst": FAR, **fields}) / udp())


no = route("2001:db8:e1::/48", type="prohibit") + route("2001:db8:e0::/48", type="blackhole")
case = Case("ip6-segments", "A segment routing header leads a packet on, one segment at a time; errors quote it as it has become.", router(no, mtu=1300, sysctl=SEG6))
datagram = bytes(udp())
for hlim in (0, 1, 2, 64):
    case.ip6(srh(1, FAR, OURS) + datagram, nh=43, dst=OURS, hlim=hlim)
# One segment more than there are, or none at all.
case.ip6(srh(2, FAR, OURS) + datagram, nh=43, dst=OURS)
case.ip6(srh(1) + datagram, nh=43, dst=OURS)
case.ip6(srh(1, FAR, OURS, last=9) + datagram, nh=43, dst=OURS)
case.ip6(srh(1, FAR, OURS, units=3) + datagram, nh=43, dst=OURS)
case.ip6(srh(2, FAR, OURS, tlvs=bytes(16)) + datagram, nh=43, dst=OURS)
# Where it cannot go.
for segment in ("2001:db8:ffff::1", "2001:db8:e0::1", "2001:db8:e1::1", "::", "::1", "2001:db8:2::"):
    case.ip6(srh(1, segment, OURS) + datagram, nh=43, dst=OURS)
# Groups: joined and not.
for segment in ("ff02::1", "ff02::9", "ff01::1", "ff05::2"):
    case.ip6(srh(1, segment, OURS) + datagram, nh=43, dst=OURS)
# Back where it came from, with a redirect; from a source that must not leave the link; too large.
case.ip6(srh(1, "2001:db8:1::1", OURS) + datagram, nh=43, dst=OURS, src="2001:db8:1::1")
case.ip6(srh(1, FAR, OURS) + datagram, nh=43, dst=OURS, src="fe80::77")
case.ip6(srh(1, FAR, OURS) + datagram, nh=43, dst=OURS, src="::")
case.ip6(srh(1, FAR, OURS) + bytes(udp(1300)), nh=43, dst=OURS)
# In frames for a group, and by the other interface, where it is off.
case.ip6(srh(1, FAR, OURS) + datagram, nh=43, dst=OURS, mac="33:33:00:00:00:01")
case.ip6(srh(1, FAR, OURS) + datagram, nh=43, dst=OURS, dev="p1")
case.ip6(srh(1, FAR, OURS) + datagram, nh=43, dst="ff02::1", mac="33:33:00:00:00:01")
case.ip6(srh(1, FAR, OURS, units=9) + datagram, nh=43, dst=OURS)

case = Case("ip6-segments-here", "A segment of this host costs a hop, and the packet is read on here.", router(sysctl=SEG6))
for hlim in (1, 2, 3, 64):
    case.ip6(srh(2, FAR, OURS_P1, OURS) + datagram, nh=43, dst=OURS, hlim=hlim)
    case.ip6(srh(2, FAR, LINK_LOCAL, OURS) + datagram, nh=43, dst=OURS, hlim=hlim)
    case.ip6(srh(1, OURS_P1, OURS) + datagram, nh=43, dst=OURS, hlim=hlim)
    case.ip6(srh(1, LINK_LOCAL, OURS) + datagram, nh=43, dst=OURS, hlim=hlim)
case.ip6(srh(3, OURS, OURS_P1, "2001:db8:2::", OURS, nh=253) + datagram, nh=43, dst=OURS)
case.ip6(srh(1, "fe80::ff:fe00:3", OURS) + datagram, nh=43, dst=OURS)

case = Case("ip6-segments-end", "At the last segment a packet inside is taken out and received anew; all else is read on.", router(sysctl=SEG6))
case.ip6(srh(0, OURS, FAR) + datagram, nh=43, dst=OURS)
case.ip6(srh(0, OURS, FAR, nh=59), nh=43, dst=OURS)
case.ip6(srh(0, OURS, FAR, nh=253) + datagram, nh=43, dst=OURS)
case.ip6(srh(0, OURS, nh=43) + srh(0, OURS) + datagram, nh=43, dst=OURS)
for fields in ({}, {"hlim": 1}, {"dst": "2001:db8:ffff::1"}, {"dst": OURS_P1}, {"dst": OURS, "nh": 253}, {"dst": "ff02::1"}, {"tc": 3}, {"src": "::1"}, {"plen": 99}, {"version": 4}):
    case.ip6(srh(0, OURS, FAR, nh=41) + inner6(**fields), nh=43, dst=OURS)
case.ip6(srh(0, OURS, nh=41) + inner6()[:30], nh=43, dst=OURS)
case.ip6(srh(0, OURS, nh=41), nh=43, dst=OURS)
case.ip6(srh(0, OURS, nh=4) + bytes(IP(src="10.1.0.9", dst="10.2.0.9", id=7) / udp()), nh=43, dst=OURS)
case.ip6(srh(0, OURS, nh=4) + bytes(IP(src="10.1.0.10", dst="10.2.0.9", id=7, ttl=1) / udp()), nh=43, dst=OURS)
case.ip6(srh(0, OURS, nh=4) + bytes(IP(src="10.1.0.11", dst="10.0.1.254", id=7) / udp()), nh=43, dst=OURS)
case.ip6(srh(0, OURS, nh=4) + inner6(), nh=43, dst=OURS)
case.ip6(srh(0, OURS, nh=41) + bytes(IP(src="10.1.0.12", dst="10.2.0.9", id=7) / udp()), nh=43, dst=OURS)
twice = srh(0, OURS, nh=41) + inner6(src="2001:db8:a1::98")
deep = bytes(IPv6(src="2001:db8:a1::88", dst=OURS, nh=43, plen=len(twice))) + twice
case.ip6(srh(0, OURS, nh=41) + deep, nh=43, dst=OURS)
on = srh(1, FAR, OURS) + datagram
deep = bytes(IPv6(src="2001:db8:a1::87", dst=OURS, nh=43, plen=len(on))) + on
case.ip6(srh(1, OURS_P1, OURS, nh=41) + deep, nh=43, dst=OURS)
case.ip6(ICMPv6EchoRequest(data=bytes(8)), dst=OURS)

for require, name, says in (
    (-1, "ignored", "With seg6_require_hmac -1 nobody looks for a proof."),
    (0, "present", "A proof that is there must be right, and without keys none is; what only looks like one does not count."),
    (1, "required", "With seg6_require_hmac 1 a packet without proof is dropped in silence."),
):
    case = Case(f"ip6-segments-hmac-{name}", says, router(sysctl={**SEG6, "net.ipv6.conf.p0.seg6_require_hmac": require}))
    case.ip6(srh(1, FAR, OURS) + datagram, nh=43, dst=OURS)
    case.ip6(srh(0, OURS) + datagram, nh=43, dst=OURS)
    for fields in ({}, {"flags": 8}, {"flags": 8, "last": 2}, {"flags": 8, "last": 0}, {"flags": 0xF7}):
        case.ip6(srh(1, FAR, OURS, **{"tlvs": hmac(), **fields}) + datagram, nh=43, dst=OURS)
    case.ip6(srh(1, FAR, OURS, flags=8, tlvs=bytes([4]) + hmac()[1:]) + datagram, nh=43, dst=OURS)
    case.ip6(srh(1, FAR, OURS, flags=8, tlvs=bytes([5, 37]) + hmac()[2:]) + datagram, nh=43, dst=OURS)
    case.ip6(srh(9, FAR, OURS, flags=8, tlvs=hmac()) + datagram, nh=43, dst=OURS)
    case.ip6(srh(1, FAR, OURS, flags=8, tlvs=bytes(8)) + datagram, nh=43, dst=OURS)

for name, sysctl in (("all", {"net.ipv6.conf.all.seg6_enabled": 1, "net.ipv6.conf.all.rpl_seg_enabled": 1, "net.ipv6.conf.p0.seg6_enabled": 0, "net.ipv6.conf.p0.rpl_seg_enabled": 0}), ("device", {"net.ipv6.conf.p0.seg6_enabled": 1, "net.ipv6.conf.p0.rpl_seg_enabled": 1})):
    case = Case(f"ip6-segments-off-{name}", "Segment routing and RPL must be on for all and for the interface; else such packets are dropped in silence.", router(sysctl=sysctl))
    case.ip6(srh(1, FAR, OURS) + datagram, nh=43, dst=OURS)
    case.ip6(srh(0, OURS) + datagram, nh=43, dst=OURS)
    case.ip6(bytes([17, 2, 3, 1, 0, 0, 0, 0]) + IPv6Address(FAR).packed + datagram, nh=43, dst=OURS)
    case.ip6(bytes([17, 2, 3, 0, 0, 0, 0, 0]) + IPv6Address(FAR).packed + datagram, nh=43, dst=OURS)

# Never with a segment elsewhere: such a packet the kernel sends on from a wrong place in its memory, and writes there, too.
case = Case("ip6-segments-behind", "Headers in front of a segment routing header change nothing for packets that end here.", router(sysctl=SEG6))
for nh in (0, 60):
    case.ip6(options(43) + srh(1, "2001:db8:ffff::1", OURS) + datagram, nh=nh, dst=OURS)
    case.ip6(options(43) + srh(1, OURS_P1, OURS) + datagram, nh=nh, dst=OURS)
    case.ip6(options(43) + srh(1, LINK_LOCAL, OURS) + datagram, nh=nh, dst=OURS)
    case.ip6(options(43) + srh(9, OURS_P1, OURS) + datagram, nh=nh, dst=OURS)
    case.ip6(options(43) + srh(1, FAR, OURS) + datagram, nh=nh, dst=OURS, hlim=1)
    case.ip6(options(43) + srh(0, OURS, nh=41) + inner6(), nh=nh, dst=OURS)


def rpl(left, *addresses, elided=0, elided_last=0, nh=17, pad=None, units=None, dst=OURS):
    """An RPL header whose addresses leave out so many bytes."""
    packed = [IPv6Address(a).packed for a in addresses]
    body = b"".join(a[elided:] for a in packed[:-1]) + b"".join(a[elided_last:] for a in packed[-1:])
    fill = -len(body) % 8
    safe(left, packed, len(body) + fill, IPv6Address(dst).packed)
    body += bytes(fill)
    pad = fill if pad is None else pad
    return bytes([nh, len(body) // 8 if units is None else units, 3, left, elided << 4 | elided_last, pad << 4, 0, 0]) + body


def safe(left, packed, before, dst):
    """A header that grows on its way has no room in the kernel's memory, unless it is at its last segment."""
    if 1 < left <= len(packed):
        at = len(packed) - left
        now = packed[:at] + [dst] + packed[at + 1 :]
        same = lambda a: next((n for n, (x, y) in enumerate(zip(a, packed[at])) if x != y), 15)
        elided = min([same(a) for a in now[:-1]] + [15])
        after = (16 - elided) * (len(now) - 1) + 16 - same(now[-1])
        assert after <= before, "this would write outside a packet in the kernel"


NEAR = "2001:db8:1::1"
case = Case("ip6-rpl", "An RPL header leads a packet on; each address takes the place of the destination, and all are packed anew.", router(no, mtu=1300, sysctl=RPL))
for hlim in (0, 1, 2, 64):
    case.ip6(rpl(1, FAR) + datagram, nh=43, dst=OURS, hlim=hlim)
case.ip6(rpl(2, "2001:db8:a2::7", FAR) + datagram, nh=43, dst=OURS)
case.ip6(rpl(1, "2001:db8:a2::7", FAR) + datagram, nh=43, dst=OURS)
case.ip6(rpl(3, "2001:db8:a2::7", FAR, "3000::1") + datagram, nh=43, dst=OURS)
case.ip6(rpl(2, FAR, "2001:db8:a2::7", elided=4, elided_last=4) + datagram, nh=43, dst=OURS)
case.ip6(rpl(1, FAR, elided_last=4) + datagram, nh=43, dst=OURS)
case.ip6(rpl(1, NEAR, elided_last=15) + datagram, nh=43, dst=OURS)
# At the last segment it may grow.
case.ip6(rpl(1, NEAR, FAR, elided=15, elided_last=4) + datagram, nh=43, dst=OURS)
case.ip6(rpl(1, NEAR, "2001:db8:1::2", FAR, elided=15) + datagram, nh=43, dst=OURS)
# More segments than there are; lengths that do not fit.
for left in (2, 3, 255):
    case.ip6(rpl(left, FAR) + datagram, nh=43, dst=OURS)
for pad in (1, 8, 15):
    case.ip6(rpl(1, "2001:db8:a2::7", FAR, pad=pad) + datagram, nh=43, dst=OURS)
case.ip6(rpl(1, NEAR, FAR, elided=9, elided_last=4, pad=0) + datagram, nh=43, dst=OURS)
case.ip6(rpl(1) + datagram, nh=43, dst=OURS)
case.ip6(rpl(1, FAR, units=1) + datagram, nh=43, dst=OURS)
case.ip6(rpl(1, FAR, units=99) + datagram, nh=43, dst=OURS)
case.ip6(bytes([17, 40, 3, 1, 0xFF, 0, 0, 0]) + bytes(320) + datagram, nh=43, dst=OURS)
# Where it cannot go.
for segment in ("2001:db8:ffff::1", "2001:db8:e0::1", "2001:db8:e1::1", "::", "::1", "ff02::1", "ff05::2"):
    case.ip6(rpl(1, segment) + datagram, nh=43, dst=OURS)
case.ip6(rpl(1, NEAR) + datagram, nh=43, dst=OURS, src=NEAR)
case.ip6(rpl(1, FAR) + datagram, nh=43, dst=OURS, src="fe80::77")
case.ip6(rpl(1, FAR) + bytes(udp(1300)), nh=43, dst=OURS)
case.ip6(rpl(1, FAR) + datagram, nh=43, dst=OURS, mac="33:33:00:00:00:01")
case.ip6(rpl(1, FAR) + datagram, nh=43, dst=OURS, dev="p1")

case = Case("ip6-rpl-here", "An RPL route may lead through this host twice, not three times with others in between.", router(sysctl=RPL))
for hlim in (1, 2, 3, 64):
    case.ip6(rpl(2, OURS_P1, FAR) + datagram, nh=43, dst=OURS, hlim=hlim)
    case.ip6(rpl(1, OURS_P1) + datagram, nh=43, dst=OURS, hlim=hlim)
    case.ip6(rpl(1, LINK_LOCAL) + datagram, nh=43, dst=OURS, hlim=hlim)
case.ip6(rpl(2, LINK_LOCAL, "2001:db8:a2::7") + datagram, nh=43, dst=OURS)
case.ip6(rpl(1, "fe80::ff:fe00:3") + datagram, nh=43, dst=OURS)
for way in ((OURS, FAR, OURS), (OURS, OURS_P1, OURS), (OURS, OURS_P1, FAR, OURS), (OURS, FAR, OURS, FAR, OURS), (FAR, OURS, OURS, FAR, LINK_LOCAL), (FAR, OURS, FAR, "fe80::ff:fe00:3", OURS), (FAR, FAR, OURS, OURS, OURS)):
    case.ip6(rpl(len(way), *way) + datagram, nh=43, dst=OURS)
    case.ip6(rpl(1, *way) + datagram, nh=43, dst=OURS)
case.ip6(rpl(0, FAR) + datagram, nh=43, dst=OURS)
case.ip6(rpl(0, FAR, units=9) + datagram, nh=43, dst=OURS)
case.ip6(rpl(0, FAR, nh=59), nh=43, dst=OURS)
case.ip6(rpl(0, FAR, nh=41) + inner6(), nh=43, dst=OURS)
case.ip6(rpl(0, FAR, nh=4) + bytes(IP(src="10.1.0.9", dst="10.2.0.9", id=7) / udp()), nh=43, dst=OURS)
case.ip6(options(43) + rpl(1, FAR) + datagram, nh=0, dst=OURS)
case.ip6(options(43) + rpl(1, FAR) + datagram, nh=60, dst=OURS)
case.ip6(options(43) + rpl(1, OURS_P1) + datagram, nh=60, dst=OURS)
case.ip6(options(43) + rpl(2, OURS_P1, FAR) + datagram, nh=0, dst=OURS)
