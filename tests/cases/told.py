"""What the router is told of the ways to others, path MTUs and better first hops, and what it makes of packets along them."""

from box import Case, neighbour, route, router, table, udp
from scapy.all import ICMP, IP, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_Redirect, ICMPv6NDOptDstLLAddr, ICMPv6NDOptRedirectedHdr, ICMPv6PacketTooBig, IPv6, Raw, TCP, UDP

QUICK = {"net.ipv4.icmp_ratemask": 0, "net.ipv4.icmp_msgs_per_sec": 1000000, "net.ipv4.icmp_msgs_burst": 1000000, "net.ipv6.icmp.ratemask": ""}


def needed(case, mtu, dst="10.2.0.9", src="10.0.2.254", inner=None, code=4):
    """Fragmentation Needed about an echo reply of the router, or `inner`."""
    quoted = IP(src=src, dst=dst, flags="DF", len=1400) / (ICMP(type=0) / Raw(bytes(8)) if inner is None else inner)
    case.ip4(ICMP(type=3, code=code, nexthopmtu=mtu) / quoted, dev="p1", src="10.0.2.1", dst="10.0.2.254")


def sizes4(case, *sizes, dst="10.2.0.9"):
    """Packets of these lengths, whole and such that may be cut, and an echo of the router that has the length."""
    for size in sizes:
        case.ip4(udp(size - 20), dst=dst, flags="DF")
        case.ip4(udp(size - 20), dst=dst)
        case.ip4(ICMP() / Raw(bytes(size - 28)), dev="p1", src=dst, dst="10.0.2.254")


for name, use in (("", 0), ("-used", 1)):
    case = Case(f"ip4-pmtu{name}", "A path MTU that the router was told of is one for what it makes itself, and for what it forwards only where a sysctl says so.", router(sysctl={"net.ipv4.ip_forward_use_pmtu": use, **QUICK}))
    sizes4(case, 1400, 1500)
    needed(case, 1400)
    sizes4(case, 1400, 1401)
    sizes4(case, 1401, dst="10.2.0.10")
    needed(case, 1450)
    sizes4(case, 1401)
    needed(case, 552)
    sizes4(case, 552, 553)

case = Case("ip4-pmtu-locked", "A path MTU below 552 bytes is not believed, but 552 then is, for all packets.", router(sysctl=QUICK))
needed(case, 551)
sizes4(case, 552, 553)
needed(case, 552)
sizes4(case, 553)
needed(case, 0, dst="10.2.0.10")
sizes4(case, 553, dst="10.2.0.10")

locked = route("10.66.0.0/16", via="10.0.2.1", dev="p1", mtu=1300, mtu_lock=True) + route("10.67.0.0/16", via="10.0.2.1", dev="p1", mtu=1300)
case = Case("ip4-pmtu-route", "A locked MTU does not change; one that is not gives way to a smaller one.", router(locked, sysctl={"net.ipv4.ip_forward_use_pmtu": 1, **QUICK}))
for dst in ("10.66.0.9", "10.67.0.9"):
    needed(case, 1200, dst=dst)
    sizes4(case, 1200, 1201, 1301, dst=dst)

case = Case("ip4-pmtu-refused", "Only messages about packets of the router's own teach it: with its source, an echo reply, whole enough, of the right code.", router(sysctl={"net.ipv4.ip_forward_use_pmtu": 1, **QUICK}))
needed(case, 1400, src="10.1.0.77")
needed(case, 1400, inner=ICMP(type=8) / Raw(bytes(8)))
needed(case, 1400, inner=UDP(sport=1, dport=2) / Raw(bytes(8)))
needed(case, 1400, inner=Raw(bytes(7)))
needed(case, 1400, code=20)
needed(case, 1400, code=3)
needed(case, 1501)
sizes4(case, 1401, 1500)

for mode in (1, 2, 3):
    case = Case(f"ip4-pmtu-off-{mode}", "With ip_no_pmtu_disc the MTU is not read, or nothing is made of the message.", router(sysctl={"net.ipv4.ip_no_pmtu_disc": mode, **QUICK}))
    needed(case, 1400)
    needed(case, 1400, dst="10.2.0.10", inner=UDP(sport=1, dport=2) / Raw(bytes(8)))
    sizes4(case, 552, 553, 1401)

several = table("route", dst="10.68.0.0/16", nexthop=[{"via": "10.0.1.1", "dev": "p0"}, {"via": "10.0.2.1", "dev": "p1"}])
case = Case("ip4-pmtu-multipath", "A path MTU is one of all next hops of a route.", router(several, sysctl={"net.ipv4.ip_forward_use_pmtu": 1, "net.ipv4.fib_multipath_hash_seed": 7, **QUICK}))
needed(case, 1400, dst="10.68.0.9")
for _ in range(6):
    case.ip4(udp(1401 - 20), dst="10.68.0.9", flags="DF")


def redirect4(case, gateway, dst="10.2.0.9", src="10.0.2.1", code=1, inner=None):
    """A redirect of p1's gateway about an echo reply of the router."""
    quoted = IP(src="10.0.2.254", dst=dst, len=84) / (ICMP(type=0) / Raw(bytes(8)) if inner is None else inner)
    case.ip4(ICMP(type=5, code=code, gw=gateway) / quoted, dev="p1", src=src, dst="10.0.2.254")


def along4(case, dst="10.2.0.9"):
    """A forwarded packet and an echo of the router."""
    case.ip4(dst=dst)
    case.ip4(ICMP() / Raw(bytes(8)), dev="p1", src=dst, dst="10.0.2.254")


others = neighbour("p1", "10.0.2.7", mac="02:00:00:00:01:77") + neighbour("p1", "10.0.2.8", mac="02:00:00:00:01:88")
takes = {"net.ipv4.conf.all.accept_redirects": 1, **QUICK}
case = Case("ip4-redirected", "A gateway that a redirect names leads what the router makes and what it forwards.", router(others, sysctl=takes))
along4(case)
redirect4(case, "10.0.2.7")
along4(case)
along4(case, "10.2.0.10")
redirect4(case, "10.0.2.8", src="10.0.2.7")
along4(case)
redirect4(case, "10.0.2.7")
along4(case)
case.ip4(dst="10.0.2.254", src="10.1.0.99", options=[Raw(bytes([137, 7, 4, 10, 2, 0, 9, 0]))])
needed(case, 1300)
along4(case)

case = Case("ip4-redirect-not-taken", "A redirect counts if it is one of the first hop, for an echo reply, to another router that answers and may be one.", router(others, sysctl=takes))
for gateway, keys in (("10.0.2.7", {"src": "10.0.2.8"}), ("10.0.2.7", {"code": 4}), ("10.0.2.7", {"inner": UDP(sport=1, dport=2) / Raw(bytes(8))}), ("10.0.2.1", {}), ("224.0.0.5", {}), ("255.255.255.255", {}), ("0.1.2.3", {}), ("10.0.2.254", {}), ("10.0.2.255", {})):
    redirect4(case, gateway, **keys)
    along4(case)

near = neighbour("p1", "10.0.2.1") + others
case = Case("ip4-redirect-on-link", "Who is on the link is no gateway to itself, and tells of none; but is one once a path MTU is known.", router(near, sysctl=takes))
redirect4(case, "10.0.2.7", dst="10.0.2.1", src="10.0.2.1")
case.ip4(dst="10.0.2.1")
needed(case, 1400, dst="10.0.2.1")
redirect4(case, "10.0.2.7", dst="10.0.2.1", src="10.0.2.1")
case.ip4(dst="10.0.2.1")

alike = route("10.70.0.0/16", via="10.0.2.1", dev="p1") + route("10.70.0.0/16", via="10.0.2.1", dev="p1", tos=8, mtu=1400)
case = Case("ip4-pmtu-of-one-tos", "Routes that differ in more than their prefix share no next hop, so what is told of one is not of the other.", router(alike, sysctl={"net.ipv4.ip_forward_use_pmtu": 1, **QUICK}))
for tos in (8, 0):
    quoted = IP(src="10.0.2.254", dst="10.70.0.9", len=1400, flags="DF", tos=tos) / ICMP(type=0) / Raw(bytes(8))
    case.ip4(ICMP(type=3, code=4, nexthopmtu=1000 + tos) / quoted, dev="p1", src="10.0.2.1", dst="10.0.2.254")
    for other in (0, 8):
        case.ip4(udp(1300), dst="10.70.0.9", tos=other)

both = table("address", dev="p1", prefix="10.0.1.242/24") + "".join(neighbour(dev, f"10.0.1.{n}") for dev in ("p0", "p1") for n in (3, 5)) + route("10.71.0.0/16", via="10.0.1.5", dev="p1")
for name, dev in (("", "p1"), ("-here", "p0")):
    secure = {"net.ipv4.conf.all.accept_redirects": 1, "net.ipv4.conf.all.shared_media": 0, "net.ipv4.conf.p0.shared_media": 0, **QUICK}
    case = Case(f"ip4-redirect-secure{name}", "The new gateway has to be one of some route by the interface that the redirect came in by.", router(both + route("10.72.0.0/16", via="10.0.1.3", dev=dev), sysctl=secure))
    quoted = IP(src="10.0.1.254", dst="10.71.0.9", len=84) / ICMP(type=0) / Raw(bytes(8))
    case.ip4(ICMP(type=5, code=1, gw="10.0.1.3") / quoted, src="10.0.1.5", dst="10.0.1.254")
    case.ip4(dst="10.71.0.9")

for name, values in (("off", {"all.accept_redirects": 0}), ("off-here", {"all.accept_redirects": 1, "p1.accept_redirects": 0}), ("host", {"all.accept_redirects": 0, "p1.forwarding": 0}), ("media", {"all.accept_redirects": 1, "all.shared_media": 0, "p1.shared_media": 0}), ("media-any", {"all.accept_redirects": 1, "all.shared_media": 0, "p1.shared_media": 0, "all.secure_redirects": 0, "p1.secure_redirects": 0})):
    gateways = others + route("10.69.0.0/16", via="10.0.2.8", dev="p1")
    case = Case(f"ip4-redirect-taken-{name}", "Which redirects are taken is a matter of accept_redirects, forwarding, shared_media and secure_redirects.", router(gateways, sysctl={**{f"net.ipv4.conf.{k}": v for k, v in values.items()}, **QUICK}))
    for gateway in ("10.0.2.7", "10.0.2.8", "10.0.1.1"):
        redirect4(case, gateway)
        along4(case)


def too_big(case, mtu, dst="2001:db8:a2::9", src="2001:db8:2::fe", inner=None):
    """Packet Too Big about an echo reply of the router, or `inner`."""
    quoted = IPv6(src=src, dst=dst, plen=1400) / (ICMPv6EchoReply() if inner is None else inner)
    case.ip6(ICMPv6PacketTooBig(mtu=mtu) / quoted, dev="p1", src="2001:db8:2::1", dst="2001:db8:2::fe")


def sizes6(case, *sizes, dst="2001:db8:a2::9"):
    """Packets of these lengths, and an echo of the router that has the length."""
    for size in sizes:
        case.ip6(udp(size - 40), dst=dst)
        case.ip6(ICMPv6EchoRequest(data=bytes(size - 48)), dev="p1", src=dst, dst="2001:db8:2::fe")


locked = route("2001:db8:a4::/48", via="2001:db8:2::1", dev="p1", mtu=1400, mtu_lock=True) + route("2001:db8:a5::/48", via="2001:db8:2::1", dev="p1", mtu_lock=True)
case = Case("ip6-pmtu", "A path MTU that the router was told of is one for what it makes and what it forwards, also where the route's MTU is locked; never one below 1280.", router(locked, sysctl=QUICK))
sizes6(case, 1401)
too_big(case, 1400)
sizes6(case, 1400, 1401)
sizes6(case, 1401, dst="2001:db8:a2::10")
for mtu in (1450, 1279, 1280):
    too_big(case, mtu)
    sizes6(case, 1281, 1401)
for dst in ("2001:db8:a4::9", "2001:db8:a5::9"):
    too_big(case, 1300, dst=dst)
    sizes6(case, 1300, 1301, 1401, dst=dst)
for inner in (UDP(sport=1, dport=2), Raw(bytes(7)), ICMPv6EchoRequest()):
    too_big(case, 1300, dst="2001:db8:a2::11", inner=inner)
    sizes6(case, 1301, dst="2001:db8:a2::11")
too_big(case, 1300, dst="2001:db8:a2::12", src="2001:db8:77::1")
sizes6(case, 1301, dst="2001:db8:a2::12")

legs = table("route", dst="2001:db8:a6::/48", nexthop=[{"via": "2001:db8:1::1", "dev": "p0"}, {"via": "2001:db8:2::1", "dev": "p1"}])
legs += route("2001:db8:a7::/48", via="2001:db8:2::1", dev="p1", from_="2001:db8:2::/64") + route("2001:db8:a7::/48", via="2001:db8:1::1", dev="p0")
case = Case("ip6-pmtu-leg", "A path MTU is one of the next hop that the packet took, and of the route for its source.", router(legs.replace("from_", "from"), sysctl={"net.ipv4.fib_multipath_hash_seed": 7, **QUICK}))
for dst in ("2001:db8:a6::9", "2001:db8:a7::9"):
    too_big(case, 1400, dst=dst)
    for _ in range(6):
        case.ip6(udp(1401 - 40), dst=dst)
    case.ip6(udp(1401 - 40), dst=dst, src="2001:db8:2::44")


def redirect6(case, target, dst="2001:db8:a3::9", src="fe80::1:1", lladdr=None, quoted=None, hlim=255):
    """A redirect of p1's gateway."""
    message = ICMPv6ND_Redirect(tgt=target, dst=dst)
    if lladdr:
        message /= ICMPv6NDOptDstLLAddr(lladdr=lladdr)
    if quoted is not None:
        message /= ICMPv6NDOptRedirectedHdr(pkt=quoted)
    case.ip6(message, dev="p1", src=src, dst="2001:db8:2::fe", hlim=hlim)


def along6(case, dst="2001:db8:a3::9"):
    """A forwarded packet and an echo of the router."""
    case.ip6(dst=dst)
    case.ip6(ICMPv6EchoRequest(data=bytes(8)), dev="p1", src=dst, dst="2001:db8:2::fe")


near = neighbour("p1", "fe80::1:1") + neighbour("p1", "fe80::1:7", mac="02:00:00:00:01:77")
ways = near + route("2001:db8:a3::/48", via="fe80::1:1", dev="p1") + route("2001:db8:a8::/48", via="fe80::1:1", dev="p1", mtu=1400)
host = {"net.ipv6.conf.p1.forwarding": 0, **QUICK}
case = Case("ip6-redirected", "Where an interface does not forward by its own account, a redirect of the first hop leads what the router makes and what it forwards.", router(ways, sysctl=host))
along6(case)
redirect6(case, "fe80::1:7")
along6(case)
along6(case, "2001:db8:a3::10")
redirect6(case, "fe80::1:8", src="fe80::1:7", lladdr="02:00:00:00:01:88")
along6(case)
redirect6(case, "2001:db8:a3::11", dst="2001:db8:a3::11", lladdr="02:00:00:00:01:99")
along6(case, "2001:db8:a3::11")
reply = IPv6(src="2001:db8:2::fe", dst="2001:db8:a3::12", plen=8) / ICMPv6EchoReply()
redirect6(case, "fe80::1:7", dst="2001:db8:a3::12", quoted=reply)
along6(case, "2001:db8:a3::12")
too_big(case, 1300, dst="2001:db8:a3::12")
along6(case, "2001:db8:a3::12")
sizes6(case, 1301, dst="2001:db8:a3::12")
redirect6(case, "fe80::1:7", dst="2001:db8:a8::9")
along6(case, "2001:db8:a8::9")

refused = (
    {"src": "fe80::1:9"}, {"src": "2001:db8:2::1"}, {"hlim": 254}, {"target": "2001:db8:2::7"}, {"dst": "ff0e::1"},
    {"quoted": IPv6(src="2001:db8:2::fe", dst="2001:db8:a3::9", plen=8) / UDP(sport=1, dport=2)},
    {"quoted": IPv6(src="2001:db8:2::fe", dst="2001:db8:a3::9", plen=8, nh=253) / Raw(bytes(8))},
    {"quoted": IPv6(src="2001:db8:2::fe", dst="2001:db8:a1::9", plen=8) / ICMPv6EchoReply()},
)
for name, values in (("", {"p1.forwarding": 0}), ("-off", {"p1.forwarding": 0, "p1.accept_redirects": 0}), ("-router", {})):
    case = Case(f"ip6-redirect-not-taken{name}", "A redirect counts if it is one of the first hop, from its link, to another of it, and nothing else quoted.", router(ways, sysctl={**{f"net.ipv6.conf.{k}": v for k, v in values.items()}, **QUICK}))
    for keys in refused if not name else ({},):
        redirect6(case, **{"target": "fe80::1:7", **keys})
        along6(case)

far = near + neighbour("p1", "fe80::1:8", mac="02:00:00:00:01:88")
for name, rule, table_of, via in (("source", {"table": 100, "from_": "2001:db8::/32"}, {"from_": "2001:db8:99::/48"}, "fe80::1:8"), ("suppressed", {"table": 100, "suppress_prefixlen": 48}, {}, "fe80::1:8"), ("found", {"table": 100, "suppress_prefixlen": 48}, {}, "fe80::1:1"), ("over", {"table": 100}, {}, "fe80::1:8")):
    default = route("::/0", via=via, dev="p1", table=100, **table_of)
    case = Case(f"ip6-redirect-behind-{name}", "A rule's table whose route to everywhere is for other sources, or is found but not taken by the rule, leaves the search for the first hop to the next rule.", router((far + route("2001:db8:a3::/48", via="fe80::1:7" if name == "found" else "fe80::1:1", dev="p1") + default + table("rule", pref=10, family=6, **rule)).replace("from_", "from"), sysctl=host))
    redirect6(case, "fe80::1:7")
    along6(case)

objects = "".join(table("nexthop", id=n, via="fe80::1:1", dev="p1") for n in (1, 2)) + table("nexthop", id=3, group=[{"id": 1}, {"id": 2}])
case = Case("ip6-redirected-object", "Of nexthop objects that are alike the first one of the route has what is told.", router(near + objects + route("2001:db8:a3::/48", nhid=3), sysctl={"net.ipv4.fib_multipath_hash_seed": 7, **host}))
redirect6(case, "fe80::1:7")
for _ in range(6):
    case.ip6(dst="2001:db8:a3::9")

thrown = near + route("2001:db8:a3::/48", type_="throw", table=100) + table("rule", pref=10, family=6, table=100) + route("2001:db8:a3::/48", via="fe80::1:1", dev="p1")
case = Case("ip6-redirected-thrown", "A route that rejects leads the search for the first hop on to the next rule.", router(thrown, sysctl=host))
redirect6(case, "fe80::1:7")
along6(case)

lost = route("2001:db8:aa::/48", dev="lo") + neighbour("p0", "fe80::1:7", mac="02:00:00:00:01:77") + route("2001:db8:ab::/48", via="fe80::1:7", dev="p0")
lost += route("2001:db8:ac::/48", dev="p0", mtu=600) + neighbour("p0", "2001:db8:ac::9", mac="02:00:00:00:01:99")
case = Case("ip6-lost-over-lo", "What the router says to somebody behind a route over lo is lost there; of all but ICMPv6 errors and echo replies it tells itself.", router(lost, sysctl=QUICK))
for number, (dst, fields, payload) in enumerate((
    ("2001:db8:1::fe", {}, ICMPv6EchoRequest(data=bytes(8))), ("fe80::ff:fe00:2", {}, ICMPv6EchoRequest(data=bytes(8))),
    ("2001:db8:1::fe", {}, TCP(dport=9, flags="S")), ("fe80::ff:fe00:2", {}, TCP(dport=9, flags="S")),
    ("2001:db8:1::fe", {}, udp()), ("2001:db8:a2::9", {"hlim": 1}, udp()), ("2001:db8:ffff::9", {}, udp()), ("2001:db8:ab::9", {}, udp()), ("2001:db8:1::fe", {}, ICMPv6EchoRequest(data=bytes(1400))),
)):
    case.ip6(payload, src=f"2001:db8:aa::{number + 1:x}", dst=dst, **fields)

case = Case("ip6-redirect-too-long", "A redirect that is longer than its way back allows is given up, and the router told.", router(lost, sysctl=QUICK))
for number, size in enumerate((8, 400, 600, 1400)):
    case.ip6(udp(size), src="2001:db8:ac::9", dst=f"2001:db8:ab::{number + 1:x}")

narrowed = route("::/0", via="2001:db8:2::1", dev="p1") + table("rule", pref=10, family=6, table=254, suppress_prefixlength=0) + table("rule", pref=20, family=6, action="unreachable")
case = Case("ip6-pmtu-suppressed", "What was told of a destination is a route for it alone, which no rule suppresses for its length.", router(narrowed.replace("suppress_prefixlength", "suppress_prefixlen"), sysctl=QUICK))
case.ip6(dst="2001:db8:bb::9")
too_big(case, 1400, dst="2001:db8:bb::9")
case.ip6(dst="2001:db8:bb::9")
