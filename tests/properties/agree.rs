//! Both routes through the code give the same frames, counters, wishes and drops.

use super::frames::{Rng, frame, plan};
use super::router::Router;
use warren::drop::DropReason;
use warren::stats::{Counts, Link, MAX_SLOTS, Mib, Own};

/// All but the two counters that say which way was taken.
fn moved(c: &Counts) -> Vec<(String, u64)> {
    let slots: Vec<u16> = c.slots().filter(|&s| usize::from(s) < MAX_SLOTS).collect();
    let mibs = Mib::ALL.iter().flat_map(|&m| {
        let of = slots.iter().map(move |&s| (format!("{m}@{s}"), c.mib_on(s, m)));
        std::iter::once((m.to_string(), c.mib(m))).chain(of)
    });
    let links =
        slots.iter().flat_map(|&s| Link::ALL.iter().map(move |&l| (format!("{l}@{s}"), c.link(s, l))));
    let own = Own::ALL.iter().filter(|o| !matches!(o, Own::FastPackets | Own::FullPackets));
    let own = own.map(|&o| (o.to_string(), c.own(o)));
    let drops = DropReason::ALL.iter().map(|&d| (d.to_string(), c.drops(d as usize)));
    mibs.chain(links).chain(own).chain(drops).filter(|(_, n)| *n > 0).collect()
}

#[test]
fn fast_and_full_path_agree() {
    let (frames, seed) = plan();
    let mut r = Rng(seed);
    let (mut fast, mut full) = (Router::new(false), Router::new(true));
    for n in 0..frames {
        let (bytes, meta) = frame(&mut r);
        let (a, ca) = fast.batch(&mut [bytes.clone()], meta);
        let (b, cb) = full.batch(&mut [bytes.clone()], meta);
        assert_eq!(a, b, "frame {n} of seed {seed}: {bytes:02x?}");
        assert_eq!(moved(&ca), moved(&cb), "frame {n} of seed {seed}: {bytes:02x?}");
        while !fast.forwarder.hold.is_empty() {
            fast.forwarder.hold.take(|_| Some(()));
            full.forwarder.hold.take(|_| Some(()));
        }
        assert!(full.forwarder.hold.is_empty(), "frame {n} of seed {seed} waits on one side only");
    }
    let counts = fast.forwarder.stats.snapshot();
    let share = counts.own(Own::FastPackets) as f64 / frames as f64;
    println!("{frames} frames agree; the fast path took {:.1} %", share * 100.0);
    assert!(share >= 0.5, "the generator must reach the fast path: {share}");
    assert!(share <= 0.95, "and the full path: {share}");
    assert_eq!(full.forwarder.stats.snapshot().own(Own::FastPackets), 0);
}
