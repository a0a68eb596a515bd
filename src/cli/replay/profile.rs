//! `--profile`: what share of the time each kind of packet takes. Each kind is played alone, in batches, until the time
//! is long enough to be measured; its share is its time per packet times its number, of the sum of all.

use super::round::{Class, Round};
use super::speed;
use crate::cli::offline::Router;
use crate::scenario::player::Arrival;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// How long each kind is played.
const ENOUGH: Duration = Duration::from_millis(50);
/// Most rounds of one kind, should its packets cost next to nothing.
const ROUNDS_MAX: u64 = 1 << 20;

/// One kind of packet.
#[derive(Debug)]
pub struct Line {
    kind: String,
    packets: usize,
    nanos: f64,
    /// Of the time of all.
    share: f64,
}

impl Line {
    /// As an object of `--json`.
    pub fn json(&self) -> Value {
        json!({ "kind": self.kind, "packets": self.packets, "ns_per_packet": self.nanos, "share": self.share })
    }
}

/// Measures each kind of packet of the round, the dearest first.
pub fn measure(made: &Router, arrivals: &[(usize, Arrival)], round: &Round) -> anyhow::Result<Vec<Line>> {
    let mut kinds: BTreeMap<Class, Vec<&Arrival>> = BTreeMap::new();
    for ((_, arrival), class) in arrivals.iter().zip(&round.classes) {
        kinds.entry(*class).or_default().push(arrival);
    }
    let mut lines = Vec::new();
    for (class, frames) in kinds {
        let kind = match class {
            Class::Fast => "forward, fast path".to_owned(),
            Class::Full(name) => format!("{name}, full path"),
            Class::Drop(reason) => format!("drop {reason}"),
            Class::Truncated => "truncated".to_owned(),
        };
        let (packets, nanos) = (frames.len(), nanos(made, &frames)?);
        lines.push(Line { kind, packets, nanos, share: 0.0 });
    }
    let all: f64 = lines.iter().map(|l| l.nanos * l.packets as f64).sum();
    for line in &mut lines {
        line.share = if all > 0.0 { line.nanos * line.packets as f64 / all } else { 0.0 };
    }
    lines.sort_by(|a, b| b.share.total_cmp(&a.share));
    Ok(lines)
}

/// Nanoseconds a packet; the rounds double until they take long enough.
fn nanos(made: &Router, frames: &[&Arrival]) -> anyhow::Result<f64> {
    let mut rounds = 1;
    loop {
        let spent = speed::worker(made, frames, rounds)?;
        if spent >= ENOUGH || rounds >= ROUNDS_MAX {
            return Ok(spent.as_nanos() as f64 / (frames.len() as u64 * rounds) as f64);
        }
        rounds *= 2;
    }
}

/// The lines as a table.
pub fn table(text: &mut String, lines: &[Line]) -> std::fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "{:<32} {:>10} {:>14} {:>8}",
        "time by kind of packet", "packets", "ns a packet", "share"
    )?;
    for line in lines {
        let share = line.share * 100.0;
        writeln!(text, "{:<32} {:>10} {:>14.1} {share:>6.1} %", line.kind, line.packets, line.nanos)?;
    }
    Ok(())
}
