"""What a case is made of, and how it is written down.

A case is a router (scenario.toml), frames that enter it (in.pcapng), and a sentence that says what it proves
(README.md). What comes out is not made here: tests/record plays the frames on a kernel.

The usual router has p0 (10.0.1.254/24, 2001:db8:1::fe/64) and p1 (10.0.2.254/24, 2001:db8:2::fe/64). Hosts behind
gateways 10.0.1.1 and 2001:db8:1::1 send (10.1.0.0/16, 2001:db8:a1::/48), hosts behind 10.0.2.1 and 2001:db8:2::1
receive (10.2.0.0/16, 2001:db8:a2::/48). Every frame has a sender of its own, because the kernel limits how many ICMP
messages one host gets.
"""

import struct
from pathlib import Path

from scapy.all import ICMP, IP, TCP, UDP, Ether, ICMPv6EchoRequest, IPv6, Raw

PCAPS = Path(__file__).resolve().parents[2] / "pcaps"
# 2026-01-01T12:00:00Z; frames come a millisecond apart unless a case says otherwise.
START = 1767268800 * 10**9
MS = 10**6

GATEWAY_MACS = {f"p{n}": f"02:00:00:00:01:{n + 1:02x}" for n in range(4)}
LINK_MACS = {f"p{n}": f"02:00:00:00:00:{n + 2:02x}" for n in range(4)}


def link(number, mtu=None):
    """Link p<number> with one address and one known gateway of each family that its MTU allows."""
    name, net = f"p{number}", number + 1
    text = table("link", name=name, index=number + 2, **({"mtu": mtu} if mtu else {}))
    pairs = [("10.0.{}.254/24", "10.0.{}.1"), ("2001:db8:{}::fe/64", "2001:db8:{}::1")]
    # Below 1280 bytes the kernel has no IPv6 on a link.
    for prefix, gateway in pairs[: 1 if mtu and mtu < 1280 else 2]:
        text += table("address", dev=name, prefix=prefix.format(net))
        text += neighbour(name, gateway.format(net))
    return text


def neighbour(dev, to, mac=None, **keys):
    """A [[neighbour]] with the gateway's hardware address, or another."""
    return table("neighbour", dev=dev, to=to, lladdr=mac or GATEWAY_MACS[dev], **keys)


def route(dst, **keys):
    """A [[route]] table."""
    return table("route", dst=dst, **keys)


def table(kind, **keys):
    """Any [[table]]; a trailing underscore keeps names clear of Python's own words."""
    lines = [f"{name.rstrip('_')} = {value(v)}" for name, v in keys.items()]
    return "\n".join([f"\n[[{kind}]]"] + lines) + "\n"


def value(v):
    """A Python value in TOML."""
    if isinstance(v, bool):
        return str(v).lower()
    if isinstance(v, (list, tuple)):
        return "[" + ", ".join(value(x) for x in v) + "]"
    if isinstance(v, dict):
        return "{ " + ", ".join(f"{k} = {value(x)}" for k, x in v.items()) + " }"
    return str(v) if isinstance(v, int) else f'"{v}"'


def router(*tables, links=2, mtu=None, sysctl=None):
    """The usual router, with `tables` besides. `mtu` is that of p1."""
    text = "".join(link(n, mtu if n == 1 else None) for n in range(links))
    text += route("10.1.0.0/16", via="10.0.1.1", dev="p0") + route("10.2.0.0/16", via="10.0.2.1", dev="p1")
    text += route("2001:db8:a1::/48", via="2001:db8:1::1", dev="p0")
    if not mtu or mtu >= 1280:
        text += route("2001:db8:a2::/48", via="2001:db8:2::1", dev="p1")
    return finish(text + "".join(tables), sysctl)


def finish(text, sysctl=None):
    """A scenario with its [sysctl] table."""
    # The kernel's flow labels are keyed with a secret; without labels its packets can be foretold.
    values = {"net.ipv6.auto_flowlabels": 0, **(sysctl or {})}
    return text.lstrip() + "\n[sysctl]\n" + "".join(f'"{k}" = {value(v)}\n' for k, v in sorted(values.items()))


def host4(n):
    """Sender number n."""
    return f"10.1.{n // 200}.{n % 200 + 1}"


def host6(n):
    """Sender number n."""
    return f"2001:db8:a1::{n + 1:x}"


class Case:
    """Frames are added with `frame`, `ip4` and `ip6`; `write` makes the folder."""

    every = []

    def __init__(self, name, proves, scenario=None):
        self.name, self.proves = name, proves
        self.scenario = router() if scenario is None else scenario
        self.start = self.next_time = START
        self.frames, self.senders = [], 0
        Case.every.append(self)

    def frame(self, data, dev="p0", dst=None, after=MS):
        """Adds a frame. `data` is what follows the Ethernet header; `dst` another MAC than the router's."""
        kind = 0x86DD if bytes(data)[:1] and bytes(data)[0] >> 4 == 6 else 0x0800
        if isinstance(data, Ether):
            raw = bytes(data)
        else:
            raw = bytes(Ether(src=GATEWAY_MACS[dev], dst=dst or LINK_MACS[dev], type=kind)) + bytes(data)
        self.frames.append((dev, self.next_time, raw))
        self.next_time += after
        return self

    def sender(self):
        """A sender that was not used yet."""
        self.senders += 1
        return self.senders

    def ip4(self, payload=None, dev="p0", mac=None, after=MS, pad=b"", **fields):
        """An IPv4 packet from a fresh sender to a host behind p1, with these fields besides."""
        fields = {"src": host4(self.sender()), "dst": "10.2.0.9", "id": 1000 + self.senders, **fields}
        return self.frame(bytes(IP(**fields) / (udp() if payload is None else payload)) + pad, dev, mac, after)

    def ip6(self, payload=None, dev="p0", mac=None, after=MS, pad=b"", **fields):
        """An IPv6 packet from a fresh sender to a host behind p1, with these fields besides."""
        fields = {"src": host6(self.sender()), "dst": "2001:db8:a2::9", **fields}
        return self.frame(bytes(IPv6(**fields) / (udp() if payload is None else payload)) + pad, dev, mac, after)

    def write(self):
        """Writes scenario.toml, in.pcapng and README.md."""
        folder = PCAPS / self.name
        folder.mkdir(exist_ok=True)
        (folder / "scenario.toml").write_text(self.scenario)
        (folder / "README.md").write_text(self.proves + "\n")
        (folder / "in.pcapng").write_bytes(pcapng(self.frames))


def udp(size=8, sport=1000, dport=2000):
    """A UDP datagram of `size` bytes in all."""
    return UDP(sport=sport, dport=dport) / Raw(bytes(i % 251 for i in range(size - 8)))


def block(kind, body):
    """A pcapng block."""
    body += b"\0" * (-len(body) % 4)
    return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)


def option(code, data):
    """A pcapng option."""
    return struct.pack("<HH", code, len(data)) + data + b"\0" * (-len(data) % 4)


def pcapng(frames):
    """A capture whose interface blocks bear the links' names, with times in nanoseconds."""
    links = sorted({dev for dev, _, _ in frames})
    out = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    for name in links:
        options = option(2, name.encode()) + option(9, b"\x09") + option(0, b"")
        out += block(1, struct.pack("<HHI", 1, 0, 0) + options)
    for dev, time, raw in frames:
        head = struct.pack("<IIIII", links.index(dev), time >> 32, time & 0xFFFFFFFF, len(raw), len(raw))
        out += block(6, head + raw + b"\0" * (-len(raw) % 4) + option(2, struct.pack("<I", 1)) + option(0, b""))
    return out
