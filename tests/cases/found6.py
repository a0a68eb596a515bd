"""IPv6 forwarding where rules, options and next hops meet: small routers that drawn boxes shrank to."""

from box import Case, finish, neighbour, route, router, table, udp
from scapy.all import TCP, Ether, ICMPv6EchoRequest, ICMPv6ND_NS, ICMPv6ND_RS, ICMPv6NDOptSrcLLAddr, Raw


def ioam(kind, *trace):
    """A hop-by-hop header with an IOAM option at its right place."""
    body = bytes([1, 0, 0x31, 2 + len(trace), 0, kind, *trace])
    pad = -(len(body) + 2) % 8
    body += bytes([0x1E, pad - 2] + [0] * (pad - 2)) if pad > 1 else bytes(pad)
    return bytes([17, (len(body) + 2) // 8 - 1]) + body


case = Case("ip6-hbh-ioam-on", "Where IOAM is on, a trace must be as long as it says and its fields fit its node length.", router(sysctl={"net.ipv6.conf.p0.ioam6_enabled": 1}))
for kind, trace in (
    (0, (0, 123, 2 << 3, 0, 0xC0, 0, 0, 0)),
    (0, (0, 123, 1 << 3, 0, 0xC0, 0, 0, 0)),
    (0, (0, 123, 2 << 3, 1, 0xC0, 0, 0, 0)),
    (0, (0, 123, 2 << 3, 1, 0xC0, 0, 0, 0, 9, 9, 9, 9)),
    (0, (0, 123, 2 << 3, 0, 0, 0x80, 0, 0)),
    (0, (0, 123, 2 << 3)),
    (1, ()),
    (2, (1, 2, 3, 4)),
):
    case.ip6(ioam(kind, *trace) + bytes(udp()), nh=0)
case.ip6(bytes([17, 0, 1, 0, 0x31, 1, 0, 0]) + bytes(udp()), nh=0)

case = Case("ip6-error-anycast", "An error about a packet to the routers of a subnet comes from their common address.")
for dst in ("2001:db8:1::", "2001:db8:2::"):
    case.ip6(bytes([17, 0, 0x9E, 4, 0, 0, 0, 0]) + bytes(udp()), nh=0, dst=dst)
    case.ip6(Raw(bytes(8)), nh=253, dst=dst)
    case.ip6(bytes([17, 0, 0x9E, 4, 0, 0, 0, 0]) + bytes(udp()), nh=0, dst=dst, mac="33:33:00:00:00:01")

reject = route("2001:db8:e0::/32", type_="unreachable", table=100) + route("2001:db8:a2::/48", via="2001:db8:1::1", dev="p0", table=100)
rule = table("rule", pref=10, family=6, table=100, suppress_prefixlen=48)
case = Case("ip6-suppressed", "A rule that suppresses short prefixes does not suppress the error of a route that rejects.", router(reject, rule))
case.ip6()
case.ip6(dst="2001:db8:ffff::1")
case.ip6(dst="2001:db8:a1::9")

twins = table("address", dev="p0", prefix="fe80::fe/64") + neighbour("p0", "2001:db8:1::5") + neighbour("p1", "2001:db8:2::5")
case = Case("ip6-redirect-source", "A redirect comes from the oldest link-local address, and goes to any host on a link.", router(twins))
case.ip6(src="2001:db8:1::5", dst="2001:db8:1::1")
case.ip6(src="2001:db8:2::5", dst="2001:db8:1::1")

by_type = "".join(table("rule", pref=10 + n, family=6, dport=str(port), table=100) for n, port in enumerate((0x300, 0x104, 0x8100, 1000)))
away = route("2001:db8:a1::/48", via="2001:db8:2::1", dev="p1", table=100)
case = Case("ip6-rule-icmp-type", "To a rule that asks for ports, type and code of the router's own message are its destination port.", router(by_type, away))
case.ip6(hlim=1)
case.ip6(dst="2001:db8:ffff::1")
case.ip6(dst="2001:db8:1::fe")
case.ip6(ICMPv6EchoRequest(data=bytes(8)), dst="2001:db8:1::fe")

down = finish(
    router(links=2).replace('name = "p1"', 'name = "p1"\ncarrier = false', 1).split("\n[sysctl]")[0]
    + route("2001:db8::/36", via="2001:db8:1::1", dev="p0"),
    {"net.ipv6.conf.p1.ignore_routes_with_linkdown": 1},
)
case = Case("ip6-linkdown-ignored", "A route over a link without carrier is passed over where that is asked for.", down)
case.ip6()
case.ip6(dst="2001:db8:2::9")

ports = table("rule", pref=10, family=6, ipproto=17, dport="9", action="prohibit")
ways = route("2001:db8:b0::/48", nexthop=[{"via": "2001:db8:1::1", "dev": "p0"}, {"via": "2001:db8:2::1", "dev": "p1"}])
seed = {"net.ipv4.fib_multipath_hash_seed": 7}
case = Case("ip6-multipath-dissected", "Where rules ask for ports, an echo behind other headers is hashed by what was found of it, its label in host order.", router(ports, ways, sysctl=seed))
for n in range(12):
    fields = {"dst": f"2001:db8:b0::{n + 1:x}", "fl": 0x11111 * n, "dev": "p1"}
    case.ip6(ICMPv6EchoRequest(data=bytes(8)), **fields)
    case.ip6(bytes([58, 0, 0x1E, 4, 0, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0]), nh=60, **fields)
    case.ip6(bytes([17, 0, 0x1E, 4, 0, 0, 0, 0]) + bytes(udp()), nh=60, **fields)

hole = table("nexthop", id=50, family=6, blackhole=True) + route("fe80::8000:0:0:0/100", nhid=50)
case = Case("ip6-blackhole-nexthop", "A blackhole nexthop ends the search also where an interface is insisted on.", router(hole))
case.ip6(dst="fe80::8000:0:1:2", hlim=1)

wish = route("2001:db8:c0::/44", via="2001:db8:1::1", dev="p0", src="2001:db8:2::fe")
wish += route("2001:db8:c0::/48", via="2001:db8:2::1", dev="p1", from_="2001:db8:2::/64")
case = Case("ip6-wished-source", "A preferred source speaks, but the way back is that of no source.", router(wish))
case.ip6(src="2001:db8:c0::1", hlim=1)

narrow = route("2001:db8:b1::/48", via="2001:db8:2::1", dev="p1", mtu=1300)
case = Case("ip6-route-mtu-headers", "No one is told of a route's MTU by a packet whose headers run past its end.", router(narrow))
case.ip6(bytes([17, 255]) + bytes(1400), nh=60, dst="2001:db8:b1::1")
case.ip6(bytes([17, 0, 1, 4, 0, 0, 0, 0]) + bytes(1400), nh=60, dst="2001:db8:b1::1")
case.ip6(bytes([17, 255]) + bytes(1400), nh=43, dst="2001:db8:b1::1")

proxied = table("neighbour", dev="p0", to="fe80::9999:2", proxy=True)
case = Case("ip6-proxy-link-local", "A proxied link-local address is told to be unreachable, unless the headers end in nothing.", router(proxied, sysctl={"net.ipv6.conf.all.proxy_ndp": 1}))
case.ip6(dst="fe80::9999:2")
case.ip6(b"", nh=59, dst="fe80::9999:2", hlim=1)
case.ip6(bytes([17, 9]), nh=60, dst="fe80::9999:2", hlim=1)

# The second lookup of a way back sees, in the place of ports, the key of a tunnel and the index of a secured header.
ported = table("rule", pref=10, family=6, dport="1-65534", table=100) + table("rule", pref=11, family=6, sport="1-65534", table=100)
ported += table("rule", pref=12, family=6, ipproto=58, table=100) + table("rule", pref=13, family=6, action="unreachable")
back = route("2001:db8:a1::/48", via="2001:db8:1::1", dev="p0", table=100)
case = Case("ip6-error-relookup", "The kernel looks for the way of an error twice; what it finds only then is counted.", router(ported, back, sysctl={"net.ipv6.icmp.ratemask": ""}))
for protocol, start in (
    (47, "2000 86dd 0000 0007"),
    (47, "2000 86dd 0007 0000"),
    (47, "a000 86dd 0000 0000 0007 0000"),
    (47, "2001 880b 0007 0007"),
    (47, "0000 86dd 0007 0007"),
    (47, "6000 86dd 0007 0007"),
    (51, "3a04 0000 7b15 d822 a376 72df bf2b 86d2 420d 8348 6de1 1789 8a01 0000 0000 0000"),
    (51, "1104 0000 0000 0000 a376 72df bf2b 86d2 420d 8348 6de1 1789 8a01 0000 0000 0000"),
    (44, "3a00 0001 0000 0007 8001 0000 0000 0000"),
    (58, "8001 0000 0000 0000"),
):
    case.ip6(bytes.fromhex(start) + bytes(8), nh=protocol, dst="2001:db8:ffff::1")
case.ip6(bytes.fromhex("8001 0000 0000 00"), nh=58, dst="2001:db8:ffff::1")

case = Case("ip6-neighbour-without-address", "Who speaks without a link-layer address is a neighbour all the same, and is answered once it tells.")
for data, to, mac in (
    (ICMPv6ND_NS(tgt="2001:db8:1::fe"), "ff02::1:ff00:fe", "33:33:ff:00:00:fe"),
    (ICMPv6ND_RS(), "ff02::2", "33:33:00:00:00:02"),
    (ICMPv6ND_NS(tgt="2001:db8:1::fe"), "ff02::1:ff00:fe", "33:33:ff:00:00:fe"),
    (ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:07:07"), "ff02::2", "33:33:00:00:00:02"),
):
    case.ip6(data, src="2001:db8:1::77", dst=to, mac=mac, hlim=255)

objects = "".join(table("nexthop", id=n, via=f"2001:db8:{n}::1", dev=f"p{n - 1}") for n in (1, 2))
group = table("nexthop", id=3, group=[{"id": 1, "weight": 1}, {"id": 2, "weight": 254}])
far = route("2001:db8:a3::/48", nhid=3)
case = Case("ip6-source-of-group", "What answers a group of hosts speaks as if by the first member of a nexthop group, whichever sends.", router(objects, group, far, sysctl={"net.ipv4.fib_multipath_hash_seed": 7}))
for host in range(1, 9):
    case.ip6(ICMPv6EchoRequest(data=bytes(8)), src=f"2001:db8:a3::{host:x}", dst="ff02::1", mac="33:33:00:00:00:01", hlim=1)

either = route("2001:db8:a1::/48", type_="blackhole") + route("2001:db8:a4::/48", type_="blackhole") + route("2001:db8:a4::/48", via="2001:db8:1::1", dev="p0", metric=1024)
case = Case("ip6-error-reject-first", "Where no interface is wished for, a route that rejects is as good as one that does not: the first counts.", router(either))
case.ip6(src="2001:db8:a4::1", hlim=1)
case.ip6(src="2001:db8:a4::2", dst="2001:db8:a4::9")
case.ip6(src="2001:db8:1::7", dst="2001:db8:a4::9")

held = table("neighbour", dev="p0", to="fe80::9:1", proxy=True) + route("fe80::9:0/112", via="2001:db8:1::1", dev="p0")
case = Case("ip6-proxy-no-type", "A message without a type to a proxied address is sent on like any other packet.", router(held, sysctl={"net.ipv6.conf.all.proxy_ndp": 1}))
case.ip6(b"", nh=58, src="fe80::7", dst="fe80::9:1")
case.ip6(b"\1", nh=58, src="fe80::7", dst="fe80::9:1")

# On the way to the gateway itself a packet has the kernel search for it again; while it does, the gateway has not failed.
either_way = table("neighbour", dev="p1", to="fe80::bad", state="failed")
either_way += route("2001:db8:a7::/48", via="fe80::bad", dev="p1") + route("2001:db8:a7::/48", via="fe80::1", dev="p0")
host_like = {f"net.ipv6.neigh.p1.{k}": n for k, n in (("mcast_solicit", 1), ("retrans_time_ms", 100))}
host_like |= {"net.ipv6.conf.all.forwarding": 0, "net.ipv6.conf.p0.force_forwarding": 1, "net.ipv6.conf.p1.force_forwarding": 1}
host_like |= {"net.ipv4.fib_multipath_hash_seed": 7}
case = Case("ip6-gateway-searched-again", "A gateway that failed and is searched for again is no longer passed over.", router(neighbour("p0", "fe80::1") + either_way, sysctl=host_like))
for flow in range(4):
    case.ip6(dst=f"2001:db8:a7::{flow}")
case.ip6(dst="fe80::bad", dev="p1", src="2001:db8:a2::7")
for flow in range(4):
    case.ip6(dst=f"2001:db8:a7::{flow}")

refusing = table("nexthop", id=50, family=6, blackhole=True) + route("2001:db8:a0::/44", nhid=50, src="2001:db8:2::fe")
some = route("2001:db8:a5::/48", via="2001:db8:1::1", dev="p0", **{"from": "2001:db8::/32"})
case = Case("ip6-error-refused-wish", "A route that refuses has no wish who speaks, though it names an address.", router(refusing, some))
case.ip6(dev="p1", src="2001:db8:a5::7", dst="2001:db8:ffff::1")
case.ip6(dev="p1", src="2001:db8:a5::8", hlim=1)

named = table("rule", pref=0, family=6, **{"from": "2001:db8::/32", "not_": True}, action="prohibit")
case = Case("ip6-source-chosen-first", "Where no route is found from nowhere, the address that any interface would speak by is asked, and speaks.", router(named, route("2001:db8:a6::/48", via="2001:db8:2::1", dev="p1")))
case.ip6(ICMPv6EchoRequest(data=bytes(8)), dev="p1", src="2001:db8:a6::7", dst="ff02::1", mac="33:33:00:00:00:01", hlim=1)
case.ip6(ICMPv6EchoRequest(data=bytes(8)), src="2001:db8:a1::7", dst="ff02::1", mac="33:33:00:00:00:01", hlim=1)

timed = table("rule", pref=1, family=6, **{"from": "2001:db8::/32"}, goto=10) + table("rule", pref=10, family=6, action="nop")
timed += table("rule", pref=2, family=6, ipproto=58, dport=0x0300, action="prohibit")
wish = route("2001:db8:a6::/48", via="2001:db8:2::1", dev="p1", src="2001:db8:2::fe") + table("address", dev="p0", prefix="2001:db8:a6:ffff::1/64")
case = Case("ip6-error-source-chosen-first", "So it is for errors, though the route that is found then would have another speak.", router(timed, wish, sysctl={"net.ipv6.icmp.ratemask": ""}))
case.ip6(src="2001:db8:a6::7", hlim=1)

ignoring = {"net.ipv6.icmp.echo_ignore_anycast": 1}
ours = route("fd98::/64", type_="local", dev="lo") + route("fd98:1::/127", type_="local", dev="lo")
case = Case("ip6-echo-first-address", "The first address of a prefix that is the host's own is an anycast address, too.", router(ours, sysctl=ignoring))
for dst in ("fd98::", "fd98::1", "fd98:1::", "2001:db8:1::", "2001:db8:1::fe"):
    case.ip6(ICMPv6EchoRequest(data=bytes(8)), dst=dst)

def bare(*tables, sysctl=None):
    """Two links; what is sent back to 2001:db8:a::/48 and ::ffff:10.9.0.0/112 goes by p0, which has no address of its own but those in `tables`."""
    text = table("link", name="p0", index=2) + table("link", name="p1", index=3) + table("address", dev="p1", prefix="2001:db8:2::fe/64")
    text += neighbour("p0", "fe80::a") + "".join(tables)
    text += "".join(route(dst, via="fe80::a", dev="p0") for dst in ("2001:db8:a::/48", "::ffff:10.9.0.0/112"))
    return finish(text, sysctl)


for name, own, sender in (("compatible", "::102:304/120", "2001:db8:a::{}"), ("mapped", "::ffff:10.0.0.1/120", "::ffff:10.9.0.{}")):
    old = table("address", dev="p0", prefix=own, flags=["deprecated"])
    case = Case(f"ip6-error-deprecated-{name}", "Where an address holds one of IPv4 it does not matter that it is deprecated.", bare(old))
    for host in range(1, 4):
        case.ip6(src=sender.format(host), dst="2001:db8:ffff::1")

mapped = table("address", dev="p0", prefix="::ffff:10.0.0.1/120")
case = Case("ip6-mapped-source", "A mapped address speaks to mapped ones alone: others are told nothing, and nothing is counted.", bare(mapped))
for start in ("2001:db8:a::{}", "::ffff:10.9.0.{}"):
    case.ip6(src=start.format(1), dst="2001:db8:ffff::1")
    case.ip6(src=start.format(2), dst="::ffff:10.0.0.1")
    case.ip6(Raw(bytes(8)), nh=253, src=start.format(3), dst="::ffff:10.0.0.1")
    case.ip6(TCP(sport=1, dport=2, flags="S"), src=start.format(4), dst="::ffff:10.0.0.1")
    case.ip6(ICMPv6EchoRequest(data=bytes(8)), src=start.format(5), dst="::ffff:10.0.0.1")
    case.ip6(ICMPv6EchoRequest(data=bytes(8)), src=start.format(6), dst="ff02::1", mac="33:33:00:00:00:01")

lo = route("2001:db8:40::/48", dev="lo") + route("2001:db8:a2:40::/64", dev="lo", metric=50) + route("::/0", dev="lo")
lo += table("address", dev="lo", prefix="2001:db8:41::1/64") + route("2001:db8:42::/48", dev="lo", table=100)
lo += table("rule", pref=10, family=6, table=100, suppress_prefixlen=48)
case = Case("ip6-route-over-lo", "A route over lo rejects like an unreachable one, though it is not shown so.", router(lo))
for dst in ("2001:db8:40::9", "2001:db8:a2::9", "2001:db8:a2:40::9", "2001:db8:41::1", "2001:db8:41::", "2001:db8:41::2", "2001:db8:42::9", "fec0::9", "::"):
    case.ip6(dst=dst)
    case.ip6(dst=dst, hlim=1)

case = Case("ip6-mtu-below-the-smallest", "A link that is too small for IPv6 counts nothing of its own.", router(mtu=1279))
case.ip6(dev="p1")
case.ip6(dev="p1", dst="ff02::1", mac="33:33:00:00:00:01")
case.ip6(b"", dev="p1", tc=3, nh=59)
case.frame(Ether(src="02:00:00:00:01:02", dst="02:00:00:00:00:03", type=0x86DD) / Raw(b"x" * 20), dev="p1")

cut = route("2001:db8:b4::/48", via="2001:db8:1::1", dev="p0", mtu=600) + route("2001:db8:b5::/48", via="2001:db8:1::1", dev="p0", mtu=1279, mtu_lock=True)
case = Case("ip6-error-fragmented", "An error that is longer than its way back allows leaves in fragments.", router(cut))
for sender in ("2001:db8:b4::{}", "2001:db8:b5::{}"):
    for number, size in enumerate((8, 512, 513, 1000, 1231, 1232, 1400)):
        case.ip6(udp(size), src=sender.format(number + 1), dst="2001:db8:ffff::1")
    case.ip6(udp(1400), src=sender.format(9), hlim=1)
    case.ip6(udp(1400), src=sender.format(10), dst="2001:db8:1::fe")

ours = route("2001:db8:b6::/48", dev="lo", type_="local") + route("2001:db8:b7::/48", via="fe80::1:7", dev="p0") + neighbour("p0", "fe80::1:7")
case = Case("ip6-redirect-to-itself", "A redirect is sent to whoever is not behind a gateway, and be it this router.", router(ours))
for src, dst in (("2001:db8:b6::1", "2001:db8:b7::1"), ("2001:db8:1::fe", "2001:db8:b7::2"), ("2001:db8:b6::2", "2001:db8:1::1")):
    case.ip6(src=src, dst=dst)
case.ip6(src="fe80::", dst="2001:db8:2::1", dev="p1")

case = Case("ip6-own-source", "What the router says to itself is counted on the link that it chose for it, and as an error if no program here sent what it is about.", router())
for nh in (17, 59, 136, 253, 255):
    case.ip6(Raw(bytes(40)), nh=nh, src="2001:db8:1::fe", dst="2001:db8:ffff::1")
case.ip6(Raw(bytes(40)), nh=136, src="fe80::", dst="2001:db8:ffff::1", dev="p1")

barred = route("::/0", type_="prohibit", metric=10)
case = Case("ip6-destination-prohibited", "A packet to :: that a route prohibits counts as one with a wrong address.", router(barred))
case.ip6(dst="::")
case.ip6(dst="2001:db8:ffff::1")
