//! No packet costs an allocation: a counting allocator watches batches of every kind go through the path.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot run must fail
#![allow(unsafe_code)] // a global allocator is unsafe to implement

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use warren::forward::ctx::Env;
use warren::forward::l3::limit::Limits;
use warren::forward::observe::Unobserved;
use warren::forward::{Forwarder, Scope};
use warren::frame::{Frame, Meta};
use warren::scenario::Scenario;
use warren::wire::eth::EthHdr;
use warren::wire::ip4::Ip4Hdr;
use warren::wire::ip6::Ip6Hdr;
use warren::wire::proto;
use zerocopy::IntoBytes;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches only a thread-local cell.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|c| c.set(c.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`, which is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above; the pointer came from `alloc`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SCENARIO: &str = r#"
link = [{ name = "p0" }, { name = "p1", mtu = 1280 }]
address = [
    { dev = "p0", prefix = "10.0.1.254/24" }, { dev = "p0", prefix = "2001:db8:1::fe/64" },
    { dev = "p1", prefix = "10.0.2.254/24" }, { dev = "p1", prefix = "2001:db8:2::fe/64" },
]
neighbour = [
    { dev = "p0", to = "10.0.1.1", lladdr = "02:00:00:00:01:01" },
    { dev = "p0", to = "2001:db8:1::1", lladdr = "02:00:00:00:01:01" },
    { dev = "p1", to = "10.0.2.1", lladdr = "02:00:00:00:02:01" },
    { dev = "p1", to = "2001:db8:2::1", lladdr = "02:00:00:00:02:01" },
]
route = [
    { dst = "10.9.0.0/16", via = "10.0.2.1" }, { dst = "2001:db8:9::/48", via = "2001:db8:2::1" },
    { dst = "10.15.0.0/16", via = "10.0.1.1" }, { dst = "2001:db8:15::/48", via = "2001:db8:1::1" },
]
"#;

fn v4(dst: &str, ttl: u8, options: &[u8], data: usize) -> Vec<u8> {
    let len = 20 + options.len() + data;
    let mut h = Ip4Hdr::new(len as u16, ttl, proto::UDP, [10, 0, 1, 1].into(), dst.parse().unwrap());
    h.ver_ihl = 0x45 + (options.len() / 4) as u8;
    h.set_checksum(options);
    let eth = EthHdr::new([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 1, 1], 0x0800);
    [eth.as_bytes(), h.as_bytes(), options, &vec![0; data]].concat()
}

fn v6(dst: &str, hops: u8, len: usize) -> Vec<u8> {
    let h = Ip6Hdr::new(
        (len - 40) as u16,
        proto::UDP,
        hops,
        "2001:db8:1::1".parse().unwrap(),
        dst.parse().unwrap(),
    );
    let eth = EthHdr::new([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 1, 1], 0x86dd);
    [eth.as_bytes(), h.as_bytes(), &vec![0; len - 40]].concat()
}

/// One of each: forwarded fast and full, cut, refused with an error, redirected, held, for the host.
fn kinds() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("forward v4", v4("10.9.0.1", 64, &[], 100)),
        ("forward v6", v6("2001:db8:9::1", 64, 100)),
        ("options", v4("10.9.0.1", 64, &[7, 7, 4, 0, 0, 0, 0, 0], 100)),
        ("fragment", v4("10.9.0.1", 64, &[], 1400)),
        ("ttl", v4("10.9.0.1", 1, &[], 100)),
        ("hop limit", v6("2001:db8:9::1", 1, 100)),
        ("too big", v6("2001:db8:9::1", 64, 1400)),
        ("no route", v4("10.99.0.1", 64, &[], 100)),
        ("no route v6", v6("3fff::1", 64, 100)),
        ("redirect v4", v4("10.15.0.1", 64, &[], 100)),
        ("redirect v6", v6("2001:db8:15::1", 64, 100)),
        ("held v4", v4("10.0.2.77", 64, &[], 100)),
        ("held v6", v6("2001:db8:2::77", 64, 100)),
        ("local", v4("10.0.1.254", 64, &[], 100)),
    ]
}

#[test]
fn no_packet_allocates() {
    let path = Path::new("no_alloc.toml");
    let loaded = Scenario::parse(SCENARIO, path).unwrap().load(path, 1, 0).unwrap();
    let mut reader = loaded.shared.fib.reader().unwrap();
    let mut f = Forwarder::new(Arc::new(Limits::new(1024, 1)), Scope::Whole);
    let meta = Meta { iif: 2, ..Meta::default() };
    for (i, (what, frame)) in kinds().into_iter().enumerate() {
        // A minute apart, so that the limiters let errors pass.
        let now = (1 << 40) + i as u64 * 60_000_000_000;
        let mut memory = vec![frame; 64];
        let mut frames: Vec<Frame<'_>> = memory.iter_mut().map(|m| Frame::new(m, 0, meta).unwrap()).collect();
        let before = COUNT.get();
        let view = reader.pin();
        let state = loaded.shared.state.load();
        let env = Env { view: &view, state: &state, now, wall: now };
        f.batch(env, &mut frames, &mut Unobserved);
        f.held(env, &mut Unobserved);
        let sent = f.out.len();
        f.out.clear();
        let asks = f.asks.drain().count();
        let allocations = COUNT.get() - before;
        assert_eq!(allocations, 0, "{what}: {allocations} allocations for 64 frames");
        assert!(sent > 0 || asks > 0 || what == "local", "{what}: nothing happened");
    }
    let before = COUNT.get();
    drop(std::hint::black_box(vec![1u8]));
    assert_eq!(COUNT.get() - before, 1, "the allocator counts");
}
