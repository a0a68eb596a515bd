//! Lookups one by one and in batches, with three kinds of keys.

use crate::input::Family;
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::Instant;
use warren_bench::Rng;
use warren_fib::{Fib, Prefix, TABLE_MAIN};

/// Addresses looked up between two looks at the clock.
const CHUNK: usize = 4096;
/// Flows of the zipf keys.
const FLOWS: u64 = 65_536;

/// The same addresses for everybody.
pub struct Keys<A> {
    /// Any address: most of IPv6's have no route.
    pub uniform: Vec<A>,
    /// Any host of any prefix, each prefix alike.
    pub prefix: Vec<A>,
    /// Hosts of prefixes, few of them very often.
    pub zipf: Vec<A>,
}

impl<A: Family> Keys<A> {
    /// `count` of each kind.
    pub fn new(table: &[Prefix<A>], count: usize) -> Keys<A> {
        let rng = &mut Rng::new(7);
        let host = |rng: &mut Rng| {
            let prefix = table.get(rng.below(table.len() as u64) as usize).copied().unwrap_or(Prefix::ANY);
            let random = u128::from(rng.draw()) << 64 | u128::from(rng.draw());
            A::from_key(prefix.addr().key() | random.checked_shr(prefix.len().into()).unwrap_or(0))
        };
        let flows: Vec<A> = (0..FLOWS).map(|_| host(rng)).collect();
        let rank = |rng: &mut Rng| {
            // Log-uniform: rank r comes 1/r as often as rank 1.
            let exponent = rng.draw() as f64 / u64::MAX as f64;
            ((FLOWS as f64).powf(exponent) as usize - 1).min(flows.len() - 1)
        };
        Keys {
            uniform: (0..count).map(|_| A::anywhere(rng)).collect(),
            prefix: (0..count).map(|_| host(rng)).collect(),
            zipf: (0..count).filter_map(|_| flows.get(rank(rng)).copied()).collect(),
        }
    }

    /// Million lookups a second for each kind of keys: the median over all chunks of all rounds.
    pub fn rates(&self, rounds: usize, mut chunk: impl FnMut(&[A])) -> Value {
        let mut rate = |keys: &[A]| {
            let mut times = Vec::new();
            for _ in 0..rounds {
                for keys in keys.chunks_exact(CHUNK) {
                    let start = Instant::now();
                    chunk(keys);
                    times.push(start.elapsed().as_nanos() as u64);
                }
            }
            times.sort_unstable();
            let median = times.get(times.len() / 2).copied().unwrap_or(0).max(1);
            (CHUNK as f64 * 1e5 / median as f64).round() / 100.0
        };
        json!({ "uniform": rate(&self.uniform), "prefix": rate(&self.prefix), "zipf": rate(&self.zipf) })
    }
}

/// One after another, each answer added up.
pub fn scalar<A: Family>(fib: &Fib, keys: &Keys<A>, rounds: usize) -> anyhow::Result<Value> {
    let mut reader = fib.reader()?;
    let view = reader.pin();
    let Some(table) = view.table::<A>(TABLE_MAIN) else { return Ok(json!({})) };
    Ok(keys.rates(rounds, |keys| {
        let sum: u64 = keys.iter().map(|&key| u64::from(table.longest_id(key).map_or(0, |id| id.0))).sum();
        black_box(sum);
    }))
}

/// Many at once, each answer written down.
pub fn batch<A: Family>(fib: &Fib, keys: &Keys<A>, rounds: usize) -> anyhow::Result<Value> {
    let mut reader = fib.reader()?;
    let view = reader.pin();
    let Some(table) = view.table::<A>(TABLE_MAIN) else { return Ok(json!({})) };
    let mut found = vec![None; CHUNK];
    Ok(keys.rates(rounds, |keys| {
        table.longest_of(keys, &mut found);
        black_box(&found);
    }))
}
