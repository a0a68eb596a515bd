"""IPv4: rows of docs/ipv4.md that no other case shows. Sources and groups, reverse paths, source routes, what limits errors."""

from box import Case, finish, link, neighbour, route, router, table, udp
from options4 import address, send
from scapy.all import ICMP, TCP, Raw

ALL = "01:00:5e:00:00:01"
EVERYONE = "ff:ff:ff:ff:ff:ff"

case = Case("ip4-source-zero", "The source 0.0.0.0 may speak to a broadcast and to a group of its link, and to nobody else.", router(sysctl={"net.ipv4.conf.all.bc_forwarding": 1, "net.ipv4.conf.p0.bc_forwarding": 1}))
for dst, mac in (("255.255.255.255", EVERYONE), ("0.0.0.0", EVERYONE), ("0.0.0.0", None), ("224.0.0.1", ALL), ("10.2.0.9", None), ("10.0.1.254", None), ("10.0.1.255", EVERYONE), ("10.0.2.255", None)):
    case.ip4(src="0.0.0.0", dst=dst, mac=mac)
case.ip4(Raw(bytes([0x16, 0, 0xE9, 0xFF, 0, 0, 0, 0])), proto=2, src="0.0.0.0", dst="224.0.0.1", mac=ALL)

case = Case("ip4-group", "A group that is joined is received, in whatever frame, from whoever may be a source; any other is dropped without a word.")
case.ip4(dst="224.0.0.1", mac=ALL)
case.ip4(dst="224.0.0.1")
case.ip4(dst="224.0.0.1", mac=EVERYONE, ttl=1)
for src in ("224.0.0.9", "255.255.255.255", "127.0.0.1", "10.0.1.254", "10.0.2.254", "172.31.9.9"):
    case.ip4(src=src, dst="224.0.0.1", mac=ALL)
case.ip4(src="127.0.0.1", dst="224.0.0.9", mac=ALL)
case.ip4(b"", proto=253, dst="224.0.0.1", mac=ALL)
case.ip4(ICMP(id=7, seq=1), dst="224.0.0.1", mac=ALL)
case.ip4(dst="224.0.0.9", mac="01:00:5e:00:00:09")
case.ip4(dst="239.1.1.1", mac="01:00:5e:01:01:01", ttl=1)
send(case, [0x1E, 0, 0, 0], dst="224.0.0.1", mac=ALL)

case = Case("ip4-group-reverse-path", "rp_filter is asked of a packet to a group and to a broadcast, too.", router(sysctl={"net.ipv4.conf.all.rp_filter": 1}))
for src in ("10.2.0.7", "172.31.9.9", "10.1.0.200"):
    case.ip4(src=src, dst="224.0.0.1", mac=ALL)
    case.ip4(src=src, dst="255.255.255.255", mac=EVERYONE)
    case.ip4(src=src, dst="10.0.1.254", proto=253, payload=Raw(bytes(8)))

dead = "".join(route(f"10.{20 + n}.0.0/16", type_=kind) for n, kind in enumerate(("blackhole", "unreachable", "prohibit", "throw")))
legs = route("10.30.0.0/16", nexthop=[{"via": "10.0.2.1", "dev": "p1"}, {"via": "10.0.1.1", "dev": "p0"}])
for name, value, says in (("strict", 1, "Under rp_filter 1"), ("loose", 2, "Under rp_filter 2")):
    case = Case(f"ip4-rp-filter-{name}-types", f"{says} a source whose way back is no way, or a broadcast, is dropped; any leg of several will do.", router(dead, legs, sysctl={"net.ipv4.conf.p0.rp_filter": value}))
    for src in ("10.20.0.1", "10.21.0.1", "10.22.0.1", "10.23.0.1", "10.0.1.255", "10.0.2.255", "10.0.2.254", "10.30.0.1", "10.30.0.2", "10.0.2.9"):
        case.ip4(src=src)
    case.ip4(src="10.2.0.7", dst="10.20.0.1")
    case.ip4(src="10.2.0.7", dst="10.22.0.1")

bare = table("link", name="p0", index=2) + link(1) + route("10.2.0.0/16", via="10.0.2.1", dev="p1") + route("10.1.0.0/16", via="10.0.2.1", dev="p1")
for name, value in (("ip4-no-address", 0), ("ip4-no-address-loose", 2)):
    case = Case(name, "On an interface without an address a source whose way back leads elsewhere is none, unless nobody asks.", finish(bare, {"net.ipv4.conf.p0.rp_filter": value, "net.ipv4.conf.p0.send_redirects": 1}))
    case.ip4()
    case.ip4(src="172.31.9.9")
    case.ip4(dst="10.0.2.254", proto=253, payload=Raw(bytes(8)))

odd = "".join(route(f"10.{40 + n}.0.0/16", type_=kind, dev="p1") for n, kind in enumerate(("anycast", "multicast", "broadcast")))
case = Case("ip4-route-types-odd", "Routes of type anycast and multicast take no packets from a wire; one of type broadcast makes its whole prefix a broadcast.", router(odd))
for n in (40, 41, 42):
    case.ip4(dst=f"10.{n}.0.1", ttl=1)

off = {"net.ipv4.conf.p0.forwarding": 0, "net.ipv4.conf.all.bc_forwarding": 1, "net.ipv4.conf.p0.bc_forwarding": 1}
case = Case("ip4-forwarding-off-order", "Without forwarding what is for us is received, a directed broadcast even sent on, and all else dropped alike, whatever its route.", router(dead, odd, sysctl=off))
for dst in ("10.0.1.254", "10.0.2.254", "10.0.2.255", "10.20.0.1", "10.21.0.1", "10.22.0.1", "10.40.0.1", "172.31.9.9"):
    case.ip4(Raw(bytes(8)), proto=253, dst=dst)
case.ip4(src="10.0.2.254")
send(case, [0x1E, 0, 0, 0])

accept = {"net.ipv4.conf.all.accept_source_route": 1}
onlink = "".join(neighbour("p0", f"10.0.1.{n}", f"02:00:00:00:02:{n:02x}") for n in range(11, 15)) + route("10.7.0.0/16", via="10.0.1.1", dev="p0")
case = Case("ip4-source-route-redirect", "Who routes a packet itself is not told of a better first hop.", router(onlink, sysctl=accept))
send(case, [131, 7, 4] + list(address("10.7.0.1")), src="10.0.1.11", dst="10.0.1.254")
send(case, [131, 7, 8] + list(address("10.9.9.9")), src="10.0.1.12", dst="10.7.0.1")
send(case, [7, 7, 4] + [0] * 4, src="10.0.1.13", dst="10.7.0.1")

ours, far, hop = (list(address(a)) for a in ("10.0.1.254", "10.0.2.254", "10.2.0.77"))
case = Case("ip4-source-route-places", "Hops that are ours are passed one by one; one that is a group, a broadcast or nowhere ends the packet without a word; behind the last hop it is delivered.", router(dead, sysctl=accept))
send(case, [131, 15, 4] + ours + far + hop, dst="10.0.1.254")
send(case, [131, 15, 4] + far + hop + hop, dst="10.0.1.254")
send(case, [131, 7, 8] + hop, dst="10.0.1.254", proto=253, payload=Raw(bytes(8)))
for at in ("224.0.0.1", "255.255.255.255", "10.0.2.255", "10.20.0.1", "10.21.0.1", "10.22.0.1", "0.0.0.0", "127.0.0.1"):
    send(case, [131, 7, 4] + list(address(at)), dst="10.0.1.254")
send(case, [137, 7, 4] + list(address("10.2.0.77")), dst="10.0.1.254", ttl=1)
send(case, [137, 7, 8] + hop, dst="10.2.0.9")
send(case, [131, 7, 4] + hop, dst="10.0.1.255", mac=EVERYONE)
send(case, [131, 7, 4] + hop, [68, 12, 5, 1] + [0] * 8, dst="10.0.1.254")
send(case, [131, 7, 4] + hop, [7, 7, 4] + [0] * 4, [68, 8, 5, 0] + [0] * 4, dst="10.0.1.254", payload=udp(40))

small = "".join(route(f"10.1.{n}.0/24", via="10.0.1.1", dev="p0", mtu=n) for n in (48, 49, 100, 200))
case = Case("ip4-error-mtu", "An error quotes as much as the MTU of the way back lets it; with twenty bytes or less it is not sent.", router(small))
for n in (48, 49, 100, 200):
    case.ip4(udp(400), src=f"10.1.{n}.7", ttl=1)
data, protocol = Raw(bytes(range(16))), Raw(bytes(8))
case = Case("ip4-options-answered", "What the host answers repeats the options of what it answers; a record without a whole place left is answered by nothing.", router(sysctl=accept))
for options in ([1, 1, 1, 1], [7, 15, 4] + [0] * 12, [7, 7, 4] + [0] * 4, [7, 9, 4] + [0] * 6, [68, 16, 5, 0] + [0] * 12, [68, 20, 5, 1] + [0] * 16, [0x88, 4, 0, 7], [131, 7, 8] + list(address("10.1.7.7")), [131, 11, 12] + list(address("10.1.7.7")) + list(address("10.1.7.8")), [131, 7, 4] + far, [137, 7, 8] + list(address("10.0.1.1"))):
    for what in ({"payload": ICMP(id=7, seq=1) / data}, {"payload": TCP(sport=1000, dport=80, flags="S")}, {"payload": udp()}, {"payload": protocol, "proto": 253}):
        send(case, options, dst="10.0.1.254", **what)
send(case, [7, 15, 4] + [0] * 12, dst="10.0.2.254", payload=ICMP(id=7, seq=2) / Raw(bytes(1400)))
case = Case("ip4-echo-limited", "Echo replies are limited where the ratemask says so.", router(sysctl={"net.ipv4.icmp_ratemask": 1}))
for seq in range(8):
    case.ip4(ICMP(id=7, seq=seq), src="10.0.1.1", dst="10.0.1.254")

ways = [{"via": "10.0.2.1", "dev": "p1"}, {"via": "10.0.3.1", "dev": "p2"}, {"via": "10.0.2.99", "dev": "p1", "weight": 2}]
failed = table("neighbour", dev="p1", to="10.0.2.99", state="failed")
seed = {"net.ipv4.fib_multipath_hash_seed": 7, "net.ipv4.fib_multipath_use_neigh": 1}
case = Case("ip4-multipath-use-neigh", "With fib_multipath_use_neigh a next hop that did not answer is passed over; if there is no other, the first is taken.", router(failed, route("10.9.0.0/16", nexthop=ways), links=3, sysctl=seed))
for n in range(16):
    case.ip4(dst=f"10.9.0.{n + 1}")

both = [{"via": "10.0.1.1", "dev": "p0"}, {"via": "10.0.2.1", "dev": "p1"}]
case = Case("ip4-error-multipath", "Of several ways back an error about a packet to us takes one whose link has the address that speaks.", router(route("10.9.0.0/16", nexthop=both), sysctl={"net.ipv4.fib_multipath_hash_seed": 7}))
for n in range(6):
    case.ip4(Raw(bytes(8)), proto=253, src=f"10.9.0.{n + 1}", dst="10.0.1.254")
    case.ip4(Raw(bytes(8)), proto=253, src=f"10.9.1.{n + 1}", dst="10.0.2.254")

down = router(links=3).replace('name = "p2"', 'name = "p2"\ncarrier = false', 1).split("\n[sysctl]")[0]
case = Case("ip4-multipath-linkdown", "The share of a way without carrier goes to the others where that is asked for.", finish(down + route("10.9.0.0/16", nexthop=ways[:2]), {"net.ipv4.fib_multipath_hash_seed": 7, "net.ipv4.conf.p2.ignore_routes_with_linkdown": 1}))
for n in range(8):
    case.ip4(dst=f"10.9.0.{n + 1}")

nested = table("nexthop", id=1, via="10.0.3.1", dev="p2") + route("10.9.1.0/24", nhid=1) + route("10.9.0.0/16", via="10.0.2.1", dev="p1") + route("10.9.1.0/26", via="10.0.2.1", dev="p1")
down = finish(down + nested, {"net.ipv4.conf.p2.ignore_routes_with_linkdown": 1})
for name, hides in (("ip4-object-hides", "Behind an object"), ("ip4-route-hides-not", "Behind a route that is no object")):
    far = table("nexthop", id=1, via="10.0.2.1", dev="p1") + route("10.0.1.0/25", nhid=1) if "object" in name else route("10.0.1.0/25", via="10.0.2.1", dev="p1")
    says = "no route of a prefix that begins alike" if "object" in name else "a shorter prefix"
    case = Case(name, f"{hides} {says} tells that a sender is on the link.", router(far, onlink))
    case.ip4(src="10.0.1.11", dst="10.7.0.1")
    case.ip4(src="10.0.1.12", dst="10.7.0.1")

case = Case("ip4-linkdown-object", "A route over an object whose link has no carrier is gone, and a shorter prefix answers.", down)
for dst in ("10.9.1.1", "10.9.1.200", "10.9.2.1"):
    case.ip4(dst=dst)
