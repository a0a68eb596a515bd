//! Updates one by one, with the rate of lookups meanwhile; and one change that all routes feel.

use crate::input::{Family, Model, Update};
use crate::lookups::Keys;
use serde_json::{Value, json};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use warren_fib::{Fib, Hop, Hops, NexthopBody, NexthopObject, Place, Prefix, Route, TABLE_MAIN, Writer};

/// Updates a second while lookups are counted.
const PACE: u64 = 100_000;
/// For so long.
const MEANWHILE: Duration = Duration::from_secs(2);

/// One update, published at once.
fn apply<A: Family>(writer: &mut Writer, (comes, prefix): Update<A>, model: Model) -> anyhow::Result<()> {
    let route = model.route(prefix);
    if comes {
        writer.insert(route, Place::Replace)?;
    } else {
        writer.remove(&route)?;
    }
    writer.publish();
    Ok(())
}

/// How long an update takes, from the call until it is published; and what lookups lose at 100,000 updates a second.
pub fn updates<A: Family>(
    writer: &mut Writer,
    fib: &Fib,
    updates: &[Update<A>],
    model: Model,
    keys: &Keys<A>,
) -> anyhow::Result<Value> {
    let mut times = Vec::with_capacity(updates.len());
    let begin = Instant::now();
    for &update in updates {
        let start = Instant::now();
        apply(writer, update, model)?;
        times.push(start.elapsed().as_nanos() as u64);
    }
    let per_s = updates.len() as f64 / begin.elapsed().as_secs_f64();
    let mean = times.iter().sum::<u64>() / times.len().max(1) as u64;
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 10_000).copied().unwrap_or(0);
    let quiet = lookups(fib, keys, || {
        std::thread::sleep(MEANWHILE);
        Ok(())
    })?;
    let mut next = updates.iter().cycle();
    let busy = lookups(fib, keys, || {
        let (begin, mut done) = (Instant::now(), 0);
        while begin.elapsed() < MEANWHILE {
            let due = begin.elapsed().as_nanos() as u64 * PACE / 1_000_000_000;
            while done < due {
                let Some(&update) = next.next() else { return Ok(()) };
                apply(writer, update, model)?;
                done += 1;
            }
            std::hint::spin_loop();
        }
        Ok(())
    })?;
    Ok(json!({
        "mean_ns": mean, "p50_ns": at(5000), "p99_ns": at(9900), "p999_ns": at(9990),
        "per_s": per_s.round(), "lookup_mlps_quiet": quiet, "lookup_mlps_meanwhile": busy,
    }))
}

/// Million lookups a second of a reader on another core while `work` runs here.
fn lookups<A: Family>(
    fib: &Fib,
    keys: &Keys<A>,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let mut reader = fib.reader()?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counter = scope.spawn(|| {
            let (begin, mut count) = (Instant::now(), 0);
            let mut found = [None; 256];
            for keys in keys.prefix.chunks_exact(256).cycle() {
                // As a worker does: one batch, then the next view.
                let view = reader.pin();
                if let Some(table) = view.table::<A>(TABLE_MAIN) {
                    table.longest_of(keys, &mut found);
                }
                black_box(&found);
                count += keys.len();
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            (count as f64 / begin.elapsed().as_secs_f64() / 1e4).round() / 100.0
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        done?;
        counter.join().map_err(|_| anyhow::anyhow!("the counting thread panicked"))
    })
}

/// Nanoseconds until all routes of the table have another gateway, by one change of the nexthop object they use: the median.
pub fn nexthop_change<A: Family>(table: &[Prefix<A>]) -> anyhow::Result<u64> {
    const CHANGES: u16 = 101;
    let (mut writer, _fib) = warren_fib::new(1);
    let object =
        |number| NexthopObject { id: 1, body: NexthopBody::Single(Hop::new(2, Some(A::gateway(number)))) };
    writer.set_nexthop(object(0))?;
    for &prefix in table {
        writer.insert(Route::new(prefix, Hops::Object(1)), Place::New)?;
    }
    let mut times = Vec::new();
    for number in 1..=CHANGES {
        let start = Instant::now();
        writer.set_nexthop(object(number))?;
        writer.publish();
        times.push(start.elapsed().as_nanos() as u64);
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or(0))
}
