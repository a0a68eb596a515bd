//! `warren conform`: the same frames through this machine's kernel and through warren, everything compared.

use crate::cli::Usage;
use crate::cli::offline::{Input, Router};
use crate::conform::run::{Differing, Found, Plan};
use crate::conform::{
    Boxes, Case, ConformError, Differences, Frame, Hidden, MASKS, NAMES, foretell, harm, hex,
};
use crate::scenario::Scenario;
use crate::scenario::player::Arrival;
use crate::sys::{netns, userns};
use crate::wire::eth::EthHdr;
use anyhow::{Context, anyhow, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

const EXAMPLES: &str = "\
Examples:
  warren conform --generate 20000                            both families in turns, drawn with seed 1
  warren conform --family 6 --generate 1000000 --seed 7 --keep-going --save found
                                                             a long run; what differs becomes cases in found/
  warren conform --family 6 --seed 7 --box 812               one box of that run once more
  warren conform --pcap in.pcapng -s router.toml             frames of yours through a router of yours
  warren conform --pcap in.pcap -s router.toml --in eth1     classic pcap does not say by which link frames come in
  warren conform --self                                      is this machine quiet enough to compare on?

Without root it runs in a user namespace, where the machine allows those.";

/// Bytes of a frame that a veth link carries: a header, and what fits its largest MTU.
const LENGTHS: RangeInclusive<usize> = EthHdr::LEN..=EthHdr::LEN + 65_535;
/// How many frames a run draws.
const FRAMES: usize = 1000;

/// Put the same frames through this kernel and through warren, and compare every byte and counter
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Frames to play, at the times that the capture says: one of an hour takes an hour
    #[arg(long, value_name = "FILE", requires = "scenario", conflicts_with_all = ["generate", "seed", "family", "box"])]
    pcap: Option<PathBuf>,
    /// The link by which frames enter that do not say it themselves [default: the first of the scenario]
    #[arg(long = "in", value_name = "IF", requires = "pcap", conflicts_with = "generate")]
    link: Option<String>,
    /// How many frames to draw by lot [default: 1000; with --box those of one box]
    #[arg(long, value_name = "N")]
    generate: Option<usize>,
    /// What routers and frames are drawn with; the same seed draws the same ones
    #[arg(long, value_name = "K", default_value_t = 1)]
    seed: u64,
    /// Routers and frames of one family only, or all of both; else they take turns
    #[arg(long, value_parser = ["4", "6", "both"])]
    family: Option<String>,
    /// The box to play, of those that follow from the seed; with --generate the one to begin with
    #[arg(long, value_name = "N")]
    r#box: Option<u64>,
    /// One router for all frames [default: a new one for each few hundred]
    #[arg(short, long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Go on after a box that differs
    #[arg(long)]
    keep_going: bool,
    /// Write each box that differs, shrunk, to a folder of its own in DIR
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Show a box that differs as it was drawn, without the search for the least one
    #[arg(long)]
    as_drawn: bool,
    /// Compare the kernel with itself: whether this machine is quiet enough
    #[arg(long = "self")]
    itself: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Draws, plays and compares; differences are printed, and a failure.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.generate != Some(0), Usage("--generate 0 compares nothing".to_owned()));
    let mut scenario = args.scenario.as_deref().map(scenario).transpose()?;
    let set = scenario.as_mut().map_or_else(Vec::new, |(_, scenario)| foretell(scenario));
    let given = match (&args.pcap, &scenario) {
        (Some(capture), Some((path, scenario))) => Some(frames(args, capture, path, scenario)?),
        _ => None,
    };
    if !rustix::process::geteuid().is_root() {
        userns::enter()?; // before there are threads
    }
    netns::sweep(NAMES); // what a run left behind that was killed
    // The first signal ends the run; the namespaces go away with the box at hand.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let one_box = args.r#box.is_some() && args.generate.is_none();
    let wanted = args.generate.unwrap_or(if one_box { usize::MAX } else { FRAMES });
    let plan = Plan {
        seed: args.seed,
        frames: given.as_ref().map_or(wanted, Vec::len),
        first: args.r#box.unwrap_or(0),
        boxes_max: if one_box { 1 } else { u64::MAX },
        boxes: boxes(args.family.as_deref()),
        scenario,
        given,
        keep_going: args.keep_going,
        as_drawn: args.as_drawn,
        itself: args.itself,
        stop: &stop,
    };
    ensure!(
        plan.frames > 0,
        "{}: holds no frames",
        args.pcap.as_deref().unwrap_or(Path::new("--pcap")).display()
    );
    if let Some(folder) = &args.save {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let (bar, start) = (progress(plan.frames), Instant::now());
    let (mut found, mut saved) = (Found::default(), 0);
    let ended = plan.play(&mut found, |found| {
        bar.set_position(found.frames as u64);
        if let Some(folder) = &args.save {
            found.differing.iter().skip(saved).try_for_each(|one| save(one, args.seed, folder))?;
        }
        saved = found.differing.len();
        Ok(())
    });
    bar.finish_and_clear();
    if found.frames > 0 && !set.is_empty() {
        super::complain(&format!("set on both sides, as the file leaves it to chance: {}", set.join(" ")));
    }
    // What was found counts, whatever ended the run.
    if ended.is_ok() || found.boxes > 0 {
        report(args, &found, start.elapsed().as_secs_f64())?;
    }
    ended.map_err(|why| named(args, why))?;
    let (differ, boxes) = (found.differing.len(), counted(found.boxes as usize, "box"));
    ensure!(differ == 0, "differences in {differ} of {boxes}");
    let done = if one_box { found.frames > 0 } else { found.frames >= plan.frames };
    let why = match found.refused.last() {
        _ if stop.load(Ordering::Relaxed) => "a signal came",
        Some(why) if one_box => why,
        _ => "no frame can be sent to such a router",
    };
    let of = if one_box { String::new() } else { format!(" of {}", plan.frames) };
    ensure!(done, "stopped after {}{of} frames: {why}", found.frames);
    Ok(())
}

/// What the kernel cannot be given of a scenario, with the file's name.
fn named(args: &Args, why: ConformError) -> anyhow::Error {
    match (&args.scenario, &why) {
        (Some(path), ConformError::Meaning(what)) => anyhow!("{}: {what}", path.display()),
        _ => why.into(),
    }
}

/// A router of the user's. warren has to take it, or there is nothing to compare.
fn scenario(path: &Path) -> anyhow::Result<(PathBuf, Scenario)> {
    let scenario = Scenario::read(path)?;
    Router::load(path, &scenario, 1, 0)?;
    Ok((path.to_owned(), scenario))
}

/// Frames of the user's, at the links by which replay has them come in.
fn frames(args: &Args, capture: &Path, path: &Path, scenario: &Scenario) -> anyhow::Result<Vec<Frame>> {
    let input = Input { capture: capture.into(), scenario: path.into(), link: args.link.clone() };
    let (router, arrivals) = input.open(1)?;
    let state = router.shared.state.load();
    let frame = |(number, arrival): (usize, Arrival)| {
        let len = arrival.bytes.len();
        let link = state.ifaces.get(arrival.link).map_or_else(String::new, |iface| iface.name.clone());
        let frame = Frame { link, time: arrival.time, bytes: arrival.bytes };
        let odd = || Some(format!("no link carries {len} bytes: leave it out"));
        let refused = if LENGTHS.contains(&len) { harm(scenario, &frame) } else { odd() };
        refused.map_or(Ok(frame), |why| Err(anyhow!("{}: packet {number}: {why}", capture.display())))
    };
    arrivals.into_iter().map(frame).collect()
}

fn report(args: &Args, found: &Found, seconds: f64) -> anyhow::Result<()> {
    let seed = args.pcap.is_none().then_some(args.seed);
    if args.json {
        let differences = found.differing.iter();
        let differences = differences.map(|one| object(one.number, seed, &one.differences, one));
        let once = found.once.iter().map(|(number, d)| object(*number, seed, d, d));
        return super::print_json(&json!({
            "frames": found.frames,
            "not_played": {"waits for a next hop": found.waiting},
            "compared": found.compared,
            "differences": differences.collect::<Vec<_>>(),
            "masked": found.masked.0.iter().map(|(name, hidden)| (*name, hidden.frames)).collect::<BTreeMap<_, _>>(),
            "bytes": found.bytes,
            "masked_bytes": found.masked.0.iter().map(|(name, hidden)| (*name, hidden.bytes)).collect::<BTreeMap<_, _>>(),
            "rules_hit": found.rules,
            "differed_once": once.collect::<Vec<_>>(),
            "seed": seed,
            "boxes": found.boxes,
            "refused": found.refused,
            "seconds": seconds,
        }));
    }
    let who = if args.itself { "the kernel" } else { "warren" };
    let verdict = match found.differing.len() {
        0 => format!("the same bytes and counters from the kernel and from {who}"),
        n => format!("not the same from the kernel and from {who} in {}", counted(n, "box")),
    };
    let from = seed.map_or_else(String::new, |seed| format!(" drawn with seed {seed}"));
    let mut text = format!(
        "{}{from} through {} in {seconds:.1} s: {} came out, {verdict}\n",
        counted(found.frames, "frame"),
        counted(found.boxes as usize, "box"),
        found.compared
    );
    for why in &found.refused {
        writeln!(text, "refused by the kernel: {why}")?;
    }
    if found.waiting > 0 {
        let n = counted(found.waiting, "frame");
        writeln!(
            text,
            "not played: {n} drawn for which warren would wait for a next hop: slow boxes have such"
        )?;
    }
    for (name, Hidden { frames, bytes }) in &found.masked.0 {
        let why = MASKS.iter().find(|(mask, _)| mask == name).map_or("", |(_, why)| why);
        let share = 100.0 * *bytes as f64 / found.bytes.max(1) as f64;
        writeln!(text, "masked: {share:.3} % of all bytes, in {}: {name} {why}", counted(*frames, "frame"))?;
    }
    for (number, differences) in &found.once {
        write!(text, "box {number} differed once, and agreed when it was played again:\n{differences}")?;
    }
    for (rule, count) in &found.rules {
        writeln!(text, "{count:>8} {rule}")?;
    }
    for differing in &found.differing {
        write!(text, "{differing}")?;
    }
    super::print(&text)
}

/// What differs in a box. Frames are shown as on the wire, in hexadecimal digits.
fn object(number: u64, seed: Option<u64>, differences: &Differences, text: &dyn Display) -> Value {
    let shown = |frame: &Option<Vec<u8>>| frame.as_ref().map(|bytes| hex(bytes));
    let frames = differences.frames.iter().map(|sent| {
        let (kernel, warren) = (shown(&sent.expected), shown(&sent.actual));
        json!({"link": sent.link, "number": sent.number, "kernel": kernel, "warren": warren})
    });
    let counters = differences
        .counters
        .iter()
        .map(|c| json!({"place": c.place, "name": c.name, "kernel": c.expected, "warren": c.actual}));
    json!({
        "box": number,
        "seed": seed,
        "frames": frames.collect::<Vec<_>>(),
        "counters": counters.collect::<Vec<_>>(),
        "refused": differences.refused,
        "text": text.to_string(),
    })
}

/// Writes a box that differs as a case: a scenario and the frames that go in.
fn save(one: &Differing, seed: u64, folder: &Path) -> Result<(), ConformError> {
    let folder = folder.join(format!("seed-{seed}-box-{}", one.number));
    Case { folder, scenario: one.scenario.clone(), frames: one.frames.clone() }.write()
}

fn boxes(family: Option<&str>) -> Boxes {
    match family {
        None => Boxes::Turns,
        Some("4") => Boxes::V4,
        Some("6") => Boxes::V6,
        Some(_) => Boxes::Mixed,
    }
}

/// `1 frame`, `2 frames`.
fn counted(n: usize, what: &str) -> String {
    let plural = match what {
        _ if n == 1 => "",
        "box" => "es",
        _ => "s",
    };
    format!("{n} {what}{plural}")
}

/// A bar for long work, drawn on terminals only. How many frames one box has is known when it is drawn.
fn progress(frames: usize) -> ProgressBar {
    if frames == usize::MAX {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} frames, {eta} left");
    ProgressBar::new(frames as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
