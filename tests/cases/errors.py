"""Both families: ICMP errors and redirects. When none is sent, who speaks, what it says, how often."""

from box import MS, Case, finish, host4, host6, link, neighbour, route, router, table, udp
from scapy.all import ICMP, IP, ICMPv6DestUnreach, ICMPv6EchoRequest, IPv6, Raw


def icmp6(kind, size=32):
    """An ICMPv6 message of this type (checksum not right: routers do not look)."""
    return bytes([kind, 0, 0xAB, 0xCD]) + bytes(size - 4)


def icmp4(kind, size=36):
    """An ICMP message of this type."""
    return bytes([kind, 0, 0xAB, 0xCD]) + bytes(size - 4)


def fragment6(nh, offset, more):
    """A fragment header."""
    return bytes([nh, 0]) + (offset << 3 | more).to_bytes(2, "big") + b"\0\0\0\7"


case = Case("ip6-error-about-error", "No error is sent about an ICMPv6 error; redirects do not count as errors, later fragments cannot be told.")
for kind in (1, 2, 3, 4, 5, 100, 127, 128, 129, 135, 137, 255):
    case.ip6(icmp6(kind), nh=58, hlim=1)
case.ip6(b"", nh=58, hlim=1)
case.ip6(fragment6(58, 0, 1) + icmp6(1), nh=44, hlim=1)
case.ip6(fragment6(58, 0, 1) + icmp6(128), nh=44, hlim=1)
case.ip6(fragment6(58, 100, 0) + icmp6(1), nh=44, hlim=1)
case.ip6(fragment6(58, 0, 0), nh=44, hlim=1)
case.ip6(bytes([58, 0, 1, 4, 0, 0, 0, 0]) + icmp6(1), nh=60, hlim=1)
case.ip6(bytes([58, 9, 1, 4, 0, 0, 0, 0]) + icmp6(1), nh=60, hlim=1)
case.ip6(icmp6(3), nh=58, dst="2001:db8:ffff::1")

case = Case("ip4-error-about-error", "No error is sent about an ICMP error, a type without a name, or any but the first fragment.")
for kind in (0, 1, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 17, 18, 19, 40, 255):
    case.ip4(icmp4(kind), proto=1, ttl=1)
case.ip4(b"", proto=1, ttl=1)
case.ip4(frag=5, ttl=1)
case.ip4(flags="MF", ttl=1)
case.ip4(icmp4(3), proto=1, flags="MF", ttl=1)
case.ip4(icmp4(3), proto=1, dst="172.16.0.1")

dead6 = route("2001:db8:e0::/48", type="blackhole") + route("2001:db8:e1::/48", type="unreachable")
dead6 += route("2001:db8:e2::/48", type="prohibit") + route("2001:db8:e3::/48", type="throw")
dead4 = route("10.20.0.0/16", type="blackhole") + route("10.21.0.0/16", type="unreachable")
dead4 += route("10.22.0.0/16", type="prohibit") + route("10.23.0.0/16", type="throw")

case = Case("ip6-no-return", "Without a way back to the source no error is sent, and the attempt is counted.", router(dead6, mtu=1400))
for src in ("2001:db8:eeee::1", "2001:db8:e0::1", "2001:db8:e1::1", "2001:db8:e2::1", "2001:db8:e3::1", "::ffff:10.9.9.9"):
    case.ip6(src=src, hlim=1)
    case.ip6(src=src, dst="2001:db8:ffff::1")
    # Packet Too Big is not limited, so it fails elsewhere.
    case.ip6(udp(1460), src=src)

case = Case("ip4-no-return", "Without a way back to the source no error is sent.", router(dead4, mtu=1400))
for src in ("172.31.0.1", "10.20.0.1", "10.21.0.1", "10.22.0.1", "10.23.0.1"):
    case.ip4(src=src, ttl=1)
    case.ip4(src=src, dst="172.16.0.1")
    case.ip4(udp(1480), src=src, flags="DF")

only_ours = route("2001:db8:c5::/48", from_="2001:db8:1::/64", via="2001:db8:1::1", dev="p0") + route("2001:db8:c6::/48", from_="2001:db8:2::/64", via="2001:db8:1::1", dev="p0")
case = Case("ip6-error-source-route", "A way back for some sources only serves an error that speaks from one of those.", router(only_ours))
case.ip6(src="2001:db8:c5::1", hlim=1)
case.ip6(src="2001:db8:c6::1", hlim=1)

# An error about a packet to :: by another interface makes the kernel count a route that it does not miss.
case = Case("ip6-error-looked-up-twice", "The kernel looks up the way of an error twice, and counts a failure of the second time though the error is sent.")
case.ip6(dst="::")
case.ip6(dst="::", src="2001:db8:a2::7")
case.ip6(dst="2001:db8:ffff::1", src="2001:db8:a2::8")

# The way back leaves by p2, so the interface that the packet came by and the one that answers differ.
detour6 = route("2001:db8:c1::/48", via="2001:db8:3::1", dev="p2")
detour6 += route("2001:db8:c2::/48", via="2001:db8:1::1", dev="p0", src="2001:db8:2::fe")
detour6 += route("2001:db8:c3::/48", via="2001:db8:1::1", dev="p0", hoplimit=33)
detour6 += route("2001:db8:c4::/48", via="2001:db8:1::1", dev="p0", mtu=1280)
more6 = table("address", dev="p0", prefix="2001:db8:a1:ffff::1/64") + table("address", dev="p0", prefix="fd00:1::1/64")
more6 += table("address", dev="p0", prefix="2001:db8:a1::ffff/128", flags=["deprecated"])
more6 += route("fd00::/16", via="2001:db8:1::1", dev="p0")
case = Case("ip6-error-source", "An error speaks from the address that fits its reader best, seen from the interface that the packet came by; a route's own wish goes first.", router(detour6, more6, links=3))
case.ip6(hlim=1)
for net in (0xC1, 0xC2, 0xC3, 0xC4):
    case.ip6(udp(1400), src=f"2001:db8:{net:x}::1", hlim=1)
case.ip6(src="fd00:7::1", hlim=1)
case.ip6(src="2001:db8:1::77", hlim=1)
case.frame(bytes(IPv6(src="2001:db8:a2::7", dst="2001:db8:a1::9", hlim=1) / udp()), "p1")
case.scenario = case.scenario.replace("[sysctl]", neighbour("p0", "2001:db8:1::77").lstrip() + "\n[sysctl]")

detour4 = route("10.11.0.0/16", via="10.0.3.1", dev="p2")
detour4 += route("10.12.0.0/16", via="10.0.1.1", dev="p0", src="10.0.2.254")
detour4 += route("10.13.0.0/16", via="10.0.1.1", dev="p0", hoplimit=33)
detour4 += route("10.14.0.0/16", via="10.0.1.1", dev="p0", mtu=300)
detour4 += route("10.15.0.0/16", via="10.99.0.1", dev="p0")
more4 = table("address", dev="p0", prefix="10.99.0.254/24") + table("address", dev="p0", prefix="10.0.1.253/24")
more4 += neighbour("p0", "10.99.0.1") + neighbour("p0", "10.99.0.7")


def speakers(case):
    """Senders whose way back differs."""
    for net in (1, 11, 12, 13, 14, 15):
        case.ip4(udp(600), src=f"10.{net}.0.1", ttl=1)
    case.ip4(src="10.99.0.7", ttl=1)
    case.ip4(src="10.11.0.7", dst="172.16.0.1")


case = Case("ip4-error-source", "An error speaks from the address that the way back prefers, with its hop limit and MTU.", router(more4, detour4, links=3))
speakers(case)
case = Case("ip4-error-source-inbound", "With icmp_errors_use_inbound_ifaddr it speaks from the interface that the packet came by.", router(more4, detour4, links=3, sysctl={"net.ipv4.icmp_errors_use_inbound_ifaddr": 1}))
speakers(case)

bare = table("link", name="p0", index=2) + table("link", name="p1", index=3, mtu=1400)
bare += neighbour("p0", "fe80::1") + neighbour("p1", "fe80::1")
bare += route("2001:db8:a1::/48", via="fe80::1", dev="p0") + route("2001:db8:a2::/48", via="fe80::1", dev="p1")
case = Case("ip6-error-link-local", "A router with link-local addresses only speaks from one of those, though its reader is elsewhere.", finish(bare))
case.ip6(hlim=1)
case.ip6(udp(1460))
case.ip6()

bare = table("link", name="p0", index=2) + table("link", name="p1", index=3)
bare += route("10.1.0.0/16", via="10.0.1.1", dev="p0", onlink=True) + neighbour("p0", "10.0.1.1")
case = Case("ip4-error-no-address", "A router without any address speaks from 192.0.0.8.", finish(bare))
case.ip4(ttl=1)

# 20 at once, then one by one.
case = Case("ip6-error-limit", "A host gets six errors at once, then one every tenth of a second; Packet Too Big is not limited.", router(mtu=1400))
for _ in range(20):
    case.ip6(src=host6(5), hlim=1, after=MS // 4)
case.next_time += 130 * MS
for _ in range(3):
    case.ip6(src=host6(5), hlim=1, after=130 * MS)
for _ in range(8):
    case.ip6(udp(1460), src=host6(5), after=MS // 4)

case = Case("ip6-error-limit-off", "With ratelimit 0 a host gets every error.", router(sysctl={"net.ipv6.icmp.ratelimit": 0}))
for _ in range(12):
    case.ip6(src=host6(5), hlim=1)

case = Case("ip6-error-ratemask", "Types outside the ratemask are not limited.", router(sysctl={"net.ipv6.icmp.ratemask": "0-2,4-127"}))
for _ in range(12):
    case.ip6(src=host6(5), hlim=1)
for _ in range(8):
    case.ip6(src=host6(6), dst="2001:db8:ffff::1")

case = Case("ip4-error-limit", "A host gets six errors at once; Fragmentation Needed is not limited.", router(mtu=1400))
for _ in range(12):
    case.ip4(src=host4(5), ttl=1)
for _ in range(8):
    case.ip4(udp(1480), src=host4(5), flags="DF")

case = Case("ip4-error-limit-unreachable", "Errors about routes are charged twice, so that a host gets two at once.")
for _ in range(8):
    case.ip4(src=host4(5), dst="172.16.0.1")
for _ in range(3):
    case.ip4(src=host4(6), ttl=1)
for _ in range(3):
    case.ip4(src=host4(6), dst="172.16.0.1")

case = Case("ip4-error-ratemask", "Types outside icmp_ratemask are not limited, except by the limit on errors about routes.", router(sysctl={"net.ipv4.icmp_ratemask": 0}))
for _ in range(8):
    case.ip4(src=host4(5), dst="172.16.0.1")
for _ in range(8):
    case.ip4(src=host4(6), ttl=1)

# Redirects.
onlink6 = neighbour("p0", "fe80::1", "02:00:00:00:01:31") + neighbour("p0", "2001:db8:1::77", "02:00:00:00:01:77")
for n in (0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17):
    onlink6 += neighbour("p0", f"2001:db8:1::{n:x}", f"02:00:00:00:02:{n:02x}")
onlink6 += route("2001:db8:d1::/48", via="fe80::1", dev="p0") + route("2001:db8:d2::/48", via="2001:db8:1::1", dev="p0")
case = Case("ip6-redirect", "A packet that leaves by the interface it came from tells its sender of the better hop: the destination itself or a link-local gateway.", router(onlink6))
case.ip6(src="2001:db8:1::11", dst="2001:db8:1::77")
case.ip6(src="2001:db8:1::12", dst="2001:db8:d1::1")
# A gateway by a global address, and a sender from afar, are not told.
case.ip6(src="2001:db8:1::13", dst="2001:db8:d2::1")
case.ip6(dst="2001:db8:1::77")
# Lengths are rounded down to eight bytes, and the whole is at most 1280.
case.ip6(udp(13), src="2001:db8:1::14", dst="2001:db8:d1::2")
case.ip6(udp(1400), src="2001:db8:1::15", dst="2001:db8:d1::3")
# The last hop limit earns an error instead.
case.ip6(src="2001:db8:1::16", dst="2001:db8:d1::4", hlim=1)
case.ip6(src="2001:db8:1::17", dst="2001:db8:d1::5", hlim=2)

case = Case("ip6-redirect-and-too-big", "A packet may earn a redirect and Packet Too Big at once.", router(onlink6, route("2001:db8:d3::/48", via="fe80::1", dev="p0", mtu=1300, mtu_lock=True)))
case.ip6(udp(1400), src="2001:db8:1::11", dst="2001:db8:d3::1")

case = Case("ip6-redirect-limit", "A host is told six times at once, then once a second; every destination has its limit too.", router(onlink6))
for n in range(10):
    case.ip6(src="2001:db8:1::11", dst=f"2001:db8:d1::{n + 1:x}")
for n in range(10):
    case.ip6(src=f"2001:db8:1::{0x12 + n % 6:x}", dst="2001:db8:d1::ff")

onlink4 = neighbour("p0", "10.0.1.77", "02:00:00:00:01:77")
for n in range(11, 19):
    onlink4 += neighbour("p0", f"10.0.1.{n}", f"02:00:00:00:02:{n:02x}")
onlink4 += route("10.7.0.0/16", via="10.0.1.1", dev="p0")


def turned_back(case):
    """Packets that leave as they came."""
    case.ip4(src="10.0.1.11", dst="10.0.1.77")
    case.ip4(src="10.0.1.12", dst="10.7.0.1")
    case.ip4(src="10.1.0.13", dst="10.7.0.1")
    case.ip4(udp(600), src="10.0.1.14", dst="10.7.0.1")
    case.ip4(src="10.0.1.15", dst="10.7.0.1", ttl=1)
    case.ip4(src="10.0.1.16", dst="10.7.0.1", ttl=2)
    case.ip4(src="10.0.1.17", dst="10.7.0.1", options=[Raw(bytes([7, 7, 4, 0, 0, 0, 0, 0]))])
    case.ip4(icmp4(3), proto=1, src="10.0.1.18", dst="10.7.0.1")


case = Case("ip4-redirect", "A packet that leaves by the interface it came from tells its sender of the better hop, if the sender is on that link.", router(onlink4))
turned_back(case)
case = Case("ip4-redirect-off", "Without send_redirects on the interface and on all, nobody is told.", router(onlink4, sysctl={"net.ipv4.conf.all.send_redirects": 0, "net.ipv4.conf.p0.send_redirects": 0}))
turned_back(case)
case = Case("ip4-redirect-schedule", "A host that does not listen is told ever less often.", router(onlink4))
# Told at 0, 60, 170 and 390 ms: more than 40, 80 and 160 ms after the last time. The others lie well between.
for now in (0, 20, 60, 110, 170, 270, 390, 600, 650):
    case.next_time = case.start + now * MS
    case.ip4(src="10.0.1.11", dst="10.7.0.1")

# Next hops that do not answer.
quick = {f"net.ipv{v}.neigh.{dev}.{k}": n for v in (4, 6) for dev in ("p0", "p1") for k, n in (("mcast_solicit", 1), ("retrans_time_ms", 100))}
case = Case("ip6-neighbour-failed", "A packet whose next hop does not answer is answered with Address Unreachable, hop limit lowered already.", router(sysctl=quick))
case.ip6(dst="2001:db8:2::44")
case.ip6(dst="2001:db8:2::44", after=20 * MS)
case.ip6(dst="2001:db8:2::45")
case.ip6()
case.ip6(icmp6(1), nh=58, dst="2001:db8:2::44", after=200 * MS)
# Looked for again, from the beginning.
case.ip6(dst="2001:db8:2::44")

case = Case("ip4-neighbour-failed", "A packet whose next hop does not answer is answered with Host Unreachable, TTL lowered already.", router(sysctl=quick))
case.ip4(dst="10.0.2.44")
case.ip4(dst="10.0.2.44", after=20 * MS)
case.ip4(dst="10.0.2.45")
case.ip4()
case.ip4(icmp4(3), proto=1, dst="10.0.2.44", after=200 * MS)
case.ip4(dst="10.0.2.44", after=20 * MS)
case.ip4(udp(1400), dst="10.0.2.46", options=[Raw(bytes([7, 11, 4] + [0] * 9))])

states = "".join(neighbour("p1", f"2001:db8:2::{n}", f"02:00:00:00:03:{n}", state=s) + neighbour("p1", f"10.0.2.{n}", f"02:00:00:00:03:{n}", state=s) for n, s in [(11, "stale"), (12, "reachable"), (13, "delay"), (14, "noarp")])
case = Case("neighbour-states", "Whatever is known of a next hop is used, confirmed or not.", router(states))
for n in (11, 12, 13, 14):
    case.ip6(dst=f"2001:db8:2::{n}")
    case.ip4(dst=f"10.0.2.{n}")
