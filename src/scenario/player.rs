//! Frames played through a scenario: one by one, in time order, with a model of what a kernel does in between.
//!
//! Capture time is the only clock, so the same frames give the same bytes. A next hop that nobody has described does not
//! answer: it fails after as many solicitations as the sysctls say, and the packets that waited are dealt with then.
//! Called by replay, explain, the recorded cases and tests.

use crate::drop::DropReason;
use crate::forward::ctx::Env;
use crate::forward::decision::{Decision, Verdict};
use crate::forward::l3::limit::Limits;
use crate::forward::observe::{Observer, Step};
use crate::forward::{Forwarder, Scope};
use crate::frame::{Frame, Offload};
use crate::iface::{Iface, LinkKind};
use crate::neigh::Ask;
use crate::port;
use crate::state::{Shared, State, Writer};
use crate::stats::{Counts, Mib};
use crate::wire::eth::{ETHERTYPE_IPV6, EthHdr};
use crate::wire::ip4::Ip4Hdr;
use crate::wire::ip6::{self, Ip6Hdr};
use crate::wire::proto;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use warren_fib::{FibError, Neighbour, Nud, Reader};
use zerocopy::FromBytes;

/// When the first frame may come, by the player's clock: the box has been up for an hour, its limiters are rested.
const UPTIME: u64 = 3_600_000_000_000;
/// Room before a frame, as ports leave it.
const HEADROOM: usize = 66;
/// Peers that the ICMP limiter knows at a time, and the seed of what it draws.
const PEERS: usize = 1 << 16;
const SEED: u64 = 1;
const MILLISECOND: u64 = 1_000_000;
/// `net.ipv6.neigh.DEV.ucast_solicit`, the kernel's default.
const UCAST_SOLICIT: u64 = 3;

/// A frame that comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Index of the interface that receives it.
    pub link: u32,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Bytes on the wire; more than `bytes` holds if the capture was cut.
    pub wire_len: u32,
    /// From the link-layer header on.
    pub bytes: Vec<u8>,
}

/// A frame that leaves.
#[derive(Clone, Copy, Debug)]
pub struct Departure<'b> {
    /// Index of the interface that sends it.
    pub link: u32,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// From the link-layer header on.
    pub bytes: &'b [u8],
    /// Checksum and segmentation left to do.
    pub offload: Offload,
}

/// One box at play. Several may share a state: each then has its own packets that wait and its own counters.
pub struct Player {
    writer: Arc<Mutex<Writer>>,
    shared: Arc<Shared>,
    reader: Reader,
    forwarder: Forwarder,
    /// Neighbours that fail unless something else happens: when, interface, address.
    failing: BTreeSet<(u64, u32, IpAddr)>,
    memory: Vec<u8>,
}

/// The ICMP limiter of a box, to be shared by its players.
pub fn limits() -> Arc<Limits> {
    Arc::new(Limits::new(PEERS, SEED))
}

/// The player's clock at a capture time, for routes that expire.
pub fn clock(time: u64) -> u64 {
    time.saturating_add(UPTIME)
}

impl Player {
    /// A player on this state, which holds up to as many readers as it was loaded for.
    pub fn new(
        writer: Arc<Mutex<Writer>>,
        shared: Arc<Shared>,
        limits: Arc<Limits>,
    ) -> Result<Player, FibError> {
        let reader = shared.fib.reader()?;
        let forwarder = Forwarder::new(limits, Scope::Whole);
        let (failing, memory) = (BTreeSet::new(), Vec::new());
        Ok(Player { writer, shared, reader, forwarder, failing, memory })
    }

    /// Leaves nothing to the fast path, so that an observer sees every packet.
    pub fn full_only(&mut self, on: bool) {
        self.forwarder.full_only = on;
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.forwarder.stats.snapshot()
    }

    /// Interfaces, sysctls and rules.
    pub fn state(&self) -> Arc<State> {
        self.shared.state.load_full()
    }

    /// Packets that wait for a next hop.
    pub fn waiting(&self) -> usize {
        self.forwarder.hold.len()
    }

    /// Plays one frame, after what is due before it. Frames come in time order.
    pub fn play<O: Observer>(
        &mut self,
        arrival: &Arrival,
        observer: &mut O,
        sink: &mut impl FnMut(Departure<'_>),
    ) {
        self.until(arrival.time, observer, sink);
        let state = self.shared.state.load_full();
        let Some(iif) = state.ifaces.get(arrival.link) else { return };
        self.memory.clear();
        self.memory.resize(HEADROOM, 0);
        self.memory.extend_from_slice(&arrival.bytes);
        let meta = port::meta(iif.index, iif.mac, &arrival.bytes, Offload::default(), arrival.wire_len);
        let Some(frame) = Frame::new(&mut self.memory, HEADROOM, meta) else { return };
        let mut frames = [frame];
        let mut watch = Watch { observer, local: false };
        let view = self.reader.pin();
        let env = Env { view: &view, state: &state, now: clock(arrival.time), wall: arrival.time };
        self.forwarder.batch(env, &mut frames, &mut watch);
        if watch.local {
            deliver(&self.forwarder, &state, iif, &arrival.bytes);
        }
        send(&mut self.forwarder, &frames, arrival.time, sink);
        self.asks(&state, arrival.time);
    }

    /// Lets time run until no packet waits any more.
    pub fn finish<O: Observer>(&mut self, observer: &mut O, sink: &mut impl FnMut(Departure<'_>)) {
        while !self.forwarder.hold.is_empty() {
            let Some(&(due, ..)) = self.failing.first() else { break };
            self.until(due, observer, sink);
        }
    }

    /// Lets time run up to `time`.
    pub fn until<O: Observer>(&mut self, time: u64, observer: &mut O, sink: &mut impl FnMut(Departure<'_>)) {
        while let Some(&(due, link, next)) = self.failing.first().filter(|(due, ..)| *due <= time) {
            self.failing.pop_first();
            let failed = Neighbour { lladdr: [0; 6], state: Nud::FAILED };
            self.set_neighbour(link, next, failed);
            let state = self.shared.state.load_full();
            let view = self.reader.pin();
            let env = Env { view: &view, state: &state, now: clock(due), wall: due };
            self.forwarder.held(env, observer);
            send(&mut self.forwarder, &[], due, sink);
            self.asks(&state, due);
        }
    }

    /// Begins what the forwarder wishes for. Linux: __neigh_event_send, neigh_timer_handler.
    fn asks(&mut self, state: &State, time: u64) {
        let asks: Vec<Ask> = self.forwarder.asks.drain().collect();
        for ask in asks {
            let (Ask::Resolve { oif, next } | Ask::Used { oif, next }) = ask;
            let Some(link) = state.ifaces.get(oif) else { continue };
            let conf = if next.is_ipv4() { &link.neigh4 } else { &link.neigh6 };
            let number = |value: i64| u64::try_from(value).unwrap_or(0);
            let probe = number(conf.retrans_time_ms) * MILLISECOND;
            let after = match ask {
                Ask::Resolve { .. } => number(conf.mcast_solicit) * probe,
                Ask::Used { .. } => {
                    // It goes on in use while it is asked for a sign of life, which nobody gives.
                    number(conf.delay_first_probe_time) * 1000 * MILLISECOND + UCAST_SOLICIT * probe
                }
            };
            self.failing.insert((time.saturating_add(after), oif, next));
        }
    }

    fn set_neighbour(&self, link: u32, addr: IpAddr, neighbour: Neighbour) {
        // Another player that panicked leaves the tables whole: each change is complete by itself.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.set_neighbour(link, addr, Some(neighbour));
        writer.publish_routes();
    }
}

/// Hands on what a batch wants sent.
fn send(forwarder: &mut Forwarder, frames: &[Frame<'_>], time: u64, sink: &mut impl FnMut(Departure<'_>)) {
    for output in forwarder.out.iter() {
        let bytes = forwarder.out.bytes(output, frames);
        sink(Departure { link: output.oif, time, bytes, offload: output.offload });
    }
    forwarder.out.clear();
}

/// A packet for this box: counted as a kernel without sockets counts it. This is where a host would take over.
/// Linux: ip6_protocol_deliver_rcu, ip_protocol_deliver_rcu.
fn deliver(forwarder: &Forwarder, state: &State, iif: &Iface, frame: &[u8]) {
    let Ok((eth, packet)) = EthHdr::ref_from_prefix(frame) else { return };
    let stats = &forwarder.stats;
    if eth.ethertype.get() == ETHERTYPE_IPV6 {
        let Ok((hdr, _)) = Ip6Hdr::ref_from_prefix(packet) else { return };
        let Some((_, kind, fragment)) = ip6::skip_ext(packet, Ip6Hdr::LEN, hdr.next_header) else { return };
        let known = matches!(kind, proto::TCP | proto::UDP | proto::UDPLITE | proto::ICMPV6 | proto::NONE);
        if known && fragment.is_none() {
            stats.mib(Mib::Ip6InDelivers, Some(owner(state, iif, hdr.dst()).slot), 1);
        }
    } else {
        let Ok((hdr, _)) = Ip4Hdr::ref_from_prefix(packet) else { return };
        let known = matches!(hdr.proto, proto::ICMP | proto::IGMP | proto::TCP | proto::UDP | proto::UDPLITE);
        // Fragments are delivered once they are whole again, which this model does not see.
        if known && !hdr.is_fragment() {
            stats.mib(Mib::IpInDelivers, None, 1);
        }
    }
}

/// The interface that an address belongs to: its own for what names a link, else wherever the address is.
fn owner<'s>(state: &'s State, iif: &'s Iface, dst: Ipv6Addr) -> &'s Iface {
    if dst.is_multicast() || ip6::is_link_local(dst) {
        return iif;
    }
    let has = |i: &&Iface| i.kind != LinkKind::Raw && i.addrs6.iter().any(|a| a.addr == dst);
    state.ifaces.iter().find(has).unwrap_or(iif)
}

/// Passes all on, and notes that a packet is for this box.
struct Watch<'o, O> {
    observer: &'o mut O,
    local: bool,
}

impl<O: Observer> Observer for Watch<'_, O> {
    fn check(&mut self, reason: DropReason, ok: bool) {
        self.observer.check(reason, ok);
    }
    fn step(&mut self, step: Step<'_>) {
        self.observer.step(step);
    }
    fn decided(&mut self, decision: &Decision<'_>) {
        self.local = decision.verdict == Verdict::Local;
        self.observer.decided(decision);
    }
    fn reply(&mut self, what: fmt::Arguments<'_>) {
        self.observer.reply(what);
    }
}
