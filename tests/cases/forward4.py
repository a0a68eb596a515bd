"""IPv4: ordinary packets, TTLs, sizes and fragments, headers that a router refuses."""

from box import Case, route, router, udp
from scapy.all import IP, Raw

case = Case("ip4-forward", "An ordinary IPv4 packet is sent on with its TTL lowered by one and its checksum adjusted.")
case.ip4()
case.ip4(udp(1480), tos=0xB8, ttl=255)
case.ip4(b"", proto=59)
case.ip4(dev="p1", src="10.2.0.9", dst="10.1.0.9")
case.ip4(src="10.1.9.0", dst="10.2.0.0")

case = Case("ip4-ecn", "The two ECN bits are counted on arrival and travel on unchanged.")
for ecn in range(4):
    case.ip4(tos=0x20 | ecn)

case = Case("ip4-ttl", "A TTL of 0 or 1 ends here with Time Exceeded; the error quotes the packet as it came, up to 576 bytes in all.")
for ttl in (0, 1, 2):
    case.ip4(ttl=ttl)
case.ip4(udp(528), ttl=1)
case.ip4(udp(529), ttl=1)
case.ip4(udp(1400), ttl=1)
case.ip4(tos=0x2F, ttl=1)
case.ip4(tos=0xFF, ttl=1)

case = Case("ip4-checksum", "A checksum is right if all words sum to zero; the adjusted one is what the increment gives, not what a new sum would.")
for ident in range(0, 0x10000, 0x0FFF):
    case.ip4(id=ident)
# Headers whose checksum is near its two zeros.
for wanted in (0x0000, 0xFEFF, 0xFFFF, 0xFE00, 0xFF00):
    sender = case.sender()
    packet = IP(src=f"10.1.0.{sender}", dst="10.2.0.9", id=0) / udp()
    now = IP(bytes(packet)).chksum
    # The one's complement sum is linear in the identification.
    total = (0xFFFF - wanted) - (0xFFFF - now)
    case.ip4(src=f"10.1.0.{sender}", id=total % 0xFFFF)
case.ip4(chksum=0x1234)
case.ip4(chksum=0x0000)
case.ip4(chksum=0x1234, tos=1)

case = Case("ip4-header", "Headers that are cut short, of another version, or promise more than came are dropped and counted; padding is cut.")
whole = bytes(IP(src="10.1.9.9", dst="10.2.0.9", id=7) / udp(16))
case.frame(whole[:19]).frame(whole[:20]).frame(whole[:35])
for first in (0x05, 0x35, 0x55, 0x65, 0x44, 0x40, 0x4F):
    case.frame(whole)
    dev, time, raw = case.frames[-1]
    case.frames[-1] = (dev, time, raw[:12] + b"\x08\x00" + bytes([first]) + raw[15:])
case.ip4(udp(16), pad=bytes(30))
case.ip4(udp(16), len=28)
case.ip4(udp(16), len=37)
case.ip4(udp(16), len=20)
case.ip4(udp(16), len=19)
case.ip4(udp(16), len=0)

case = Case("ip4-flags", "The reserved bit and Don't Fragment together with a fragment are nobody's business.")
case.ip4(flags=4)
case.ip4(flags=7, frag=3)
case.ip4(flags="DF")

case = Case("ip4-mtu", "With Don't Fragment a packet too large for the way out is answered with the MTU; it counts as forwarded all the same.", router(mtu=1400))
case.ip4(udp(1380), flags="DF")
case.ip4(udp(1381), flags="DF")
case.ip4(udp(1480), flags="DF", ttl=1)
case.ip4(udp(1480), flags="DF", ttl=2)
case.ip4(udp(1480), flags=7, frag=10)

case = Case("ip4-fragment", "Without Don't Fragment it is cut: pieces of a multiple of eight bytes, copied options only in the first.", router(mtu=576))
case.ip4(udp(556))
case.ip4(udp(557))
case.ip4(udp(1480))
case.ip4(udp(1480), ttl=1)
case.ip4(udp(1480), flags="MF")
case.ip4(udp(1480), frag=185)
case.ip4(udp(1480), flags="MF", frag=185, tos=0xB8)
rr = bytes([7, 7, 8, 10, 9, 9, 9])
stream = bytes([0x88, 4, 0, 1])
case.ip4(udp(1440), options=[Raw(stream + b"\x01" + rr)])
case.ip4(udp(1440), options=[Raw(stream + b"\x01" + rr)], frag=185)
case.ip4(udp(1440), options=[Raw(rr + b"\x01" + stream)])
case.ip4(udp(1440), options=[Raw(bytes([7, 11, 4]) + bytes(8) + b"\x00")])

case = Case("ip4-fragment-small", "The smallest MTU of IPv4 leaves 48 bytes a piece.", router(mtu=68))
case.ip4(udp(200))

limits = route("10.3.0.0/16", via="10.0.2.1", dev="p1", mtu=1000)
limits += route("10.4.0.0/16", via="10.0.2.1", dev="p1", mtu=600, mtu_lock=True)
case = Case("ip4-route-mtu", "A route's MTU counts instead of the interface's, locked or not.", router(limits))
for net, size in [(3, 980), (3, 981), (4, 580), (4, 581)]:
    case.ip4(udp(size), dst=f"10.{net}.0.1", flags="DF")
    case.ip4(udp(size), dst=f"10.{net}.0.1")

case = Case("ip4-l2", "Unicast packets in broadcast or multicast frames are not forwarded; frames for other stations are not even counted by IP.")
for mac in ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "02:00:00:00:00:77"):
    case.ip4(mac=mac)
case.ip4(mac="ff:ff:ff:ff:ff:ff", ttl=1)
case.ip4(mac="ff:ff:ff:ff:ff:ff", dst="172.16.0.1")

case = Case("ip4-l2-refused", "With drop_unicast_in_l2_multicast such packets are dropped before they are routed.", router(sysctl={"net.ipv4.conf.p0.drop_unicast_in_l2_multicast": 1}))
case.ip4(mac="ff:ff:ff:ff:ff:ff")
case.ip4(mac="01:00:5e:00:00:01")
case.ip4()

case = Case("ip4-forwarding-off", "An interface with forwarding off drops what comes in by it, counted, without a word; what leaves by it does not mind.", router(sysctl={"net.ipv4.conf.p0.forwarding": 0}))
case.ip4()
case.ip4(ttl=1)
case.ip4(dst="172.16.0.1")
case.ip4(dev="p1", src="10.2.0.9", dst="10.1.0.9")
