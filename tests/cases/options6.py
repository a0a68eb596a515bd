"""IPv6: the options of a hop-by-hop header, each in its good and its bad forms."""

from box import Case, router, udp

PAD1 = b"\0"


def padn(size, data=None):
    """A PadN option of `size` bytes in all."""
    return bytes([1, size - 2]) + (bytes(size - 2) if data is None else data)


def hbh(*options, nh=17, length=None):
    """A hop-by-hop header; what is missing to a multiple of eight bytes is filled with an option to skip."""
    body = b"".join(options)
    room = -(len(body) + 2) % 8
    if room == 1:
        body += PAD1
    elif room:
        body += bytes([0x3E, room - 2]) + bytes(room - 2)
    return bytes([nh, (len(body) + 2) // 8 - 1 if length is None else length]) + body


def send(case, *options, **fields):
    """A packet with these hop-by-hop options."""
    return case.ip6(hbh(*options) + bytes(udp()), nh=0, **fields)


case = Case("ip6-hbh-padding", "Up to seven bytes of padding may stand in a row, Pad1 and PadN together, and all of them zero.")
send(case, padn(6))
send(case, PAD1 * 6)
send(case, PAD1 * 7, padn(7))
send(case, bytes([0x3E, 0]) + PAD1 * 7 + bytes([0x3E, 3, 0, 0, 0]))
send(case, bytes([0x3E, 0]) + PAD1 * 8 + bytes([0x3E, 2, 0, 0]))
send(case, bytes([0x3E, 0]) + padn(7) + bytes([0x3E, 3, 0, 0, 0]))
send(case, bytes([0x3E, 0]) + padn(8) + bytes([0x3E, 2, 0, 0]))
send(case, PAD1 * 2 + padn(4))
send(case, PAD1 + padn(5) + PAD1 * 2 + bytes([0x3E, 4]) + bytes(4))
send(case, padn(2) * 3)
send(case, padn(6, b"\0\0\1\0"))

case = Case("ip6-hbh-unknown", "The two highest bits of an unknown option say what becomes of the packet: skip, drop, drop and tell, tell unless multicast.")
for kind in (0x1E, 0x3E, 0x5E, 0x7E, 0x9E, 0xBE, 0xDE, 0xFE):
    send(case, bytes([kind, 4, 1, 2, 3, 4]))
# The pointer names the option's type byte.
send(case, bytes([0x1E, 1, 0]), bytes([0x9E, 1, 0]), padn(2) * 3)
for kind in (0x1E, 0x5E, 0x9E, 0xDE):
    send(case, bytes([kind, 4, 1, 2, 3, 4]), dst="ff0e::4242", mac="33:33:00:00:42:42")
# The error is told before the hop limit is looked at.
send(case, bytes([0x9E, 4, 1, 2, 3, 4]), hlim=1)

case = Case("ip6-hbh-router-alert", "A router alert is two bytes long; without a listener the packet goes on.")
send(case, bytes([5, 2, 0, 1]), padn(2))
send(case, bytes([5, 2, 0, 0]), padn(2))
send(case, bytes([5, 2, 0, 1]), bytes([5, 2, 0, 2]), padn(2) * 3)
send(case, bytes([5, 1, 0]), padn(3))
send(case, bytes([5, 4, 0, 0, 0, 0]))
send(case, bytes([5, 2, 0, 1]), padn(2), hlim=1)

case = Case("ip6-hbh-jumbo", "A jumbo payload option must be aligned, above 65535, alone in telling the length, and true.")
jumbo = bytes([0xC2, 4, 0, 1, 0, 0])
send(case, jumbo, plen=0)
send(case, jumbo)
send(case, bytes([0xC2, 4, 0, 0, 0xFF, 0xFF]), plen=0)
send(case, bytes([0xC2, 4, 0, 0, 0xFF, 0xFF]))
send(case, PAD1, jumbo, padn(7), plen=0)
send(case, bytes([0xC2, 3, 0, 1, 0]), PAD1, plen=0)

case = Case("ip6-hbh-ioam", "An IOAM option stands at a multiple of four bytes even where IOAM is off; then it is passed by.")
send(case, padn(2), bytes([0x31, 2, 0, 0]))
send(case, bytes([0x31, 4, 0, 0, 0, 0]))
send(case, padn(2), bytes([0x31, 0]), padn(2))

case = Case("ip6-hbh-calipso", "A CALIPSO label of no known domain is refused.")
send(case, bytes([7, 8, 0, 0, 0, 1, 0, 0, 0x20, 0x94]), padn(4))
send(case, bytes([7, 4, 0, 0, 0, 1]))

eight = [bytes([0x1E, 0])] * 8
case = Case("ip6-hbh-count", "Eight options pass, the ninth is refused before it is looked at; padding does not count.")
send(case, *eight, padn(6))
send(case, *eight, bytes([0x9E, 0]), padn(4))
send(case, *[bytes([0x1E, 0]), PAD1] * 8, padn(4))

case = Case("ip6-hbh-count-strict", "A negative max_hbh_opts_number refuses every unknown option, without an error.", router(sysctl={"net.ipv6.max_hbh_opts_number": -2}))
send(case, padn(6))
send(case, bytes([5, 2, 0, 1]), padn(2))
send(case, bytes([0x1E, 4, 0, 0, 0, 0]))
send(case, bytes([0x9E, 4, 0, 0, 0, 0]))

case = Case("ip6-hbh-length", "max_hbh_length limits the whole header.", router(sysctl={"net.ipv6.max_hbh_length": 16}))
send(case, bytes([0x1E, 12]) + bytes(12))
send(case, bytes([0x1E, 20]) + bytes(20))

case = Case("ip6-hbh-bounds", "A header that is longer than the packet, and an option that is longer than the header, are refused.")
case.ip6(bytes([17, 0, 1, 4]), nh=0)
case.ip6(hbh(padn(6), length=9) + bytes(udp()), nh=0)
case.ip6(bytes([17, 0, 0x1E, 5, 0, 0, 0, 0]) + bytes(udp()), nh=0)
case.ip6(bytes([17, 0, 0x1E, 3, 0, 0, 0, 0x1E]) + bytes(udp()), nh=0)
case.ip6(bytes([17, 0, 1, 3, 0, 0, 0, 1]) + bytes(udp()), nh=0)
case.ip6(bytes([17, 0, 1, 5, 0, 0, 0, 0]) + bytes(udp()), nh=0)
