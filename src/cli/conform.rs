//! `warren conform`: the same frames through this machine's kernel and through warren, everything compared.

use crate::conform::{self, KernelBox};
use crate::control::netlink::Family;
use crate::scenario::Scenario;
use anyhow::ensure;
use serde_json::json;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Put the same frames through this kernel and through warren, and compare every byte and counter
#[derive(clap::Args)]
pub struct Args {
    /// Frames to play: a capture whose interfaces bear the links' names
    #[arg(long, value_name = "FILE", conflicts_with_all = ["generate", "seed", "family"])]
    pcap: Option<PathBuf>,
    /// How many frames to draw by lot
    #[arg(long, value_name = "N", default_value_t = 1000)]
    generate: usize,
    /// What they are drawn with; the same seed draws the same frames
    #[arg(long, value_name = "K", default_value_t = 1)]
    seed: u64,
    /// Frames of one family only
    #[arg(long, value_parser = ["4", "6"])]
    family: Option<String>,
    /// The router to build [default: one with routes of every kind]
    #[arg(short, long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Builds the router twice, plays, compares; differences are printed, and a failure.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "needs root, to build a router in network namespaces: use sudo"
    );
    let mut scenario = match &args.scenario {
        Some(path) => Scenario::read(path)?,
        None => conform::usual()?,
    };
    conform::lift_global_limit(&mut scenario);
    let frames = match &args.pcap {
        Some(path) => conform::read_frames(path)?,
        None => conform::generate(&scenario, args.generate, args.seed, args.family.as_deref().map(family)),
    };
    let mut kernel = KernelBox::build(&format!("warren-conform-{}", std::process::id()), &scenario)?;
    let (expected, masked) = kernel.play(&frames)?;
    drop(kernel);
    let path = args.scenario.as_deref().unwrap_or(Path::new("the usual router"));
    let (actual, rules) = conform::userspace::play(&scenario, path, &frames, false)?;
    let found = conform::compare(&scenario, &expected, &actual);
    let seed = args.pcap.is_none().then_some(args.seed);
    if args.json {
        let differences: Vec<String> = found.to_string().lines().map(str::to_owned).collect();
        super::print_json(&json!({
            "frames": frames.len(),
            "compared": expected.frames.len().max(actual.frames.len()),
            "differences": differences,
            "masked": masked,
            "rules_hit": rules,
            "seed": seed,
        }))?;
    } else {
        let from = seed.map_or_else(String::new, |seed| format!(" drawn with seed {seed}"));
        let mut text = format!(
            "{} frames{from}: the kernel sent {}, warren {}\n",
            frames.len(),
            expected.frames.len(),
            actual.frames.len()
        );
        for (kind, count) in &masked {
            writeln!(text, "left out: {count} {kind}, sent by the kernel unasked")?;
        }
        for mask in conform::MASKS {
            writeln!(text, "not compared: {mask}")?;
        }
        for (rule, count) in &rules {
            writeln!(text, "{count:>8} {rule}")?;
        }
        write!(text, "{found}")?;
        super::print(&text)?;
    }
    let (sent, counted) = (found.frames.len(), found.counters.len());
    ensure!(found.is_empty(), "{sent} frames and {counted} counters differ");
    Ok(())
}

fn family(text: &str) -> Family {
    if text == "4" { Family::V4 } else { Family::V6 }
}
