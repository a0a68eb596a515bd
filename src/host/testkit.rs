//! For the tests of the host: the small router of `forward::testkit`, frame by frame, with a clock that is set by hand.

use super::standalone::{answer, wishes};
use super::{Host, Learned};
use crate::forward::ctx::Env;
use crate::forward::observe::Unobserved;
use crate::forward::testkit::{Bench, mac};
use crate::frame::{Frame, Meta, PktType};
use crate::stats::Mib;
use crate::wire::eth::EthHdr;
use zerocopy::IntoBytes;

/// The host behind p0 as the tests speak for it, and one nobody knows.
pub const PEER: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
pub const SECOND: u64 = 1_000_000_000;

pub struct Lab {
    pub bench: Bench,
    pub host: Host,
    pub learned: Vec<Learned>,
}

/// Frames that left, with their interface.
pub type Sent = Vec<(u32, Vec<u8>)>;

impl Lab {
    pub fn new() -> Lab {
        Lab { bench: Bench::new(), host: Host::new(), learned: Vec::new() }
    }

    /// An Ethernet frame to p0's own address, or to `to`.
    pub fn frame(to: Option<[u8; 6]>, ethertype: u16, body: &[u8]) -> Vec<u8> {
        let eth = EthHdr::new(to.unwrap_or(mac(crate::forward::testkit::P0)), PEER, ethertype);
        [eth.as_bytes(), body].concat()
    }

    /// Gives a frame to the router on interface `iif`; returns all that leaves, also what had waited.
    pub fn give(&mut self, iif: u32, bytes: &[u8]) -> Sent {
        let pkt_type = match bytes.first_chunk::<6>() {
            Some([0xff, ..]) => PktType::Broadcast,
            Some([b, ..]) if b & 1 != 0 => PktType::Multicast,
            Some(to) if *to == mac(iif) => PktType::Host,
            _ => PktType::OtherHost,
        };
        let meta = Meta { iif, pkt_type, wire_len: bytes.len() as u32, ..Meta::default() };
        let mut memory = bytes.to_vec();
        let mut batch = [Frame::new(&mut memory, 0, meta).unwrap()];
        let mut sent = Sent::new();
        {
            let mut reader = self.bench.shared.fib.reader().unwrap();
            let (view, state) = (reader.pin(), self.bench.shared.state.load());
            let env = Env { view: &view, state: &state, now: self.bench.now, wall: self.bench.now };
            let forwarder = &mut self.bench.forwarder;
            forwarder.batch(env, &mut batch, &mut Unobserved);
            answer(&mut self.host, forwarder, env, &batch);
            sent.extend(forwarder.out.iter().map(|o| (o.oif, forwarder.out.bytes(o, &batch).to_vec())));
            forwarder.out.clear();
        }
        self.settle(&mut sent);
        sent
    }

    /// Lets time pass, timer by timer; returns what leaves, each with the seconds gone by.
    pub fn wait(&mut self, seconds: u64) -> Vec<(u64, u32, Vec<u8>)> {
        let start = self.bench.now;
        let end = start + seconds * SECOND;
        let mut all = Vec::new();
        while let Some(due) = self.host.due().filter(|&due| due <= end) {
            self.bench.now = self.bench.now.max(due);
            let mut sent =
                self.act(|host, forwarder, env| host.poll(&mut forwarder.act(env, &mut Unobserved)));
            self.settle(&mut sent);
            all.extend(sent.into_iter().map(|(oif, f)| ((self.bench.now - start) / SECOND, oif, f)));
        }
        self.bench.now = end;
        all
    }

    /// Publishes what was learned and looks after what waits, until nothing is new.
    fn settle(&mut self, sent: &mut Sent) {
        loop {
            let news: Vec<Learned> = self.host.neighbours.learned().collect();
            self.host.publish(&mut self.bench.writer, self.bench.now);
            if news.is_empty() {
                return;
            }
            for l in &news {
                self.bench.writer.set_neighbour(l.key.0, l.key.1, l.neighbour);
            }
            self.learned.extend(news);
            self.bench.writer.publish();
            sent.extend(self.act(|host, forwarder, env| {
                forwarder.held(env, &mut Unobserved);
                wishes(host, forwarder, env);
            }));
        }
    }

    fn act(&mut self, f: impl FnOnce(&mut Host, &mut crate::forward::Forwarder, Env<'_>)) -> Sent {
        let mut reader = self.bench.shared.fib.reader().unwrap();
        let (view, state) = (reader.pin(), self.bench.shared.state.load());
        let env = Env { view: &view, state: &state, now: self.bench.now, wall: self.bench.now };
        let forwarder = &mut self.bench.forwarder;
        f(&mut self.host, forwarder, env);
        let sent = forwarder.out.iter().map(|o| (o.oif, forwarder.out.bytes(o, &[]).to_vec())).collect();
        forwarder.out.clear();
        sent
    }

    /// The netns-wide value of a counter.
    pub fn mib(&self, mib: Mib) -> u64 {
        self.bench.forwarder.stats.snapshot().mib(mib)
    }

    /// Packets dropped for a reason.
    pub fn drops(&self, reason: crate::drop::DropReason) -> u64 {
        self.bench.forwarder.stats.snapshot().drops(reason as usize)
    }
}
