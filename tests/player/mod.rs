//! A case through warren's forwarding path, frame by frame, with the kernel's way of giving up on neighbours.
#![allow(clippy::unwrap_used)] // A helper of tests fails them by panicking.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use warren::conform::{Case, Counters, Frame, Outcome};
use warren::forward::ctx::Env;
use warren::forward::l3::limit::Limits;
use warren::forward::observe::Unobserved;
use warren::forward::{Forwarder, Scope};
use warren::frame::{self, Meta, PktType};
use warren::neigh::Ask;
use warren::scenario::Loaded;
use warren::state::State;
use warren::stats::Mib;
use warren_fib::{Neighbour, Nud};

pub(crate) fn play(case: &Case) -> Outcome {
    let start = case.frames.first().map_or(0, |f| f.time);
    let loaded = case.scenario.load(&case.folder.join("scenario.toml"), 1, start).unwrap();
    let forwarder = Forwarder::new(Arc::new(Limits::new(1024, 1)), Scope::Whole);
    let mut player = Player { loaded, forwarder, failing: BTreeSet::new(), sent: Vec::new(), time: start };
    for f in &case.frames {
        player.until(f.time);
        player.time = f.time;
        player.frame(f);
    }
    player.until(u64::MAX);
    let counters = player.counters();
    Outcome { frames: player.sent, counters }
}

struct Player {
    loaded: Loaded,
    forwarder: Forwarder,
    /// Neighbours that are being looked for, by the time when the search is given up.
    failing: BTreeSet<(u64, u32, IpAddr)>,
    sent: Vec<Frame>,
    time: u64,
}

impl Player {
    fn frame(&mut self, entering: &Frame) {
        let (forwarder, sent) = (&mut self.forwarder, &mut self.sent);
        let mut reader = self.loaded.shared.fib.reader().unwrap();
        let (view, state) = (reader.pin(), self.loaded.shared.state.load());
        let env = Env { view: &view, state: &state, now: self.time, wall: self.time };
        let iif = state.ifaces.by_name(&entering.link).unwrap();
        let mut bytes = entering.bytes.clone();
        let to: [u8; 6] = *bytes.first_chunk().unwrap();
        let pkt_type = match to {
            mac if mac == iif.mac => PktType::Host,
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => PktType::Broadcast,
            [first, ..] if first & 1 == 1 => PktType::Multicast,
            _ => PktType::OtherHost,
        };
        let meta = Meta { iif: iif.index, pkt_type, wire_len: bytes.len() as u32, ..Meta::default() };
        let mut batch = [frame::Frame::new(&mut bytes, 0, meta).unwrap()];
        forwarder.batch(env, &mut batch, &mut Unobserved);
        collect(forwarder, &batch, &state, self.time, sent);
        self.asks();
    }

    /// Gives up on the neighbours whose time is over by `time`.
    fn until(&mut self, time: u64) {
        while let Some((due, oif, next)) = self.failing.first().copied().filter(|(due, ..)| *due <= time) {
            self.failing.pop_first();
            self.time = due;
            let failed = Neighbour { lladdr: [0; 6], state: Nud::FAILED };
            self.loaded.writer.set_neighbour(oif, next, Some(failed));
            self.loaded.writer.publish();
            {
                let mut reader = self.loaded.shared.fib.reader().unwrap();
                let (view, state) = (reader.pin(), self.loaded.shared.state.load());
                let env = Env { view: &view, state: &state, now: due, wall: due };
                self.forwarder.held(env, &mut Unobserved);
                collect(&mut self.forwarder, &[], &state, due, &mut self.sent);
            }
            self.asks();
        }
    }

    fn asks(&mut self) {
        let state = self.loaded.shared.state.load();
        for ask in self.forwarder.asks.drain() {
            if let Ask::Resolve { oif, next } = ask {
                let iface = state.ifaces.get(oif).unwrap();
                let conf = if next.is_ipv4() { &iface.neigh4 } else { &iface.neigh6 };
                let wait = (conf.mcast_solicit * conf.retrans_time_ms) as u64 * 1_000_000;
                self.failing.insert((self.time + wait, oif, next));
            }
        }
    }

    fn counters(&self) -> Counters {
        let counts = self.forwarder.stats.snapshot();
        let of = |value: &dyn Fn(Mib) -> u64| -> BTreeMap<String, u64> {
            let all = Mib::ALL.iter().map(|&mib| (mib.name().to_owned(), value(mib)));
            all.filter(|(_, value)| *value != 0).collect()
        };
        let state = self.loaded.shared.state.load();
        let dev = state.ifaces.iter().map(|i| (i.name.clone(), of(&|mib| counts.mib_on(i.slot, mib))));
        Counters { netns: of(&|mib| counts.mib(mib)), dev: dev.filter(|(_, v)| !v.is_empty()).collect() }
    }
}

fn collect(
    forwarder: &mut Forwarder,
    batch: &[frame::Frame<'_>],
    state: &State,
    time: u64,
    sent: &mut Vec<Frame>,
) {
    for output in forwarder.out.iter() {
        let link = state.ifaces.get(output.oif).unwrap().name.clone();
        sent.push(Frame { link, time, bytes: forwarder.out.bytes(output, batch).to_vec() });
    }
    forwarder.out.clear();
}
