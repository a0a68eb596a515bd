//! A router with something of everything, and a way to put one frame through it.

use std::path::Path;
use std::sync::Arc;
use warren::forward::ctx::Env;
use warren::forward::l3::limit::Limits;
use warren::forward::observe::Unobserved;
use warren::forward::{Forwarder, Scope};
use warren::frame::{Frame, Meta};
use warren::scenario::Scenario;
use warren::state::{Shared, Writer};
use warren::stats::Counts;

/// Three links, both families; plain, multipath, reject and source-specific routes; rules are tested apart.
const SCENARIO: &str = r#"
link = [{ name = "p0" }, { name = "p1" }, { name = "p2", mtu = 1400 }]
address = [
    { dev = "p0", prefix = "10.0.1.254/24" }, { dev = "p0", prefix = "2001:db8:1::fe/64" },
    { dev = "p1", prefix = "10.0.2.254/24" }, { dev = "p1", prefix = "2001:db8:2::fe/64" },
    { dev = "p2", prefix = "10.0.3.254/24" }, { dev = "p2", prefix = "2001:db8:3::fe/64" },
]
neighbour = [
    { dev = "p0", to = "10.0.1.1", lladdr = "02:00:00:00:01:01" },
    { dev = "p0", to = "2001:db8:1::1", lladdr = "02:00:00:00:01:01" },
    { dev = "p1", to = "10.0.2.1", lladdr = "02:00:00:00:02:01" },
    { dev = "p1", to = "2001:db8:2::1", lladdr = "02:00:00:00:02:01" },
    { dev = "p2", to = "10.0.3.1", lladdr = "02:00:00:00:03:01", state = "stale" },
    { dev = "p2", to = "2001:db8:3::1", lladdr = "02:00:00:00:03:01", state = "stale" },
]
route = [
    { dst = "10.9.0.0/16", via = "10.0.2.1" }, { dst = "2001:db8:9::/48", via = "2001:db8:2::1" },
    { dst = "10.10.0.0/16", via = "10.0.3.1" }, { dst = "2001:db8:10::/48", via = "2001:db8:3::1" },
    { dst = "10.11.0.0/16", nexthop = [{ via = "10.0.2.1", weight = 2 }, { via = "10.0.3.1" }] },
    { dst = "2001:db8:11::/48", nexthop = [{ via = "2001:db8:2::1" }, { via = "2001:db8:3::1", weight = 3 }] },
    { dst = "10.12.0.0/16", type = "unreachable" }, { dst = "2001:db8:12::/48", type = "prohibit" },
    { dst = "10.13.0.0/16", type = "blackhole" }, { dst = "2001:db8:13::/48", type = "blackhole" },
    { dst = "10.14.0.0/16", via = "10.0.2.1", mtu = 600 },
    { dst = "2001:db8:14::/48", via = "2001:db8:2::1", mtu = 1300 },
    { dst = "10.15.0.0/16", via = "10.0.1.1" }, { dst = "2001:db8:15::/48", via = "2001:db8:1::1" },
    { dst = "2001:db8:16::/48", from = "2001:db8:1::/64", via = "2001:db8:2::1" },
]
"#;

/// Interface index of the first link, which receives everything.
pub const IN: u32 = 2;

pub struct Router {
    _writer: Writer,
    shared: Arc<Shared>,
    pub forwarder: Forwarder,
    now: u64,
}

impl Router {
    pub fn new(full_only: bool) -> Router {
        let path = Path::new("properties.toml");
        let loaded = Scenario::parse(SCENARIO, path).unwrap().load(path, 2, 0).unwrap();
        let mut forwarder = Forwarder::new(Arc::new(Limits::new(1 << 16, 1)), Scope::Whole);
        forwarder.full_only = full_only;
        Router { _writer: loaded.writer, shared: loaded.shared, forwarder, now: 1 << 40 }
    }

    /// Receives one frame that lies at `range` of a larger piece of memory.
    pub fn inside(&mut self, memory: &mut [u8], range: std::ops::Range<usize>, meta: Meta) {
        let mut reader = self.shared.fib.reader().unwrap();
        let (view, state) = (reader.pin(), self.shared.state.load());
        let env = Env { view: &view, state: &state, now: self.now, wall: self.now };
        let frame = Frame::new(&mut memory[range], 0, meta).unwrap();
        self.forwarder.batch(env, &mut [frame], &mut Unobserved);
        self.forwarder.out.clear();
        let _ = self.forwarder.asks.drain().count();
    }

    /// Receives the frames in `memory` as one batch; gives what leaves with its interface, and the counters moved.
    pub fn batch(&mut self, memory: &mut [Vec<u8>], meta: Meta) -> (Vec<(u32, Vec<u8>)>, Counts) {
        let before = self.forwarder.stats.snapshot();
        // A second a batch, so that the limiters let the odd error pass.
        self.now += 1_000_000_000;
        let mut reader = self.shared.fib.reader().unwrap();
        let (view, state) = (reader.pin(), self.shared.state.load());
        let env = Env { view: &view, state: &state, now: self.now, wall: self.now };
        let frame = |m| Frame::new(m, 0, meta).unwrap();
        let mut frames: Vec<Frame<'_>> = memory.iter_mut().map(|m| frame(&mut m[..])).collect();
        let f = &mut self.forwarder;
        f.batch(env, &mut frames, &mut Unobserved);
        let sent = f.out.iter().map(|o| (o.oif, f.out.bytes(o, &frames).to_vec())).collect();
        f.out.clear();
        let _ = f.asks.drain().count();
        (sent, f.stats.snapshot().since(&before))
    }
}
