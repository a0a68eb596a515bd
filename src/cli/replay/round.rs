//! The exact round: every frame by itself, in capture time. Invariant: the same files give the same round, however many
//! times it is run; with several workers, identifications of IPv4 messages and what the limiters let pass may differ, as
//! these depend on who comes first.

use crate::cli::offline::Router;
use crate::drop::DropReason;
use crate::forward::decision::{Decision, Verdict};
use crate::forward::observe::Observer;
use crate::scenario::player::{self, Arrival, Departure, Player};
use crate::state::State;
use crate::stats::Counts;
use crate::wire::dissect::{self, dissect};
use crate::wire::eth::EthHdr;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::thread;
use zerocopy::FromBytes;

/// From so many frames on a terminal is shown how far it is.
const LONG: usize = 100_000;
/// How often the bar moves.
const STEP: usize = 4096;

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// Forwarded by the fast path.
    Fast,
    /// A verdict of the full path, by its stable name.
    Full(&'static str),
    /// Dropped.
    Drop(DropReason),
    /// Cut short by the capture, so nothing can be said of it.
    Truncated,
}

impl Class {
    /// The verdict's name in `--json`.
    pub fn verdict(self) -> &'static str {
        match self {
            Class::Fast => "forward",
            Class::Full(name) => name,
            Class::Drop(_) => "drop",
            Class::Truncated => "truncated",
        }
    }
}

/// The stable name of a verdict.
pub fn name(verdict: &Verdict<'_>) -> &'static str {
    match verdict {
        Verdict::Forward(..) => "forward",
        Verdict::Fragment(..) => "fragment",
        Verdict::Hold(..) | Verdict::HoldFragments(..) => "hold",
        Verdict::Local => "local",
        Verdict::Kernel(_) => "kernel",
        Verdict::Drop(_) => "drop",
    }
}

/// Notes the verdict of the frame at hand.
#[derive(Default)]
struct Judge(Option<Class>);

impl Observer for Judge {
    fn decided(&mut self, decision: &Decision<'_>) {
        self.0 = Some(match &decision.verdict {
            Verdict::Drop(reason) => Class::Drop(*reason),
            other => Class::Full(name(other)),
        });
    }
}

/// A frame that left, with the place of the frame that made it leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Index of its interface.
    pub link: u32,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Place of its cause among the arrivals; those that time alone brought about come last.
    pub cause: usize,
    /// From the link-layer header on.
    pub bytes: Vec<u8>,
}

/// All results.
#[derive(Debug, Default)]
pub struct Round {
    /// What became of each frame, in the order of arrivals.
    pub classes: Vec<Class>,
    /// What left, in order.
    pub departures: Vec<Sent>,
    /// All counters.
    pub counts: Counts,
}

impl Round {
    /// Frames by verdict.
    pub fn verdicts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for class in &self.classes {
            *counts.entry(class.verdict()).or_insert(0) += 1;
        }
        counts
    }

    /// A number that stands for all that left: FNV-1a of each frame with its link's name, summed, so that the order in
    /// which workers finish does not matter.
    pub fn digest(&self, state: &State) -> u64 {
        let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let one = |sent: &Sent| {
            let name = state.ifaces.get(sent.link).map_or("", |i| &i.name);
            name.as_bytes().iter().chain(&sent.bytes).fold(0xcbf2_9ce4_8422_2325, fnv)
        };
        self.departures.iter().map(one).fold(0, u64::wrapping_add)
    }
}

/// Plays all frames, shared among `workers` by flow.
pub fn play(made: &Router, arrivals: &[(usize, Arrival)], workers: usize) -> anyhow::Result<Round> {
    let bar = progress(arrivals.len());
    let limits = player::limits();
    let players: Vec<Player> =
        (0..workers).map(|_| made.player_with(limits.clone())).collect::<anyhow::Result<_>>()?;
    let shares = share(arrivals, workers);
    let done: Vec<_> = thread::scope(|scope| {
        let one = |(player, share): (Player, &'_ Vec<usize>)| {
            let (bar, share) = (&bar, share.clone());
            scope.spawn(move || part(player, arrivals, &share, bar))
        };
        let threads: Vec<_> = players.into_iter().zip(&shares).map(one).collect();
        threads.into_iter().filter_map(|t| t.join().ok()).collect()
    });
    bar.finish_and_clear();
    anyhow::ensure!(done.len() == workers, "a worker ended early");
    let mut round = Round { classes: vec![Class::Truncated; arrivals.len()], ..Round::default() };
    for (classes, departures, counts) in done {
        for (at, class) in classes {
            if let Some(place) = round.classes.get_mut(at) {
                *place = class;
            }
        }
        round.departures.extend(departures);
        round.counts.add(&counts);
    }
    round.departures.sort_by_key(|sent| (sent.time, sent.cause));
    Ok(round)
}

/// Plays one worker's share.
fn part(
    mut player: Player,
    arrivals: &[(usize, Arrival)],
    share: &[usize],
    bar: &ProgressBar,
) -> (Vec<(usize, Class)>, Vec<Sent>, Counts) {
    let (mut classes, mut departures) = (Vec::with_capacity(share.len()), Vec::new());
    for (done, &at) in share.iter().enumerate() {
        let Some((_, arrival)) = arrivals.get(at) else { continue };
        let mut judge = Judge::default();
        let truncated = arrival.wire_len as usize > arrival.bytes.len();
        player.play(arrival, &mut judge, &mut |d| departures.push(sent(d, at)));
        classes.push((at, judge.0.unwrap_or(if truncated { Class::Truncated } else { Class::Fast })));
        if done % STEP == STEP - 1 {
            bar.inc(STEP as u64);
        }
    }
    player.finish(&mut Judge::default(), &mut |d| departures.push(sent(d, arrivals.len())));
    (classes, departures, player.counts())
}

fn sent(d: Departure<'_>, cause: usize) -> Sent {
    Sent { link: d.link, time: d.time, cause, bytes: d.bytes.to_vec() }
}

/// The places of each worker's frames: both directions of a flow go to the same one.
pub fn share(arrivals: &[(usize, Arrival)], workers: usize) -> Vec<Vec<usize>> {
    let mut shares = vec![Vec::new(); workers];
    for (at, (_, arrival)) in arrivals.iter().enumerate() {
        let to = if workers == 1 { 0 } else { flow(&arrival.bytes) as usize % workers };
        if let Some(share) = shares.get_mut(to) {
            share.push(at);
        }
    }
    shares
}

/// A number that both directions of a flow have in common. Fragments show no ports, so only addresses count.
fn flow(frame: &[u8]) -> u32 {
    let Ok((eth, packet)) = EthHdr::ref_from_prefix(frame) else { return 0 };
    let mix = |a: u128, b: u128| {
        let both = a.wrapping_add(b).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        (both >> 96) as u32
    };
    match dissect(packet, eth.ethertype.get(), true).outer.addrs {
        dissect::Addrs::V4 { src, dst } => mix(src.to_bits().into(), dst.to_bits().into()),
        dissect::Addrs::V6 { src, dst } => mix(src.to_bits(), dst.to_bits()),
        dissect::Addrs::None => 0,
    }
}

/// A bar for long work, drawn on terminals only.
fn progress(frames: usize) -> ProgressBar {
    if frames < LONG {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} frames, {eta} left");
    ProgressBar::new(frames as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
