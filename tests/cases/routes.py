"""Both families: which route is found, and the routes and rules that are no way at all."""

from box import Case, finish, link, neighbour, route, router, table, udp
from scapy.all import TCP, IPv6

kinds6 = route("2001:db8:e0::/48", type="blackhole") + route("2001:db8:e1::/48", type="unreachable")
kinds6 += route("2001:db8:e2::/48", type="prohibit") + route("2001:db8:e3::/48", type="throw")
kinds6 += route("2001:db8:e3:1::/64", via="2001:db8:2::1", dev="p1")
case = Case("ip6-route-types", "Blackhole, unreachable, prohibit and throw each fail in their own way; unreachable looks like no route at all.", router(kinds6))
for dst in ("e0::1", "e1::1", "e2::1", "e3::1", "e3:1::1", "ffff::1"):
    case.ip6(dst=f"2001:db8:{dst}")
# Before the hop limit is looked at.
case.ip6(dst="2001:db8:e2::1", hlim=1)

kinds4 = route("10.20.0.0/16", type="blackhole") + route("10.21.0.0/16", type="unreachable")
kinds4 += route("10.22.0.0/16", type="prohibit") + route("10.23.0.0/16", type="throw")
kinds4 += route("10.23.1.0/24", via="10.0.2.1", dev="p1")
case = Case("ip4-route-types", "Blackhole, unreachable, prohibit and throw each fail in their own way.", router(kinds4))
for dst in ("10.20.0.1", "10.21.0.1", "10.22.0.1", "10.23.0.1", "10.23.1.1", "172.16.0.1"):
    case.ip4(dst=dst)
case.ip4(dst="10.22.0.1", ttl=1)

nested6 = route("2001:db8:c0::/44", via="2001:db8:1::1", dev="p0") + route("2001:db8:c1::/48", via="2001:db8:2::1", dev="p1")
nested6 += route("2001:db8:c1:1::/64", via="2001:db8:3::1", dev="p2") + route("2001:db8:c1:1::5/128", via="2001:db8:2::1", dev="p1")
nested6 += route("default", via="2001:db8:3::1", dev="p2")
case = Case("ip6-longest-prefix", "The longest prefix wins, down to the default route.", router(nested6, links=3))
for dst in ("c0::1", "c1::1", "c1:1::1", "c1:1::5", "c1:2::1", "cf::1", "d0::1"):
    case.ip6(dst=f"2001:db8:{dst}")

nested4 = route("10.32.0.0/12", via="10.0.1.1", dev="p0") + route("10.33.0.0/16", via="10.0.2.1", dev="p1")
nested4 += route("10.33.1.0/24", via="10.0.3.1", dev="p2") + route("10.33.1.5/32", via="10.0.2.1", dev="p1")
nested4 += route("default", via="10.0.3.1", dev="p2")
case = Case("ip4-longest-prefix", "The longest prefix wins, down to the default route.", router(nested4, links=3))
for dst in ("10.32.0.1", "10.33.0.1", "10.33.1.1", "10.33.1.5", "10.33.2.1", "10.47.0.1", "10.48.0.1"):
    case.ip4(dst=dst)

choice6 = route("2001:db8:c0::/48", via="2001:db8:3::1", dev="p2", metric=20) + route("2001:db8:c0::/48", via="2001:db8:2::1", dev="p1", metric=10)
choice6 += route("2001:db8:c1::/48", dev="p1", metric=10) + route("2001:db8:c1::/48", dev="p0", metric=10)
choice6 += route("2001:db8:c2::/48", dev="p1", metric=10, pref="low") + route("2001:db8:c2::/48", dev="p2", metric=10, pref="high")
choice6 += route("2001:db8:c3::/48", dev="p1", metric=10, pref="high") + route("2001:db8:c3::/48", dev="p0", metric=10, pref="low")
choice6 += "".join(neighbour(dev, f"2001:db8:c{n}::1") for n in (1, 2, 3) for dev in ("p0", "p1", "p2"))
case = Case("ip6-route-choice", "Among routes of one prefix the lowest metric counts, then the preference, then the interface that the packet came by.", router(choice6, links=3))
for n in range(4):
    case.ip6(dst=f"2001:db8:c{n}::1")
    case.frame(bytes(IPv6(src="2001:db8:a2::7", dst=f"2001:db8:c{n}::1") / udp()), "p1")

choice4 = route("10.40.0.0/16", via="10.0.3.1", dev="p2", metric=20) + route("10.40.0.0/16", via="10.0.2.1", dev="p1", metric=10)
choice4 += route("10.41.0.0/16", via="10.0.2.1", dev="p1", tos=0x10) + route("10.41.0.0/16", via="10.0.3.1", dev="p2")
choice4 += route("10.42.0.0/16", via="10.0.3.1", dev="p2", tos=0x20) + route("10.42.0.0/15", via="10.0.2.1", dev="p1")
case = Case("ip4-route-choice", "Among routes of one prefix the one for the packet's TOS counts, then the lowest metric; ECN bits and the old precedence do not choose.", router(choice4, links=3))
for dst, tos in [("10.40.0.1", 0), ("10.41.0.1", 0), ("10.41.0.1", 0x10), ("10.41.0.1", 0x13), ("10.41.0.1", 0xB0), ("10.41.0.1", 0x30), ("10.41.0.1", 0x20), ("10.42.0.1", 0x20), ("10.42.0.1", 0), ("10.43.0.1", 0x20)]:
    case.ip4(dst=dst, tos=tos)

source6 = route("2001:db8:c0::/48", via="2001:db8:2::1", dev="p1") + route("2001:db8:c0::/48", from_="2001:db8:a1:1::/64", via="2001:db8:3::1", dev="p2")
source6 += route("2001:db8:c0:1::/64", from_="2001:db8:a1:2::/64", type="prohibit")
source6 += route("default", from_="2001:db8:a1:3::/64", via="2001:db8:3::1", dev="p2")
# The order in which they were added does not matter.
source6 += route("2001:db8:c8::/48", from_="2001:db8:a1:1::/64", via="2001:db8:3::1", dev="p2") + route("2001:db8:c8::/48", via="2001:db8:2::1", dev="p1")
source6 += route("2001:db8:c0:2::/64", from_="2001:db8:a1:5::/64", via="2001:db8:3::1", dev="p2")
case = Case("ip6-source-route", "Where a prefix has routes for some sources only, the kernel passes by the route for all sources of that same prefix; but not at the default route.", router(source6, links=3))
for src, dst in [("a1::1", "c0::1"), ("a1:1::1", "c0::1"), ("a1:1::2", "c0:1::1"), ("a1:2::1", "c0:1::1"), ("a1:2::2", "c0::1"), ("a1:3::1", "c0::1"), ("a1:3::2", "f000::1"), ("a1:4::1", "f000::1"), ("a1:5::1", "c0:2::1"), ("a1:1::3", "c0:2::1"), ("a1:1::4", "c8::1"), ("a1:4::2", "c8::1")]:
    case.ip6(src=f"2001:db8:{src}", dst=f"2001:db8:{dst}")

both = route("default", via="2001:db8:2::1", dev="p1") + route("default", from_="2001:db8:a1:1::/64", via="2001:db8:3::1", dev="p2")
case = Case("ip6-source-route-default", "Beside a default route for some sources the one for all is found.", router(both, links=3))
case.ip6(src="2001:db8:a1:1::1", dst="2001:db8:f000::1")
case.ip6(src="2001:db8:a1:2::1", dst="2001:db8:f000::1")

via6 = route("10.50.0.0/16", via="2001:db8:2::1", dev="p1") + route("10.51.0.0/16", via="2001:db8:1::1", dev="p0")
case = Case("ip4-via-ip6", "An IPv4 route may lead to an IPv6 gateway (RFC 8950).", router(via6))
case.ip4(dst="10.50.0.1")
case.ip4(dst="10.51.0.1")
case.ip4(dst="10.50.0.1", ttl=1)

link_local4 = route("10.52.0.0/16", dev="p1") + neighbour("p1", "10.52.0.1")
case = Case("ip4-on-link", "A destination on the link is its own next hop.", router(link_local4, neighbour("p1", "10.0.2.77")))
case.ip4(dst="10.52.0.1")
case.ip4(dst="10.0.2.77")

ways6 = route("2001:db8:c0::/44", table=100, via="2001:db8:3::1", dev="p2") + route("2001:db8:c2::/48", table=100, type="throw")
ways6 += route("2001:db8:c0::/44", via="2001:db8:2::1", dev="p1") + route("default", table=200, via="2001:db8:3::1", dev="p2")
rules6 = table("rule", pref=100, from_="2001:db8:a1:1::/64", table=100) + table("rule", pref=101, from_="2001:db8:a1:2::/64", action="prohibit")
rules6 += table("rule", pref=102, from_="2001:db8:a1:3::/64", action="unreachable") + table("rule", pref=103, from_="2001:db8:a1:4::/64", action="blackhole")
rules6 += table("rule", pref=104, family=6, iif="p1", table=100) + table("rule", pref=105, to="2001:db8:c5::/48", tos=0x10, table=100)
rules6 += table("rule", pref=106, family=6, ipproto="tcp", dport="80-81", table=100) + table("rule", pref=107, family=6, ipproto="udp", sport=53, table=100)
rules6 += table("rule", pref=108, from_="2001:db8:a1:5::/64", goto=120) + table("rule", pref=109, from_="2001:db8:a1:5::/64", action="prohibit")
rules6 += table("rule", pref=120, from_="2001:db8:a1:5::/64", table=100)
rules6 += table("rule", pref=130, family=6, table=254, suppress_prefixlen=0) + table("rule", pref=131, from_="2001:db8:a1:6::/64", table=200)
rules6 += table("rule", pref=132, not_=True, from_="2001:db8::/32", action="prohibit")


def through_rules6(case):
    """One packet for each rule, and one beside it."""
    for n in range(7):
        case.ip6(src=f"2001:db8:a1:{n}::1", dst="2001:db8:c0::1")
    case.ip6(src="2001:db8:a1:1::2", dst="2001:db8:c2::1")
    case.ip6(src="2001:db8:a1:6::2", dst="2001:db8:f000::1")
    case.ip6(dst="2001:db8:f000::1")
    case.frame(bytes(IPv6(src="2001:db8:a2::7", dst="2001:db8:c0::1") / udp()), "p1")
    case.ip6(dst="2001:db8:c5::1", tc=0x10)
    case.ip6(dst="2001:db8:c5::1", tc=0x13)
    case.ip6(dst="2001:db8:c5::1", tc=0x20)
    case.ip6(dst="2001:db8:c5::1", tc=0x30)
    for port in (79, 80, 81, 82):
        case.ip6(TCP(sport=1, dport=port), dst="2001:db8:c0::1")
    case.ip6(udp(sport=53), dst="2001:db8:c0::1")
    case.ip6(bytes([6, 0, 1, 4, 0, 0, 0, 0]) + bytes(TCP(sport=1, dport=80)), nh=60, dst="2001:db8:c0::1")
    case.ip6(src="fd00:9::1", dst="2001:db8:c0::1")


case = Case("ip6-rules", "Rules choose the table by source, interface, class and ports, jump, suppress, and refuse.", router(ways6, rules6, links=3))
through_rules6(case)

ways4 = route("10.60.0.0/14", table=100, via="10.0.3.1", dev="p2") + route("10.62.0.0/16", table=100, type="throw")
ways4 += route("10.60.0.0/14", via="10.0.2.1", dev="p1") + route("default", table=200, via="10.0.3.1", dev="p2")
rules4 = table("rule", pref=100, from_="10.1.1.0/24", table=100) + table("rule", pref=101, from_="10.1.2.0/24", action="prohibit")
rules4 += table("rule", pref=102, from_="10.1.3.0/24", action="unreachable") + table("rule", pref=103, from_="10.1.4.0/24", action="blackhole")
rules4 += table("rule", pref=104, family=4, iif="p1", table=100) + table("rule", pref=105, to="10.61.0.0/16", tos=0x10, table=100)
rules4 += table("rule", pref=106, family=4, ipproto="tcp", dport="80-81", table=100) + table("rule", pref=107, family=4, ipproto="udp", sport=53, table=100)
rules4 += table("rule", pref=108, from_="10.1.5.0/24", goto=120) + table("rule", pref=109, from_="10.1.5.0/24", action="prohibit")
rules4 += table("rule", pref=120, from_="10.1.5.0/24", table=100)
rules4 += table("rule", pref=130, family=4, table=254, suppress_prefixlen=0) + table("rule", pref=131, from_="10.1.6.0/24", table=200)
rules4 += table("rule", pref=132, not_=True, from_="10.0.0.0/8", action="prohibit")

case = Case("ip4-rules", "Rules choose the table by source, interface, TOS and ports, jump, suppress, and refuse.", router(ways4, rules4, links=3))
for n in range(7):
    case.ip4(src=f"10.1.{n}.1", dst="10.60.0.1")
case.ip4(src="10.1.1.2", dst="10.62.0.1")
case.ip4(src="10.1.6.2", dst="172.16.0.1")
case.ip4(src="10.1.7.2", dst="172.16.0.1")
case.ip4(dev="p1", src="10.2.0.7", dst="10.60.0.1")
for tos in (0x10, 0x13, 0x20, 0x30):
    case.ip4(src=f"10.1.8.{tos}", dst="10.61.0.1", tos=tos)
for port in (79, 80, 81, 82):
    case.ip4(TCP(sport=1, dport=port), src=f"10.1.9.{port}", dst="10.60.0.1")
case.ip4(udp(sport=53), src="10.1.9.1", dst="10.60.0.1")
case.ip4(udp(sport=53), src="10.1.9.2", dst="10.60.0.1", frag=1)
case.ip4(src="172.20.0.1", dst="10.60.0.1")
# A source that is our own is looked for by rules too once there are any.
case.ip4(src="10.0.2.254", dst="10.60.0.1")
