"""IPv6 answers of the router itself that are larger than the way back carries."""

from box import Case, neighbour, route, router
from scapy.all import ICMPv6EchoRequest

OURS = "2001:db8:1::fe"

ways = route("2001:db8:b0::/48", via="2001:db8:1::1", dev="p0", mtu=1290) + route("2001:db8:b1::/48", via="2001:db8:1::1", dev="p0", mtu=1000)
ways += route("2001:db8:b2::/48", via="2001:db8:1::1", dev="p0", mtu=1280, mtu_lock=True) + route("2001:db8:b3::/48", via="2001:db8:1::1", dev="p0", mtu=9000)
case = Case("ip6-echo-fragmented", "An echo reply that is larger than the way back carries is cut by the router that makes it.", router(ways, sysctl={"net.ipv6.conf.p0.mtu": 1400}))
for size in (1352, 1353, 1400, 1452):
    case.ip6(ICMPv6EchoRequest(data=bytes(n % 251 for n in range(size))), dst=OURS, tc=0x2B)
for net in range(4):
    for size in (8, 952, 953, 1232, 1233, 1242, 1243, 1250, 1352, 1353, 1452):
        case.ip6(ICMPv6EchoRequest(data=bytes(n % 251 for n in range(size))), src=f"2001:db8:b{net}::{size:x}", dst=OURS)
    case.ip6(src=f"2001:db8:b{net}::1", hlim=1)
case.ip6(ICMPv6EchoRequest(data=bytes(1400)), src=OURS, dst=OURS)
case.ip6(ICMPv6EchoRequest(data=bytes(1400)), src="fe80::77", dst="ff02::1", mac="33:33:00:00:00:01")
