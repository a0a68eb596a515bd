"""Both families: which of several next hops a packet takes. Many small flows, so that a wrong hash cannot go unseen."""

from box import Case, route, router, table, udp
from scapy.all import GRE, ICMP, IP, TCP, IPv6, ICMPv6EchoRequest

SEED = {"net.ipv4.fib_multipath_hash_seed": 0x5EED}


def hops(family, *weights):
    """Next hops through p1, p2, ... of these weights."""
    via = "10.0.{}.1" if family == 4 else "2001:db8:{}::1"
    return [{"via": f'{via.format(n + 2)}', "dev": f"p{n + 1}", "weight": w} for n, w in enumerate(weights)]


def ways(*weights):
    """10.70.0.0/16 and 2001:db8:f0::/48 through several links."""
    return route("10.70.0.0/16", nexthop=hops(4, *weights)) + route("2001:db8:f0::/48", nexthop=hops(6, *weights))


def flows(case, count=12):
    """Packets of every kind that some policy looks into."""
    for n in range(count):
        d4, d6 = f"10.70.0.{n + 1}", f"2001:db8:f0::{n + 1:x}"
        case.ip4(udp(sport=1000 + n, dport=2000 + 7 * n), dst=d4)
        case.ip6(udp(sport=1000 + n, dport=2000 + 7 * n), dst=d6, fl=n * 77)
    for n in range(count // 3):
        d4, d6 = f"10.70.1.{n + 1}", f"2001:db8:f0:1::{n + 1:x}"
        in4, in6 = IP(src=f"10.9.{n}.1", dst="10.8.0.1") / udp(sport=n + 1), IPv6(src="fd00::1", dst=f"fd00::{n + 9:x}", fl=n) / udp(sport=n + 1)
        case.ip4(TCP(sport=80, dport=n), dst=d4)
        case.ip6(TCP(sport=80, dport=n), dst=d6)
        case.ip4(in4, dst=d4, proto=4)
        case.ip4(in6, dst=d4, proto=41)
        case.ip6(in6, dst=d6, nh=41)
        case.ip6(in4, dst=d6, nh=4)
        case.ip4(GRE() / in4, dst=d4)
        case.ip6(GRE() / in6, dst=d6)
        case.ip4(ICMP(type=3, code=1) / in4, dst=d4)
        case.ip6(bytes([1, 0, 0, 0, 0, 0, 0, 0]) + bytes(in6), nh=58, dst=d6)
        case.ip4(ICMP(id=n), dst=d4)
        case.ip6(ICMPv6EchoRequest(id=n), dst=d6, fl=n)
        case.ip4(udp(sport=n), dst=d4, flags="MF")
        case.ip4(udp(sport=n), dst=d4, frag=9)
        case.ip6(bytes([17, 0, 0, 1, 0, 0, 0, 7]) + bytes(udp(sport=n)), nh=44, dst=d6)
        case.ip6(bytes([17, 0, 1, 4, 0, 0, 0, 0]) + bytes(udp(sport=n)), nh=0, dst=d6)
        case.ip6(bytes([17, 0, 1, 4, 0, 0, 0, 0]) + bytes(udp(sport=n)), nh=60, dst=d6)


def policy(number, fields=None):
    """The sysctls of a hash policy."""
    values = {**SEED}
    for family in (4, 6):
        values[f"net.ipv{family}.fib_multipath_hash_policy"] = number
        if fields is not None:
            values[f"net.ipv{family}.fib_multipath_hash_fields"] = fields
    return values


texts = ["Policy 0 hashes addresses (and the label and next header of IPv6), of an ICMP error those that it quotes.", "Policy 1 hashes addresses, protocol and ports, not of what is inside a tunnel.", "Policy 2 hashes the addresses of the innermost packet."]
for number, text in enumerate(texts):
    case = Case(f"multipath-policy-{number}", text, router(ways(1, 1, 1), links=4, sysctl=policy(number)))
    flows(case)
for name, fields in [("outer", 0x3F), ("inner", 0xFC0), ("ports", 0x30)]:
    case = Case(f"multipath-policy-3-{name}", f"Policy 3 with fields {fields:#x} hashes just those.", router(ways(1, 1, 1), links=4, sysctl=policy(3, fields)))
    flows(case, 9)

case = Case("multipath-weights", "Next hops get their share by weight.", router(ways(1, 5, 2), links=4, sysctl=policy(1)))
flows(case, 24)

objects = "".join(table("nexthop", id=n, via=f"10.0.{n + 1}.1", dev=f"p{n}") + table("nexthop", id=n + 10, via=f"2001:db8:{n + 1}::1", dev=f"p{n}") for n in (1, 2, 3))
members = lambda base: [{"id": base + n, "weight": n} for n in (1, 2, 3)]
groups = table("nexthop", id=100, group=members(0)) + table("nexthop", id=200, group=members(10))
uses = route("10.70.0.0/16", nhid=100) + route("2001:db8:f0::/48", nhid=200)
case = Case("nexthop-group", "A group of next-hop objects is chosen from by the same hash.", router(objects, groups, uses, links=4, sysctl=policy(1)))
flows(case)

lost = objects + table("nexthop", id=4, via="10.0.3.99", dev="p2") + table("nexthop", id=14, via="2001:db8:3::99", dev="p2")
lost += table("neighbour", dev="p2", to="10.0.3.99", state="failed") + table("neighbour", dev="p2", to="2001:db8:3::99", state="failed")
lost += table("nexthop", id=100, group=[{"id": 1}, {"id": 4, "weight": 3}, {"id": 3}]) + table("nexthop", id=200, group=[{"id": 11}, {"id": 14, "weight": 3}, {"id": 13}])
case = Case("nexthop-group-failed", "A member whose neighbour failed is passed over, its share goes to the next.", router(lost, uses, links=4, sysctl=policy(1)))
flows(case)

resilient = table("nexthop", id=100, group=[{"id": n} for n in (1, 2, 3)], type="resilient", buckets=32)
resilient += table("nexthop", id=200, group=[{"id": 10 + n} for n in (1, 2, 3)], type="resilient", buckets=32)
case = Case("nexthop-resilient", "A resilient group chooses by bucket.", router(objects, resilient, uses, links=4, sysctl=policy(1)))
flows(case)

hole = table("nexthop", id=50, blackhole=True, family=4) + table("nexthop", id=51, blackhole=True, family=6)
case = Case("nexthop-blackhole", "A blackhole object swallows in silence.", router(hole, route("10.70.0.0/16", nhid=50), route("2001:db8:f0::/48", nhid=51)))
case.ip4(dst="10.70.0.1")
case.ip6(dst="2001:db8:f0::1")

single = table("nexthop", id=1, via="10.0.2.1", dev="p1") + table("nexthop", id=2, via="2001:db8:2::1", dev="p1") + table("nexthop", id=3, via="2001:db8:2::1", dev="p1")
case = Case("nexthop-single", "A route may name a single object, an IPv4 route one with an IPv6 gateway too.", router(single, route("10.70.0.0/16", nhid=1), route("2001:db8:f0::/48", nhid=2), route("10.71.0.0/16", nhid=3)))
case.ip4(dst="10.70.0.1")
case.ip6(dst="2001:db8:f0::1")
case.ip4(dst="10.71.0.1")
