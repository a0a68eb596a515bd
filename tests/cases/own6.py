"""IPv6: what the router sends to itself, multicast routes of a user, and packets that come back."""

from box import Case, neighbour, route, router, udp
from scapy.all import TCP, ICMPv6EchoRequest, Raw

OURS = "2001:db8:1::fe"

on_link = route("2001:db8:78::/64", dev="p1") + route("2001:db8:79::/64", via="2001:db8:2::1", dev="p1") + neighbour("p1", "2001:db8:78::")
on_link += route("2001:db8:7a::/126", dev="p1") + route("2001:db8:7b::/127", dev="p1") + neighbour("p1", "2001:db8:7a::") + neighbour("p1", "2001:db8:7b::")
for name, sysctl, says in (
    ("ip6-error-to-anycast", {}, "No error is sent to an anycast address of this host."),
    ("ip6-error-to-anycast-allowed", {"net.ipv6.icmp.error_anycast_as_unicast": 1}, "An error to an anycast address of this host goes over lo where that is asked for."),
):
    case = Case(name, says, router(on_link, mtu=1300, sysctl=sysctl))
    for src in ("2001:db8:78::", "2001:db8:79::", "2001:db8:7a::", "2001:db8:7b::"):
        case.ip6(src=src, hlim=1)
    for src in ("2001:db8:1::", "2001:db8:2::", "fe80::"):
        case.ip6(src=src, hlim=1)
        case.ip6(src=src, dst="2001:db8:ffff::1")
        case.ip6(udp(1400), src=src)
        case.ip6(Raw(bytes(8)), nh=253, src=src, dst=OURS)
        case.ip6(src=src, dst=OURS)

case = Case("ip6-error-to-itself", "An error about a packet that says it comes from this host goes over lo, and is heard.", router(mtu=1300))
for src in (OURS, "2001:db8:2::fe", "fe80::ff:fe00:2", "fe80::ff:fe00:3", "::1"):
    case.ip6(src=src, hlim=1)
    case.ip6(src=src, dst="2001:db8:ffff::1")
    case.ip6(udp(1400), src=src)
    case.ip6(Raw(bytes(8)), nh=253, src=src, dst=OURS)
    case.ip6(src=src, dst=OURS)
    case.ip6(TCP(sport=1, dport=2, flags="S"), src=src, dst=OURS)
    case.ip6(ICMPv6EchoRequest(data=bytes(8)), src=src, dst=OURS)
    case.ip6(ICMPv6EchoRequest(data=bytes(8)), src=src, hlim=1)

case = Case("ip6-error-to-itself-limited", "Errors over lo know no limit.", router())
for n in range(12):
    case.ip6(src=OURS, hlim=1)
anyip = route("2001:db8:aaaa::/64", type_="local", dev="lo")
case = Case("ip6-error-to-local-prefix", "The same with a prefix that is local as a whole.", router(anyip))
for src in ("2001:db8:aaaa::7", "2001:db8:aaaa::"):
    case.ip6(src=src, hlim=1)
    case.ip6(src=src, dst=OURS)


MULTICAST = {"mac": "33:33:00:00:00:09"}
ways = route("ff05::/16", dev="p0", table=255) + route("ff08::/16", via="2001:db8:1::1", dev="p0", table=255)
ways += route("ff0b::/16", dev="p1", table=255) + route("ff1e::1/128", type_="local", dev="p0", table=255)
ways += route("2001:db8:77::/48", type_="multicast", dev="p1") + neighbour("p1", "2001:db8:77::9")
case = Case("ip6-group-routes", "Whether a packet is for a group is decided by the prefix of its route, not by the type.", router(ways))
for dst in ("ff05::2", "ff05::9", "ff08::1", "ff0b::1", "ff1e::1", "ff02::1"):
    case.ip6(dst=dst, **MULTICAST)
    case.ip6(dst=dst)
    case.ip6(dst=dst, dev="p1")
case.ip6(Raw(b""), nh=59, dst="ff1e::1", **MULTICAST)
case.ip6(Raw(bytes(8)), nh=253, dst="ff1e::1", **MULTICAST)
case.ip6(dst="2001:db8:77::9")
case.ip6(dst="2001:db8:77::9", hlim=1)
for kind in (131, 132, 143, 129):
    case.ip6(bytes([kind, 0]) + bytes(22), nh=58, dst="ff1e::1", **MULTICAST)
