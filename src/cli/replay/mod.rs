//! `warren replay`: a capture through a scenario. What leaves, what moved, how fast.
//!
//! The frames are first played one by one in capture time: all results come from this round, so they are the same in
//! every run. Then they are played again in batches, as often as `--loop` says, and only this is timed.

mod annotate;
mod output;
mod profile;
mod round;
mod speed;

pub use round::name;

use super::Usage;
use super::counters::Counters;
use super::offline::Input;
use crate::stats::Own;
use round::Round;
use serde_json::json;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  warren replay in.pcapng -s box.toml --out results      what leaves, and every counter that moved
  warren replay in.pcap -s box.toml --in eth1            classic pcap does not say by which link frames come in
  warren replay in.pcapng -s box.toml --loop 1000        how fast
  warren replay in.pcapng -s box.toml --annotate why.pcapng && wireshark why.pcapng";

/// Forward a capture through a scenario, offline
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    input: Input,
    /// Write out.pcapng and counters.toml into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Play the frames so many times for the time measured
    #[arg(long = "loop", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Share the frames among so many threads; a flow stays with one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Write the frames that came in, each with a comment that says what became of it
    #[arg(long, value_name = "FILE")]
    annotate: Option<PathBuf>,
    /// Show what share of the time each kind of packet takes
    #[arg(long)]
    profile: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Whether two paths lead to one file that is there.
fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Plays, measures, writes, prints.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let workers = usize::from(args.workers);
    let written = args.out.iter().map(|folder| folder.join("out.pcapng")).chain(args.annotate.clone());
    for file in written {
        if same_file(&file, &args.input.capture) {
            return Err(
                Usage(format!("{} is the capture to play: write to another file", file.display())).into()
            );
        }
    }
    let (made, arrivals) = args.input.open(workers)?;
    let round = round::play(&made, &arrivals, workers)?;
    let state = made.shared.state.load_full();
    let counters = Counters::new(&round.counts, &state);
    if let Some(folder) = &args.out {
        output::write(folder, &round, &counters, &state)?;
    }
    if let Some(file) = &args.annotate {
        annotate::write(file, &args.input)?;
    }
    let speed = speed::measure(&made, &arrivals, workers, args.rounds)?;
    let profile = match args.profile {
        true => profile::measure(&made, &arrivals, &round)?,
        false => Vec::new(),
    };
    if args.json {
        let mut object = json!({
            "packets": speed.packets,
            "seconds": speed.seconds,
            "mpps": speed.mpps(),
            "ns_per_packet": speed.ns_per_packet(),
            "verdicts": round.verdicts(),
            "drops": counters.drops,
            "fast_share": fast_share(&round),
            "out_digest": format!("{:016x}", round.digest(&state)),
        });
        if let (true, Some(object)) = (args.profile, object.as_object_mut()) {
            object.insert("profile".into(), profile.iter().map(profile::Line::json).collect());
        }
        return super::print_json(&object);
    }
    let mut text = text(args, &round, &counters, &speed)?;
    profile::table(&mut text, &profile)?;
    super::print(&text)
}

/// Which part of the packets the fast path took.
fn fast_share(round: &Round) -> f64 {
    let (fast, full) = (round.counts.own(Own::FastPackets), round.counts.own(Own::FullPackets));
    if fast + full == 0 { 0.0 } else { fast as f64 / (fast + full) as f64 }
}

fn text(args: &Args, round: &Round, counters: &Counters, speed: &speed::Speed) -> anyhow::Result<String> {
    let mut text = String::new();
    let frames = |n: usize| if n == 1 { "1 frame".to_owned() } else { format!("{n} frames") };
    writeln!(text, "{} in, {} out", frames(round.classes.len()), frames(round.departures.len()))?;
    for (verdict, count) in round.verdicts() {
        writeln!(text, "  {verdict:<12} {count}")?;
    }
    if !counters.drops.is_empty() {
        writeln!(text, "drops")?;
        for (reason, count) in &counters.drops {
            writeln!(text, "  {reason:<24} {count}")?;
        }
    }
    writeln!(
        text,
        "speed: {:.3} Mpps, {:.1} ns a packet ({} packets in {:.6} s, {:.1} % on the fast path)",
        speed.mpps(),
        speed.ns_per_packet(),
        speed.packets,
        speed.seconds,
        fast_share(round) * 100.0
    )?;
    if let Some(folder) = &args.out {
        writeln!(text, "wrote out.pcapng and counters.toml to {}", folder.display())?;
    }
    Ok(text)
}
