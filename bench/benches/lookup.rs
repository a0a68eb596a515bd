//! Longest-prefix match: tables of a million (IPv4) and a quarter million (IPv6) routes, prefix-uniform keys.
#![allow(clippy::expect_used, missing_docs)] // a bench that cannot run must stop; criterion makes undocumented items

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use warren_bench::table;
use warren_fib::{Fib, Hops, Place, Route, TABLE_MAIN, Writer};

const KEYS: usize = 65_536;

fn load() -> (Writer, Fib, Vec<Ipv4Addr>, Vec<Ipv6Addr>) {
    let (mut writer, fib) = warren_fib::new(2);
    let (v4, v6) = (table::ipv4(1_000_000, 1), table::ipv6(250_000, 1));
    for (i, &prefix) in v4.iter().enumerate() {
        let via = IpAddr::V4(Ipv4Addr::new(10, 0, (i % 3) as u8, (i % 100) as u8));
        writer.insert(Route::new(prefix, Hops::one(2, Some(via))), Place::New).expect("room for the table");
    }
    for (i, &prefix) in v6.iter().enumerate() {
        let via = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, (i % 300) as u16));
        writer.insert(Route::new(prefix, Hops::one(2, Some(via))), Place::New).expect("room for the table");
    }
    writer.publish();
    let keys = (table::hosts4(&v4, KEYS, 2), table::hosts6(&v6, KEYS, 2));
    (writer, fib, keys.0, keys.1)
}

fn lookup(c: &mut Criterion) {
    let (mut writer, fib, keys4, keys6) = load();
    let mut reader = fib.reader().expect("a free reader");
    let mut group = c.benchmark_group("lookup");
    group.throughput(Throughput::Elements(KEYS as u64));
    group.bench_function("ipv4 1M prefix-uniform", |b| {
        let view = reader.pin();
        let table = view.table::<Ipv4Addr>(TABLE_MAIN).expect("table main");
        b.iter(|| keys4.iter().filter(|&&k| black_box(table.lookup(k).next()).is_some()).count());
    });
    group.bench_function("ipv6 250k prefix-uniform", |b| {
        let view = reader.pin();
        let table = view.table::<Ipv6Addr>(TABLE_MAIN).expect("table main");
        b.iter(|| keys6.iter().filter(|&&k| black_box(table.lookup(k).next()).is_some()).count());
    });
    group.finish();
    let prefix = table::ipv4(1_000_000, 1)[500_000];
    let route = |n| Route::new(prefix, Hops::one(2, Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)))));
    c.bench_function("replace one of 1M routes", |b| {
        let mut n = 0;
        b.iter_batched(
            || {
                n = n % 90 + 1;
                route(n)
            },
            |r| writer.insert(r, Place::Replace),
            BatchSize::SmallInput,
        );
        writer.publish();
    });
}

criterion_group!(benches, lookup);
criterion_main!(benches);
