//! The path without I/O: batches of 256 frames through both routes, a hundred routes behind one gateway.
#![allow(clippy::expect_used, missing_docs)] // a bench that cannot run must stop; criterion makes undocumented items

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use warren::forward::ctx::Env;
use warren::forward::l3::limit::Limits;
use warren::forward::observe::Unobserved;
use warren::forward::{Forwarder, Scope};
use warren::frame::{BATCH, Batch, Frame, Meta};
use warren::scenario::Scenario;
use warren_bench::traffic;

const SCENARIO: &str = r#"
link = [{ name = "p0" }, { name = "p1" }]
address = [
    { dev = "p0", prefix = "10.0.1.254/24" }, { dev = "p0", prefix = "2001:db8:1::fe/64" },
    { dev = "p1", prefix = "10.0.2.254/24" }, { dev = "p1", prefix = "2001:db8:2::fe/64" },
]
neighbour = [
    { dev = "p1", to = "10.0.2.1", lladdr = "02:00:00:00:02:01" },
    { dev = "p1", to = "2001:db8:2::1", lladdr = "02:00:00:00:02:01" },
]
route = [
    { dst = "10.9.0.0/16", via = "10.0.2.1" }, { dst = "2001:db8:9::/48", via = "2001:db8:2::1" },
]
"#;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn frames(v6: bool) -> Vec<Vec<u8>> {
    let frame = |i: usize| {
        let n = i as u16;
        if v6 {
            let dst = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, n);
            traffic::ipv6(MAC, Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1), dst, 62, n)
        } else {
            let [a, b] = n.to_be_bytes();
            traffic::ipv4(MAC, Ipv4Addr::new(10, 0, 1, 1), Ipv4Addr::new(10, 9, a, b), 60, n)
        }
    };
    (0..BATCH).map(frame).collect()
}

fn forward(c: &mut Criterion) {
    let path = Path::new("bench.toml");
    let scenario = Scenario::parse(SCENARIO, path).expect("a good scenario");
    let loaded = scenario.load(path, 1, 0).expect("a good scenario");
    let mut reader = loaded.shared.fib.reader().expect("a free reader");
    let mut group = c.benchmark_group("forward");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, v6, full) in [
        ("ipv4 fast", false, false),
        ("ipv4 full", false, true),
        ("ipv6 fast", true, false),
        ("ipv6 full", true, true),
    ] {
        let mut forwarder = Forwarder::new(Arc::new(Limits::new(1024, 1)), Scope::Whole);
        forwarder.full_only = full;
        let original = frames(v6);
        let mut memory = original.clone();
        let meta = Meta { iif: 2, ..Meta::default() };
        group.bench_function(name, |b| {
            b.iter(|| {
                // The path rewrites in place: the header is laid anew for each round, which is part of the figure.
                for (to, from) in memory.iter_mut().zip(&original) {
                    to[..54].copy_from_slice(&from[..54]);
                }
                let mut batch = Batch::new();
                batch.extend(memory.iter_mut().filter_map(|m| Frame::new(m, 0, meta)));
                let view = reader.pin();
                let state = loaded.shared.state.load();
                let env = Env { view: &view, state: &state, now: 1, wall: 1 };
                forwarder.batch(env, &mut batch, &mut Unobserved);
                assert_eq!(forwarder.out.len(), BATCH);
                forwarder.out.clear();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
