//! A small router for the unit tests of this floor and of `host`: p0 and p1 with both families, a few routes, known neighbours.

use super::claim::Family;
use super::ctx::Env;
use super::decision::{Decision, ReplyKind, Verdict};
use super::l3::limit::Limits;
use super::observe::{Observer, Unobserved};
use super::{Forwarder, Scope, decide};
use crate::drop::DropReason;
use crate::frame::{Frame, Meta};
use crate::iface::{Addr4, Addr6, LinkKind};
use crate::state::{LinkInfo, PROTO_KERNEL, Shared, State, Writer};
use crate::stats::Counts;
use crate::wire::eth::EthHdr;
use crate::wire::ip4::Ip4Hdr;
use crate::wire::ip6::{Ip6Hdr, link_local_from_mac};
use crate::wire::proto;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use warren_fib::{Hops, Ip, Neighbour, Nud, Place, Prefix, Route, RouteType, TABLE_LOCAL};
use zerocopy::IntoBytes;

pub const P0: u32 = 2;
pub const P1: u32 = 3;
/// The hosts behind p0 and p1, and a gateway on p1.
pub const HOST0: &str = "2001:db8:1::1";
pub const HOST1: &str = "2001:db8:2::1";

pub fn mac(index: u32) -> [u8; 6] {
    [2, 0, 0, 0, 0, index as u8]
}

pub struct Bench {
    pub writer: Writer,
    pub shared: Arc<Shared>,
    pub forwarder: Forwarder,
    pub now: u64,
}

fn link(index: u32, name: &str, kind: LinkKind) -> LinkInfo {
    LinkInfo { index, name: name.into(), kind, mac: mac(index), mtu: 1500, up: true, carrier: true }
}

pub fn p<A: Ip + std::str::FromStr>(text: &str) -> Prefix<A>
where
    Prefix<A>: std::str::FromStr<Err: std::fmt::Debug>,
{
    text.parse().unwrap()
}

impl Bench {
    /// p0 = 10.0.1.254/24, 2001:db8:1::fe/64; p1 = 10.0.2.254/24, 2001:db8:2::fe/64; 10.9/16 and 2001:db8:9::/48
    /// by the hosts .1 on p1; everything resolved and permanent.
    pub fn new() -> Bench {
        let (mut w, shared) = Writer::new(4, 1).unwrap();
        w.set_link(link(1, "lo", LinkKind::Loopback));
        for (index, name) in [(P0, "p0"), (P1, "p1")] {
            w.set_link(link(index, name, LinkKind::Ethernet));
            let net = index as u8 - 1;
            let a4 = Ipv4Addr::new(10, 0, net, 254);
            let a6: Ipv6Addr = format!("2001:db8:{net}::fe").parse().unwrap();
            w.update_iface(index, |i| {
                i.conf4.forwarding = 1;
                i.addrs4.push(Addr4 {
                    addr: a4,
                    peer: a4,
                    prefix_len: 24,
                    broadcast: None,
                    scope: 0,
                    secondary: false,
                });
                for (addr, prefix_len) in [(link_local_from_mac(mac(index)), 64), (a6, 64)] {
                    i.addrs6.push(Addr6 {
                        addr,
                        prefix_len,
                        tentative: false,
                        optimistic: false,
                        deprecated: false,
                        temporary: false,
                        no_prefix_route: false,
                    });
                }
            });
            let local = |r: &mut Route<Ipv6Addr>, kind| (r.kind, r.table, r.metric) = (kind, TABLE_LOCAL, 0);
            for addr in [link_local_from_mac(mac(index)), a6] {
                let mut own = Route::new(Prefix::host(addr), Hops::one(index, None));
                local(&mut own, RouteType::Local);
                w.insert6(own, Place::New).unwrap();
            }
            let mut groups = Route::new(p("ff00::/8"), Hops::one(index, None));
            local(&mut groups, RouteType::Multicast);
            w.insert6(groups, Place::Append).unwrap();
            w.insert6(Route::new(p(&format!("2001:db8:{net}::/64")), Hops::one(index, None)), Place::New)
                .unwrap();
            w.insert6(Route::new(p("fe80::/64"), Hops::one(index, None)), Place::Append).unwrap();
            let mut own = Route::new(Prefix::host(a4), Hops::one(index, None));
            (own.kind, own.table, own.scope) = (RouteType::Local, TABLE_LOCAL, 254);
            own.protocol = PROTO_KERNEL;
            w.insert4(own, Place::New).unwrap();
            let mut connected = Route::new(p(&format!("10.0.{net}.0/24")), Hops::one(index, None));
            (connected.scope, connected.prefsrc) = (253, Some(a4));
            w.insert4(connected, Place::New).unwrap();
            for to in [format!("10.0.{net}.1"), format!("2001:db8:{net}::1"), "fe80::1".into()] {
                let known = Neighbour { lladdr: [2, 0, 0, 0, 1, net], state: Nud::PERMANENT };
                w.set_neighbour(index, to.parse().unwrap(), Some(known));
            }
        }
        w.draft_mut().sysctl.all6.forwarding = 1;
        let via4 = Some(IpAddr::from([10, 0, 2, 1]));
        w.insert4(Route::new(p("10.9.0.0/16"), Hops::one(P1, via4)), Place::New).unwrap();
        let via6 = Some(HOST1.parse::<IpAddr>().unwrap());
        w.insert6(Route::new(p("2001:db8:9::/48"), Hops::one(P1, via6)), Place::New).unwrap();
        w.publish();
        let forwarder = Forwarder::new(Arc::new(Limits::new(1024, 1)), Scope::Whole);
        Bench { writer: w, shared, forwarder, now: 1_000_000_000_000 }
    }

    /// Runs `f` on the published state.
    pub fn with<T>(&self, f: impl FnOnce(Env<'_>) -> T) -> T {
        let mut reader = self.shared.fib.reader().unwrap();
        let (view, state) = (reader.pin(), self.shared.state.load());
        let state: &State = &state;
        f(Env { view: &view, state, now: self.now, wall: self.now })
    }

    /// What the full path decides for a packet received on p0.
    pub fn decide<T>(&self, packet: &[u8], look: impl FnOnce(&Decision<'_>) -> T) -> T {
        self.decide_with(packet, Meta { iif: P0, wire_len: 0, ..Meta::default() }, look)
    }

    pub fn decide_with<T>(&self, packet: &[u8], meta: Meta, look: impl FnOnce(&Decision<'_>) -> T) -> T {
        self.with(|env| {
            let iif = env.state.ifaces.get(meta.iif).unwrap();
            let family = if packet.first().is_some_and(|b| b >> 4 == 4) { Family::V4 } else { Family::V6 };
            look(&decide(env, iif, family, packet, meta, &mut Unobserved))
        })
    }

    /// Sends frames in on p0 and returns what leaves, with the interface, and the counters moved.
    pub fn run(&mut self, packets: &[Vec<u8>]) -> (Vec<(u32, Vec<u8>)>, Counts) {
        self.run_observed(packets, Meta { iif: P0, ..Meta::default() }, &mut Unobserved)
    }

    pub fn run_observed<O: Observer>(
        &mut self,
        packets: &[Vec<u8>],
        meta: Meta,
        observer: &mut O,
    ) -> (Vec<(u32, Vec<u8>)>, Counts) {
        let before = self.forwarder.stats.snapshot();
        let mut memory: Vec<Vec<u8>> = packets.iter().map(|p| framed(p)).collect();
        let mut frames: Vec<Frame<'_>> = memory.iter_mut().map(|m| Frame::new(m, 0, meta).unwrap()).collect();
        let mut reader = self.shared.fib.reader().unwrap();
        let (view, state) = (reader.pin(), self.shared.state.load());
        let env = Env { view: &view, state: &state, now: self.now, wall: self.now };
        let f = &mut self.forwarder;
        f.batch(env, &mut frames, observer);
        f.held(env, observer);
        let sent = f.out.iter().map(|o| (o.oif, f.out.bytes(o, &frames).to_vec())).collect();
        f.out.clear();
        (sent, f.stats.snapshot().since(&before))
    }
}

/// In an Ethernet frame from a host to p0.
pub fn framed(packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet.first().is_some_and(|b| b >> 4 == 4) { 0x0800 } else { 0x86dd };
    let eth = EthHdr::new(mac(P0), [2, 0, 0, 0, 1, 1], ethertype);
    [eth.as_bytes(), packet].concat()
}

/// A UDP packet of `len` bytes in all.
pub fn udp6(src: &str, dst: &str, hops: u8, len: usize) -> Vec<u8> {
    let hdr = Ip6Hdr::new((len - 40) as u16, proto::UDP, hops, src.parse().unwrap(), dst.parse().unwrap());
    let mut packet = hdr.as_bytes().to_vec();
    packet.extend((0..len - 40).map(|i| i as u8));
    packet
}

/// A UDP packet of `len` bytes in all.
pub fn udp4(src: &str, dst: &str, ttl: u8, len: usize) -> Vec<u8> {
    let hdr = Ip4Hdr::new(len as u16, ttl, proto::UDP, src.parse().unwrap(), dst.parse().unwrap());
    let mut packet = hdr.as_bytes().to_vec();
    packet.extend((0..len - 20).map(|i| i as u8));
    packet
}

/// An IPv4 packet with options (padded to words by the caller), checksum set.
pub fn udp4_options(src: &str, dst: &str, options: &[u8], data: usize) -> Vec<u8> {
    let len = 20 + options.len() + data;
    let mut hdr = Ip4Hdr::new(len as u16, 64, proto::UDP, src.parse().unwrap(), dst.parse().unwrap());
    hdr.ver_ihl = 0x45 + (options.len() / 4) as u8;
    hdr.set_checksum(options);
    [hdr.as_bytes(), options, &vec![7; data]].concat()
}

/// A hop-by-hop header with these option bytes (a multiple of eight with its own two) before UDP.
pub fn hbh6(src: &str, dst: &str, options: &[u8]) -> Vec<u8> {
    let units = (options.len() + 2) / 8 - 1;
    let payload = options.len() + 2 + 8;
    let hdr = Ip6Hdr::new(payload as u16, proto::HOPOPTS, 64, src.parse().unwrap(), dst.parse().unwrap());
    [hdr.as_bytes(), &[proto::UDP, units as u8], options, &[0; 8]].concat()
}

/// What became of a packet received on p0: the drop reason, and what is said to its sender.
pub fn fate(bench: &Bench, packet: &[u8]) -> (Option<DropReason>, Vec<ReplyKind>) {
    fate_of(bench, packet, Meta { iif: P0, ..Meta::default() })
}

/// The same for a packet that the link layer says more of.
pub fn fate_of(bench: &Bench, packet: &[u8], meta: Meta) -> (Option<DropReason>, Vec<ReplyKind>) {
    bench.decide_with(packet, meta, |d| {
        let reason = if let Verdict::Drop(reason) = d.verdict { Some(reason) } else { None };
        (reason, d.replies.iter().map(|r| r.kind).collect())
    })
}

/// Why a fresh router drops a packet, if it does.
pub fn drops(packet: &[u8]) -> Option<DropReason> {
    fate(&Bench::new(), packet).0
}
