"""IPv4: options, read and written on the way."""

from box import Case, router, udp
from scapy.all import IPOption


def send(case, *options, **fields):
    """A packet with these bytes as options, filled with END to a multiple of four."""
    body = b"".join(bytes(o) for o in options)
    return case.ip4(options=[IPOption(body + b"\0" * (-len(body) % 4))], **fields)


def address(text):
    """Four bytes."""
    return bytes(int(part) for part in text.split("."))


case = Case("ip4-options-passed", "Options that a router has nothing to do with go on unchanged.")
send(case, [1, 1, 1, 1])
send(case, [0x88, 4, 0, 7])
send(case, [130, 11] + [0] * 9)
send(case, [0x94, 4, 0, 0])
send(case, [0x94, 4, 0, 1])
send(case, [0x1E, 2], [0x9F, 6, 1, 2, 3, 4])

case = Case("ip4-options-end", "What follows END is set to zero.")
send(case, [0, 0, 0, 0])
send(case, [0, 1, 2, 3])
send(case, [1, 0, 7, 7, 4, 0, 0, 0])

case = Case("ip4-options-malformed", "A malformed option is answered with the offset of the byte at fault.")
send(case, [0x1E, 0, 0, 0])
send(case, [0x1E, 1, 0, 0])
send(case, [0x1E, 5, 0, 0])
send(case, [1, 1, 1, 0x1E])
send(case, [7, 2, 0, 0])
send(case, [7, 7, 3, 0, 0, 0, 0])
send(case, [7, 7, 5, 0, 0, 0, 0])
send(case, [7, 7, 4, 0, 0, 0, 0], [7, 7, 4, 0, 0, 0, 0])
send(case, [68, 3, 5, 0])
send(case, [68, 8, 4, 0, 0, 0, 0, 0])
send(case, [68, 8, 6, 0, 0, 0, 0, 0])
send(case, [68, 8, 5, 1, 0, 0, 0, 0])
send(case, [68, 8, 5, 3, 0, 0, 0, 0])
send(case, [68, 8, 9, 0xF0, 0, 0, 0, 0])
send(case, [131, 2, 0, 0])
send(case, [131, 7, 3, 0, 0, 0, 0])
send(case, [131, 3, 4, 131, 3, 4])
send(case, [131, 3, 4, 137, 3, 4])
send(case, [0x94, 3, 0, 0])
send(case, [134, 6, 0, 0, 0, 1])
send(case, [134, 8, 0, 0, 0, 1, 5, 2])

case = Case("ip4-options-malformed-fate", "Where several things are wrong: the route first, then the options, then the TTL.")
send(case, [0x1E, 0, 0, 0], ttl=1)
send(case, [0x1E, 0, 0, 0], dst="172.16.0.1")
send(case, [0x1E, 0, 0, 0], src="127.0.0.1")
send(case, [0x1E, 0, 0, 0], mac="ff:ff:ff:ff:ff:ff")

case = Case("ip4-options-record-route", "A router writes the address that it sends from into a record of the route; a full one stays as it is.")
send(case, [7, 7, 4, 0, 0, 0, 0])
send(case, [7, 39, 4] + [0] * 36)
send(case, [7, 15, 8, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0])
send(case, [7, 7, 8, 9, 9, 9, 9])
send(case, [7, 3, 4])

case = Case("ip4-options-timestamp", "A router adds its time: bare, behind its address, or where its own address is listed; without room it counts.")
send(case, [68, 8, 5, 0, 0, 0, 0, 0])
send(case, [68, 12, 5, 1] + [0] * 8)
send(case, [68, 12, 5, 3] + list(address("10.0.1.254")) + [0] * 4)
send(case, [68, 12, 5, 3] + list(address("10.0.2.254")) + [0] * 4)
send(case, [68, 12, 5, 3] + list(address("10.9.9.9")) + [0] * 4)
send(case, [68, 12, 5, 3] + list(address("224.0.0.1")) + [0] * 4)
send(case, [68, 8, 9, 0x00, 0, 0, 0, 0])
send(case, [68, 8, 9, 0x31, 0, 0, 0, 0])
send(case, [68, 12, 13, 0xF3] + [0] * 8)
send(case, [68, 8, 5, 2, 0, 0, 0, 0])
send(case, [68, 4, 5, 0])

hop = list(address("10.2.0.77"))
case = Case("ip4-source-route-refused", "By default source routes are refused in silence, also by a router that they do not name.")
send(case, [131, 7, 4] + hop)
send(case, [137, 7, 4] + hop)
send(case, [131, 7, 4] + hop, dst="10.0.1.254")
send(case, [137, 7, 4] + hop, dst="10.0.1.254")

accept = {"net.ipv4.conf.all.accept_source_route": 1}
case = Case("ip4-source-route-accepted", "With accept_source_route a packet for us goes on to the next hop that it names, with our address in that place.", router(sysctl=accept))
send(case, [131, 7, 4] + hop)
send(case, [137, 7, 4] + hop)
send(case, [131, 7, 4] + hop, dst="10.0.1.254")
send(case, [131, 11, 4] + hop + list(address("10.2.0.78")), dst="10.0.1.254")
send(case, [131, 11, 4] + list(address("10.0.2.254")) + hop, dst="10.0.1.254")
send(case, [137, 7, 4] + hop, dst="10.0.1.254")
send(case, [137, 7, 4] + list(address("10.0.2.1")), dst="10.0.1.254")
send(case, [131, 7, 4] + list(address("172.16.0.1")), dst="10.0.1.254")
send(case, [131, 7, 5] + hop, dst="10.0.1.254")
send(case, [131, 7, 4] + hop, dst="10.0.1.254", ttl=1)
send(case, [131, 7, 4] + hop, dst="10.0.1.254", mac="ff:ff:ff:ff:ff:ff")
send(case, [131, 7, 4] + hop, [7, 7, 4, 0, 0, 0, 0], dst="10.0.1.254")
send(case, [137, 7, 4] + hop, ttl=1)

case = Case("ip4-options-in-errors", "An error repeats the options of the packet that it is about, source routes turned round, and quotes it as it had been changed so far.", router(sysctl=accept))
send(case, [1, 1, 1, 1], ttl=1)
send(case, [7, 15, 4] + [0] * 12, ttl=1)
send(case, [7, 7, 4, 0, 0, 0, 0], ttl=1)
send(case, [7, 7, 8, 9, 9, 9, 9], ttl=1)
send(case, [7, 15, 8, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0], dst="172.16.0.1")
send(case, [7, 15, 8, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0], dst="10.2.0.9", ttl=1)
send(case, [0x94, 4, 0, 0], ttl=1)
send(case, [0x88, 4, 0, 7], ttl=1)
send(case, [131, 11, 8] + list(address("10.1.7.7")) + hop, ttl=1)
send(case, [131, 11, 12] + list(address("10.1.7.7")) + list(address("10.1.7.8")), ttl=1)
send(case, [131, 11, 12] + list(address("10.1.7.7")) + list(address("10.1.7.8")), [7, 7, 4, 0, 0, 0, 0], ttl=1)
send(case, [131, 7, 4] + hop, ttl=1)
send(case, [137, 11, 12] + list(address("10.1.7.7")) + list(address("10.1.7.8")), ttl=1)
send(case, [68, 12, 5, 1] + [0] * 8, ttl=1)
send(case, [68, 8, 9, 0x10, 1, 2, 3, 4], ttl=1)
send(case, [7, 11, 4] + [0] * 8, flags="DF", payload=udp(1470))
