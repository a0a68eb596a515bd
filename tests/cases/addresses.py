"""Both families: addresses that may not appear on a wire, may not leave their link, or mean somebody else."""

from box import Case, neighbour, router, udp

case = Case("ip6-source", "Sources that are no host's are dropped; a link-local one may not leave its link, and is told so.", router(neighbour("p0", "fe80::1234")))
for src in ("::", "::1", "ff02::1", "ff0e::1", "fe80::1234", "::ffff:10.1.0.1", "::10.1.0.1", "fec0::1", "2001:db8:1::fe", "2001:db8:2::fe"):
    case.ip6(src=src)
# The hop limit is looked at first, so a link-local source hears of that.
case.ip6(src="fe80::1234", hlim=1)
case.ip6(src="::", hlim=1)
case.ip6(src="::", dst="2001:db8:ffff::1")

case = Case("ip6-destination", "Destinations that are no host's: each has its own way to fail.")
for dst in ("::", "::1", "::ffff:10.2.0.9", "ff00::1", "ff01::1", "ff05::4242", "ff0e::4242", "fec0::9"):
    case.ip6(dst=dst)
case.ip6(dst="ff02::4242", mac="33:33:00:00:42:42")
case.ip6(dst="ff0e::4242", mac="33:33:00:00:42:42", hlim=1)
case.ip6(dst="::", hlim=1)

case = Case("ip6-link-local", "A packet for another host's link-local address goes back onto the link that it came from, whoever sent it.", router(neighbour("p0", "fe80::99", "02:00:00:00:01:99"), *[neighbour("p0", a) for a in ("2001:db8:1::77", "fe80::1234", "fe80::1235")]))
case.ip6(src="2001:db8:1::77", dst="fe80::99")
case.ip6(src="fe80::1234", dst="fe80::99")
case.ip6(src="fe80::1235", dst="fe80::99", hlim=1)

case = Case("ip4-source", "Sources that are no host's, or this router's own, are dropped without a word; odd ones that are somebody's go on.")
for src in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.1.2.3", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "255.255.255.254", "10.0.1.254", "10.0.2.254", "10.0.1.255", "10.0.1.0", "10.0.2.7"):
    case.ip4(src=src)

case = Case("ip4-destination", "Destinations that are no host's are dropped without a word; 240/4 is an ordinary network without a route.")
for dst in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.5", "239.1.1.1", "240.0.0.1", "255.255.255.254"):
    case.ip4(dst=dst)
case.ip4(dst="239.1.1.1", mac="01:00:5e:01:01:01")
case.ip4(dst="239.1.1.1", mac="01:00:5e:01:01:01", ttl=1)

case = Case("ip4-localnet", "With route_localnet 127/8 is looked up like any other.", router(sysctl={"net.ipv4.conf.p0.route_localnet": 1}))
case.ip4(src="127.1.2.3")

case = Case("ip4-accept-local", "With accept_local a packet from one of our own addresses goes on.", router(sysctl={"net.ipv4.conf.p0.accept_local": 1}))
case.ip4(src="10.0.1.254")
case.ip4(src="10.0.2.254")

bc = {"net.ipv4.conf.all.bc_forwarding": 1, "net.ipv4.conf.p0.bc_forwarding": 1}
case = Case("ip4-directed-broadcast", "With bc_forwarding a packet for another link's broadcast address is sent there as a broadcast frame.", router(sysctl=bc))
case.ip4(dst="10.0.2.255")
case.ip4(dst="10.0.2.255", ttl=1)
case.ip4(dst="10.0.2.255", mac="ff:ff:ff:ff:ff:ff")
case.ip4(udp(1480), dst="10.0.2.255")

filtered = {"net.ipv4.conf.p0.rp_filter": 1}
case = Case("ip4-rp-filter-strict", "rp_filter 1 drops what would not be answered through the interface it came from, but not before the way out is known.", router(sysctl=filtered))
case.ip4()
case.ip4(src="10.2.0.7")
case.ip4(src="172.16.0.1")
case.ip4(src="10.0.1.77")
case.ip4(src="10.2.0.7", ttl=1)
case.ip4(src="10.2.0.8", dst="172.16.0.1")
case.ip4(dev="p1", src="10.1.0.7", dst="10.1.0.9")

case = Case("ip4-rp-filter-loose", "rp_filter 2 drops only what could not be answered at all.", router(sysctl={"net.ipv4.conf.all.rp_filter": 2}))
case.ip4()
case.ip4(src="10.2.0.7")
case.ip4(src="172.16.0.1")
