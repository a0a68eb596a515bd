"""IPv6 at the edges of its rules: lengths of zero, our own addresses as sources, proxied addresses, limited echo."""

from box import MS, Case, neighbour, router, table, udp
from scapy.all import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6

case = Case("ip6-length-zero", "A payload length of zero cuts all behind the header, but before hop-by-hop options nothing at all.")
for pad in (b"", b"\xee", b"\xee" * 7, b"\xee" * 40):
    case.ip6(plen=0, pad=pad)
    case.ip6(bytes([17, 0, 1, 4, 0, 0, 0, 0]) + bytes(udp()), nh=0, plen=0, pad=pad)
    case.ip6(b"", nh=59, plen=0, pad=pad)
    case.ip6(b"", nh=0, plen=0, pad=pad)

case = Case("ip6-strange-sources", "Our own, mapped, compatible and site-local addresses are sources like any other.")
for src in ("2001:db8:1::fe", "2001:db8:2::fe", "2001:db8:1::", "::ffff:192.0.2.1", "::192.0.2.1", "fec0::1", "fd00::1", "100::1"):
    case.ip6(src=src)
for dst in ("::ffff:192.0.2.1", "::192.0.2.1", "fec0::1", "100::1"):
    case.ip6(dst=dst)

proxied = table("neighbour", dev="p0", to="2001:db8:a2::9", proxy=True) + table("neighbour", dev="p0", to="fe80::9", proxy=True)
for name, proves, knob in (
    ("ip6-proxy", "Neighbour discovery for a proxied address is the router's, its other packets go on.", "all"),
    ("ip6-proxy-of-device", "The proxy_ndp of one interface does not matter to what is forwarded.", "p0"),
):
    case = Case(name, proves, router(proxied, neighbour("p0", "fe80::9"), sysctl={f"net.ipv6.conf.{knob}.proxy_ndp": 1}))
    case.ip6()
    case.ip6(hlim=1)
    case.ip6(dst="fe80::9")
    case.ip6(ICMPv6EchoRequest(data=bytes(8)))
    # A redirect and a router solicitation are neighbour discovery, a report of listeners is not.
    for kind in (132, 133, 134, 137, 138):
        case.ip6(bytes([kind, 0, 0xAB, 0xCD]) + bytes(36), nh=58, hlim=255)
    case.ip6(bytes([58, 0, 1, 4, 0, 0, 0, 0, 137, 0, 0xAB, 0xCD]) + bytes(36), nh=60, hlim=255)
    solicited = {"src": "2001:db8:1::1", "hlim": 255}
    case.ip6(ICMPv6ND_NS(tgt="2001:db8:a2::9"), dst="2001:db8:a2::9", **solicited)

case = Case("ip6-echo-limited", "Echo replies are limited where the ratemask says so: six at once, then one every tenth of a second.", router(sysctl={"net.ipv6.icmp.ratemask": "129"}))
for _ in range(12):
    case.ip6(ICMPv6EchoRequest(data=bytes(8)), src="2001:db8:a1::7", dst="2001:db8:1::fe", after=MS // 4)
case.next_time += 130 * MS
for _ in range(3):
    case.frame(bytes(IPv6(src="2001:db8:a1::7", dst="2001:db8:1::fe") / ICMPv6EchoRequest(data=bytes(8))), after=130 * MS)

# Where the packets come in there is no address, so that the longest prefix decides.
bare = table("link", name="p3", index=5)
down = table("link", name="p2", index=4, up=False) + table("address", dev="p2", prefix="2001:db8:a1::fe/64")
case = Case("ip6-kept-address", "An address that keep_addr_on_down left on a link that is down speaks like any other.", router(bare, down, sysctl={"net.ipv6.conf.all.keep_addr_on_down": 1}))
case.ip6(dev="p3", hlim=1)
case.ip6(dev="p3", dst="2001:db8:ffff::1")
