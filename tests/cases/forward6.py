"""IPv6: ordinary packets, hop limits, sizes, headers that a router passes by or refuses."""

from box import START, Case, host6, link, route, router, udp
from scapy.all import IPv6, Raw

case = Case("ip6-forward", "An ordinary IPv6 packet is sent on with its hop limit lowered by one and nothing else changed.")
case.ip6()
case.ip6(udp(1460), tc=0xB8, fl=0x12345, hlim=255)
case.ip6(b"", nh=59)
case.ip6(dev="p1", src="2001:db8:a2::9", dst="2001:db8:a1::9")

case = Case("ip6-ecn", "The two ECN bits are counted on arrival and travel on unchanged.")
for ecn in range(4):
    case.ip6(tc=0x20 | ecn)

case = Case("ip6-hop-limit", "A hop limit of 0 or 1 ends here with Time Exceeded; the error quotes the packet as it came, up to 1280 bytes.")
for hops in (0, 1, 2):
    case.ip6(hlim=hops)
case.ip6(udp(1400), hlim=1)
case.ip6(udp(1192), hlim=1)
case.ip6(udp(1193), hlim=1)

case = Case("ip6-mtu", "A packet that the way out cannot carry is answered with Packet Too Big, whatever it holds; one that just fits goes on.", router(mtu=1400))
case.ip6(udp(1360))
case.ip6(udp(1361))
case.ip6(udp(1460), hlim=2)
case.ip6(udp(1460), hlim=1)
# A fragment is no reason to answer otherwise.
case.ip6(bytes([17, 0, 0, 1, 0, 0, 0, 7]) + bytes(1400), nh=44)

case = Case("ip6-mtu-floor", "An interface of the smallest MTU carries 1280 bytes and not one more.", router(mtu=1280))
case.ip6(udp(1240))
case.ip6(udp(1241))

limits = route("2001:db8:b0::/48", via="2001:db8:2::1", dev="p1", mtu=1300)
limits += route("2001:db8:b1::/48", via="2001:db8:2::1", dev="p1", mtu=1000, mtu_lock=True)
limits += route("2001:db8:b2::/48", via="2001:db8:2::1", dev="p1", mtu=1400, mtu_lock=True)
case = Case("ip6-route-mtu", "A route's MTU is checked after the interface's, with the hop limit lowered already; a locked one comes first but not below 1280.", router(limits))
for net, size in [(0xB0, 1260), (0xB0, 1261), (0xB1, 960), (0xB1, 961), (0xB1, 1240), (0xB1, 1241), (0xB2, 1360), (0xB2, 1361)]:
    case.ip6(udp(size), dst=f"2001:db8:{net:x}::1")

case = Case("ip6-extension-headers", "Destination options, routing headers, fragments and unknown next headers of a packet in transit are nobody's business.")
case.ip6(bytes([17, 0, 0xC7, 4, 1, 2, 3, 4]) + bytes(udp()), nh=60)
case.ip6(bytes([17, 2, 0, 1, 0, 0, 0, 0]) + bytes(16) + bytes(udp()), nh=43)
case.ip6(bytes([17, 2, 4, 9, 0, 0, 0, 0]) + bytes(16) + bytes(udp()), nh=43)
case.ip6(bytes([17, 0, 0, 1, 0, 0, 0, 7]) + bytes(32), nh=44)
case.ip6(bytes([17, 0, 0, 33, 0, 0, 0, 7]) + bytes(32), nh=44)
case.ip6(bytes(24), nh=253)
# A hop-by-hop header that is not the first is not looked into either.
case.ip6(bytes([0, 0, 1, 4, 0, 0, 0, 0]) + bytes([17, 0, 0x80, 4, 0, 0, 0, 0]) + bytes(udp()), nh=60)

case = Case("ip6-header", "Headers that are cut short, of another version, or promise more than came are dropped and counted; padding is cut.")
whole = bytes(IPv6(src=host6(900), dst="2001:db8:a2::9") / udp(16))
case.frame(whole[:39]).frame(whole[:40]).frame(whole[:55])
for version in (0, 4, 5, 7, 15):
    # The Ethernet type still says IPv6.
    case.frame(whole)
    dev, time, raw = case.frames[-1]
    case.frames[-1] = (dev, time, raw[:14] + bytes([version << 4]) + raw[15:])
case.ip6(udp(16), pad=bytes(30))
case.ip6(udp(16), plen=8)
case.ip6(udp(16), plen=0)
case.ip6(b"", nh=59, pad=b"padding")
# With a hop-by-hop header and no length nothing is cut.
case.ip6(bytes([17, 0, 1, 4, 0, 0, 0, 0]) + bytes(udp()), nh=0, plen=0, pad=b"padding")
case.ip6(bytes([17, 0, 1, 4, 0, 0, 0, 0]) + bytes(udp()), nh=0, plen=60)

case = Case("ip6-l2", "Unicast packets in broadcast or multicast frames are not forwarded; frames for other stations are not even counted by IP.")
for mac in ("ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "02:00:00:00:00:77"):
    case.ip6(mac=mac)
# Errors that could be told are not told to a group.
case.ip6(mac="ff:ff:ff:ff:ff:ff", hlim=1)
case.ip6(mac="ff:ff:ff:ff:ff:ff", dst="2001:db8:ffff::1")

case = Case("ip6-l2-refused", "With drop_unicast_in_l2_multicast such packets are malformed.", router(sysctl={"net.ipv6.conf.p0.drop_unicast_in_l2_multicast": 1}))
case.ip6(mac="ff:ff:ff:ff:ff:ff")
case.ip6(mac="33:33:00:00:00:01")
case.ip6()

off = {"net.ipv6.conf.all.forwarding": 0}
case = Case("ip6-forwarding-off", "A host drops what is not for it and says nothing, but has an error for what it has no route to.", router(sysctl=off))
case.ip6()
case.ip6(hlim=1)
case.ip6(dst="2001:db8:ffff::1")

case = Case("ip6-force-forwarding", "force_forwarding of the interface that a packet came in by makes a router for that packet.", router(sysctl={**off, "net.ipv6.conf.p0.force_forwarding": 1}))
case.ip6()
case.ip6(dev="p1", src="2001:db8:a2::9", dst="2001:db8:a1::9")

case = Case("ip6-forwarding-of-device", "The forwarding switch of one interface does not matter, only that of all.", router(sysctl={"net.ipv6.conf.p0.forwarding": 0}))
case.ip6()
