"""IPv4 forwarding where routes, options and sources meet: small routers that drawn boxes shrank to."""

from box import Case, finish, neighbour, route, router, table, udp
from scapy.all import ICMP, IP, TCP, Raw

case = Case("ip4-fragment-last", "The last piece may be as long as the MTU: only what another piece follows ends at a multiple of eight bytes.", router(mtu=600))
for size in (600, 601, 1176, 1177, 1180, 1181, 1182):
    case.ip4(Raw(bytes(size - 20)))

down = router(links=3).replace('name = "p1"', 'name = "p1"\ncarrier = false', 1).split("\n[sysctl]")[0]
case = Case("ip4-linkdown-ignored", "A route over a link without carrier is passed over where that is asked for.", finish(down + route("10.0.0.0/8", via="10.0.3.1", dev="p2"), {"net.ipv4.conf.all.ignore_routes_with_linkdown": 1}))
case.ip4()
case.ip4(dst="10.0.2.1")

locked = route("10.2.0.0/17", via="10.0.2.1", dev="p1", mtu_lock=True) + route("10.3.0.0/16", dev="p1", mtu_lock=True) + neighbour("p1", "10.3.0.9")
case = Case("ip4-mtu-locked", "A locked MTU without a value is 576 through a gateway, and the interface's without one.", router(locked))
for dst in ("10.2.0.9", "10.3.0.9"):
    case.ip4(Raw(bytes(557)), dst=dst)
    case.ip4(Raw(bytes(557)), dst=dst, flags="DF")

media = {"net.ipv4.conf.all.shared_media": 0, "net.ipv4.conf.p0.shared_media": 0}
near = "".join(neighbour("p0", f"10.0.1.{n}") for n in (5, 6, 7)) + route("10.4.0.0/16", dev="p0") + neighbour("p0", "10.4.0.9") + neighbour("p0", "10.4.0.8")
case = Case("ip4-redirect-subnets", "Without shared media only a sender on one of the link's own subnets is redirected, to whatever is near it.", router(near, sysctl=media))
case.ip4(src="10.0.1.5", dst="10.0.1.1")
case.ip4(src="10.4.0.9", dst="10.0.1.1")
case.ip4(src="10.0.1.6", dst="10.4.0.8")
case.ip4(src="10.0.1.7", dst="10.1.0.9")

via6 = route("10.66.0.0/16", via="2001:db8:1::1", dev="p0") + neighbour("p0", "10.0.1.5")
case = Case("ip4-redirect-via-ip6", "A redirect to a gateway of IPv6 names the destination.", router(via6))
case.ip4(src="10.0.1.5", dst="10.66.0.9")

elsewhere = route("10.0.1.5/32", via="10.0.2.1", dev="p1") + neighbour("p0", "10.0.1.5")
case = Case("ip4-redirect-other-way", "A sender that could be on the link is told of the better hop though the way to it leads elsewhere.", router(elsewhere))
case.ip4(src="10.0.1.5", dst="10.0.1.1")

away = route("0.0.0.0/0", via="10.0.1.1", dev="p0", table=100)
spoken = "".join(table("rule", pref=10 + n, table=100, from_=f"10.0.{n}.254/32") for n in (1, 2)) + away
case = Case("ip4-error-rule-source", "An error about a packet to the router is routed by the address that it was sent to, others by none.", router(spoken))
case.ip4(Raw(bytes(8)), proto=253, dst="10.0.2.254", src="10.2.0.77")
case.ip4(dst="10.99.0.1", src="10.2.0.78")

by_type = "".join(table("rule", pref=10 + n, family=4, dport=str(port), table=100) for n, port in enumerate((0x0B00, 0x0300, 1000)))
case = Case("ip4-rule-icmp-type", "To a rule that asks for ports, type and code of the router's own message are its destination port.", router(by_type, route("10.1.0.0/16", via="10.0.2.1", dev="p1", table=100)))
case.ip4(ttl=1)
case.ip4(dst="10.99.0.1")
case.ip4(ICMP() / Raw(bytes(8)), ttl=1)

local = route("10.77.0.0/16", dev="lo", type_="local")
case = Case("ip4-custom-local", "Once a user's route says what is local, sources are looked up there, and not only compared with addresses.", router(local))
case.ip4(src="10.77.0.5")
case.ip4(dst="10.77.0.5", payload=Raw(bytes(8)), proto=253)

two = table("address", dev="p1", prefix="10.5.0.1/24") + neighbour("p1", "10.5.0.9")
ways = route("10.2.0.0/17", nexthop=[{"via": "10.0.2.1", "dev": "p1"}, {"via": "10.5.0.9", "dev": "p1"}])
case = Case("ip4-record-route-multipath", "What the record of the route names is the first way out of that link, whichever was taken.", router(two, ways))
for n in range(6):
    case.ip4(dst=f"10.2.0.{n + 1}", options=[Raw(bytes([7, 7, 4, 0, 0, 0, 0, 0]))])

reject = route("10.80.0.0/16", type_="unreachable")
case = Case("ip4-timestamp-refused", "To a prespecified timestamp an address that a route refuses is somebody else's.", router(reject))
case.ip4(options=[Raw(bytes([68, 12, 5, 3, 10, 80, 0, 1, 0, 0, 0, 0]))])

case = Case("ip4-icmp-error-local", "Errors to the router about packets that nobody sent count as errors; so do types that nobody knows.")
quoted = bytes(IP(src="10.0.1.254", dst="10.9.9.9") / udp())
for kind, code, rest in ((3, 1, quoted), (3, 1, quoted[:19]), (3, 1, quoted[:27]), (3, 16, quoted), (11, 1, quoted), (12, 0, quoted), (4, 0, quoted), (3, 1, quoted[:9] + bytes([253]) + quoted[10:]), (0, 0, b""), (19, 0, b""), (40, 0, b""), (9, 0, b"")):
    case.ip4(ICMP(type=kind, code=code) / Raw(rest), dst="10.0.1.254")
    case.ip4(ICMP(type=kind, code=code) / Raw(rest), dst="224.0.0.1")

case = Case("ip4-udp-length", "Of a datagram that is shorter than its packet only what it says is quoted.")
case.ip4(Raw(bytes(udp(20)) + b"more"), dst="10.0.1.254")

by_port = table("rule", pref=10, family=4, sport=80, action="unreachable") + table("rule", pref=11, family=4, dport=443, action="unreachable")
case = Case("ip4-rule-reset", "A rule sees a reset with the ports that it leaves with.", router(by_port))
for sport, dport in ((80, 1024), (1024, 80), (443, 1025), (1025, 443), (7, 8)):
    case.ip4(TCP(sport=sport, dport=dport, flags="S"), src="10.0.1.1", dst="10.0.2.254")

large = route("10.5.0.0/16", via="10.0.2.1", dev="p1", mtu=1280)
case = Case("ip4-echo-route-mtu", "What the host makes is cut by the route's own MTU, even if that is larger than the link's.", router(large, mtu=600))
for size in (700, 1300):
    case.ip4(ICMP() / Raw(bytes(size)), src=f"10.5.0.{size % 9 + 1}", dst="10.0.2.254")

own_rule = table("rule", pref=10, family=4, iif="lo", ipproto=6, action="blackhole")
case = Case("ip4-rule-of-the-host", "A rule for what the host sends has no packet dissected, so the look back at a source does not meet it.", router(own_rule, sysctl={"net.ipv4.conf.p0.rp_filter": 2}))
case.ip4(TCP(flags="S"), src="10.0.1.1", dst="10.0.2.254")
case.ip4()

ways = route("10.1.0.0/16", nexthop=[{"via": f"10.0.{n}.1", "dev": f"p{n - 1}"} for n in (1, 2, 3)], metric=1) + route("10.3.0.0/16", nexthop=[{"via": f"10.0.{n}.1", "dev": f"p{n - 1}"} for n in (2, 3, 4)])
for policy, fields, text in ((0, 7, "addresses"), (1, 7, "addresses, protocol and ports"), (2, 7, "addresses"), (3, 0x37, "chosen fields"), (3, 0xFC0, "nothing, for it has nothing inside")):
    name = f"ip4-own-multipath-{policy}" + ("-inner" if fields == 0xFC0 else "")
    values = {"net.ipv4.fib_multipath_hash_seed": 0x5EED, "net.ipv4.fib_multipath_hash_policy": policy, "net.ipv4.fib_multipath_hash_fields": fields, "net.ipv4.conf.all.accept_source_route": 1, "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.p0.rp_filter": 0}
    case = Case(name, f"Of several next hops an answer of the host takes one by its own {text}; an error by the packet that it is about; a source-routed packet by where it is for when it goes on.", router(ways, links=4, sysctl=values))
    for n in range(8):
        case.ip4(ICMP(id=7, seq=n) / Raw(bytes(9)), dst="10.0.2.254")
        case.ip4(TCP(sport=1000 + n, dport=80, flags="S"), dst="10.0.2.254")
        case.ip4(udp(sport=1000 + n), dst="10.0.2.254")
        case.ip4(Raw(bytes(8)), proto=253, dst="10.0.2.254")
        case.ip4(ttl=1)
        case.ip4(IP(src="10.9.9.9", dst=f"10.8.0.{n + 1}") / udp(), proto=4, ttl=1)
    for n in range(8):
        hops = [bytes([10, 0, k, 254]) for k in (2, 3)][: n % 3] + [bytes([10, 3, 0, n + 1])]
        loose = bytes([131, 3 + 4 * len(hops), 4]) + b"".join(hops) + b"\1"
        case.ip4(udp(sport=n), dst="10.0.1.254", options=[Raw(loose)])
        case.ip4(udp(sport=n), dst="10.0.1.254", ttl=1, options=[Raw(loose)])
        case.ip4(IP(src="10.9.9.9", dst=f"10.8.0.{n + 1}") / udp(), proto=4, dst="10.0.1.254", options=[Raw(loose)])

open_ = {"net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.p0.rp_filter": 0, "net.ipv4.icmp_echo_ignore_broadcasts": 0}
case = Case("ip4-answer-broadcast", "A sender that has a broadcast address is answered there, and the router hears its own answer; one without an address is the router itself.", router(sysctl=open_))
for src in ("10.0.1.255", "10.0.2.255"):
    case.ip4(ICMP() / Raw(bytes(30)), src=src, dst="10.0.1.254")
    case.ip4(src=src, ttl=1)
    case.ip4(src=src, dst="10.0.1.254")
    case.ip4(TCP(flags="S"), src=src, dst="10.0.1.254")
case.ip4(ICMP() / Raw(bytes(30)), src="0.0.0.0", dst="255.255.255.255", mac="ff:ff:ff:ff:ff:ff")

# An error about a source-routed packet goes back along its route, which may begin at this host itself.
quick = {f"net.ipv4.neigh.p1.{k}": n for k, n in (("mcast_solicit", 1), ("retrans_time_ms", 100))}
routed = {"net.ipv4.conf.all.accept_source_route": 1, **quick}


def places(kind, pointer, *hops):
    """A source route."""
    body = b"".join(bytes(int(part) for part in hop.split(".")) for hop in hops)
    return Raw(bytes([kind, 3 + len(body), pointer]) + body)


for name, accept, strict in (("", 0, 0), ("-accepted", 1, 0), ("-filtered", 1, 1)):
    values = {"net.ipv4.conf.all.accept_local": accept, "net.ipv4.conf.all.rp_filter": strict}
    case = Case(f"ip4-error-by-own-hop{name}", "An error that goes back by an address of the router itself comes in by lo, where that is no source for a packet that is to go on; where local sources are accepted it comes by the right way.", router(sysctl={**routed, **values}))
    case.ip4(dst="10.0.1.254", options=[places(131, 4, "10.0.2.99")])

for name, table_of in (("", ""), ("-routed", route("224.0.0.0/4", via="10.0.2.1", dev="p1"))):
    case = Case(f"ip4-error-first-hop{name}", "A group as the first hop back is reached by the interface of the address that speaks; a hop that is nobody's is the router itself.", router(table_of))
    twice = Raw(bytes([68, 4, 5, 1]) * 2)
    for hop in ("239.1.2.3", "0.0.0.0", "255.255.255.255"):
        case.ip4(dst="10.0.1.254", options=[places(131, 40, "10.0.9.9", hop), twice])
        case.ip4(dst="10.0.2.254", options=[places(131, 40, "10.0.9.9", hop), twice])

case = Case("ip4-reset-first-hop", "A reset whose first hop back is nobody's goes to the router itself.", router(sysctl=routed))
for hop in ("0.0.0.0", "10.0.1.7"):
    case.ip4(TCP(sport=1025, dport=53, flags="S"), dst="10.0.1.254", options=[places(131, 40, "10.0.9.9", hop)])

case = Case("ip4-reset-too-long", "A reset may not be cut: where its options make it too long for the way, there is none.", router().replace('dst = "10.1.0.0/16"', 'mtu = 68\ndst = "10.1.0.0/16"', 1))
for records in (1, 2, 6, 7):
    case.ip4(TCP(sport=1025, dport=53), dst="10.0.1.254", options=[Raw(bytes([7, 3 + 4 * records, 4]) + bytes(4 * records))])

# Two places and a byte: full once the reply has named our address, but not by its pointer.
odd = Raw(bytes([7, 12, 4]) + bytes(9))
case = Case("ip4-echo-to-itself", "What the router says to itself repeats options, too; those that have no whole place left are a problem where it comes in.", router(sysctl={"net.ipv4.icmp_echo_ignore_broadcasts": 0}))
case.ip4(ICMP() / Raw(bytes(8)), src="0.0.0.0", dst="224.0.0.1", ttl=1, mac="01:00:5e:00:00:01", options=[odd])
case.ip4(ICMP() / Raw(bytes(8)), src="0.0.0.0", dst="224.0.0.1", ttl=1, mac="01:00:5e:00:00:01")

# Turned round, the route of the error begins at 0.0.0.0; what else it repeats is at fault by then.
case = Case("ip4-error-by-own-hop-odd", "A message that the router sends to itself is first looked at for its options, and then for where they lead it.", router(sysctl=routed))
for records in (9, 11, 12):
    case.ip4(dst="10.0.1.254", options=[Raw(bytes([7, records, 4]) + bytes(records - 3)), places(131, 40, "10.0.9.9", "0.0.0.0"), Raw(bytes([68, 4, 5, 1]) * 2)])

locked = route("10.66.0.0/16", via="10.0.1.1", dev="p0", mtu_lock=True) + route("10.67.0.0/16", dev="p0", mtu_lock=True) + neighbour("p0", "10.67.0.9")
case = Case("ip4-echo-mtu-locked", "What the host makes is cut at 576 bytes, too, where a gateway's MTU is locked without a value.", router(locked))
for size in (548, 549, 1000):
    case.ip4(ICMP() / Raw(bytes(size)), src="10.66.0.9", dst="10.0.1.254")
    case.ip4(ICMP() / Raw(bytes(size)), src="10.67.0.9", dst="10.0.1.254")
