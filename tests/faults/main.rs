//! Seeded faults: is conform able to see a rule broken? Each fault of the lists beside this file changes one place of
//! the path, as a careless hand would; a run of conform must then differ.
//!
//! Every test run checks that each fault still finds its place, once. To build and try them takes about 15 s for each fault
//! that is found, half a minute for one that survives, so that waits for `WARREN_FAULTS=ip6` (or `ip4`);
//! `WARREN_FAULTS_ONLY=R5,L2` tries those of some rules, `WARREN_FAULTS_FROM=47` begins with the forty-seventh,
//! `WARREN_FAULTS_SEED=2` draws other frames than those with which 95 of 100 are to be found.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

#[path = "../page/mod.rs"]
mod page;

use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Frames that a fault has to be found with.
const FRAMES: usize = 20_000;
/// At least so many of a hundred faults must be found, of rules that drawn frames meet often.
const FOUND_MIN: usize = 95;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    place: Vec<Place>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    file: String,
    faults: Vec<Fault>,
}

/// One fault: the text `old`, which occurs once in the file, becomes `new`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    /// The rule that it breaks, as the family's table in `docs/` names it.
    rule: String,
    old: String,
    new: String,
    /// Why conform cannot see it.
    #[serde(default)]
    survives: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The faults of a family, each with its file.
fn faults(family: &str) -> Vec<(String, Fault)> {
    let path = root().join("tests/faults").join(family).with_extension("toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let list: List = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    list.place.into_iter().flat_map(|p| p.faults.into_iter().map(move |f| (p.file.clone(), f))).collect()
}

impl Fault {
    /// The file's text with the fault in it.
    fn apply(&self, text: &str) -> Result<String, String> {
        match text.matches(&self.old).count() {
            1 if self.old != self.new => Ok(text.replacen(&self.old, &self.new, 1)),
            1 => Err("changes nothing".to_owned()),
            n => Err(format!("occurs {n} times: {:?}", self.old)),
        }
    }
}

#[test]
fn every_fault_finds_its_place() {
    let mut wrong = Vec::new();
    for family in ["ip4", "ip6"] {
        let faults = faults(family);
        assert!(faults.len() >= 100, "{family}: {} faults", faults.len());
        for (file, fault) in &faults {
            let text = fs::read_to_string(root().join(file)).unwrap_or_default();
            wrong.extend(fault.apply(&text).err().map(|why| format!("{} in {file} {why}", fault.rule)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A copy of the source, to be broken, with a build directory of its own.
struct Copy(PathBuf);

impl Copy {
    fn make(family: &str) -> Copy {
        let place = root().join("target/faults").join(family);
        for name in ["src", "fib", "bench", "docs", "Cargo.toml", "Cargo.lock"] {
            let (from, to) = (root().join(name), place.join(name));
            let _ = fs::remove_dir_all(&to);
            fs::create_dir_all(&place).unwrap();
            // With times of their own, or what was built of the last fault would pass for new.
            assert!(Command::new("cp").arg("-R").args([from, to]).status().unwrap().success());
        }
        Copy(place)
    }

    fn build(&self) -> Result<(), String> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "--bin", "warren"]).current_dir(&self.0);
        // Nobody looks into it with a debugger, and half of the time would go there.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
        let output = cargo.env("CARGO_TARGET_DIR", self.0.join("target")).output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Whether conform sees a difference, and how it ends.
    fn differs(&self, family: &str) -> (bool, String) {
        let frames = FRAMES.to_string();
        let family = family.trim_start_matches("ip");
        let mut conform = Command::new(self.0.join("target/debug/warren"));
        let seed = std::env::var("WARREN_FAULTS_SEED").unwrap_or_else(|_| "1".to_owned());
        conform.args(["conform", "--family", family, "--generate", &frames, "--seed", &seed, "--as-drawn"]);
        let output = conform.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // A panic is a fault found as well; anything else that ends a run early is not.
        (said.contains("differences in ") || said.contains("panicked"), said)
    }

    /// As [`Copy::differs`], with a fault; or why it does not build.
    fn try_one(&self, file: &str, fault: &Fault, family: &str) -> Result<(bool, String), String> {
        let path = self.0.join(file);
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, fault.apply(&whole).unwrap()).unwrap();
        let tried = self.build().map(|()| self.differs(family));
        fs::write(&path, whole).unwrap();
        tried
    }
}

/// What became of the faults that were tried.
#[derive(Default)]
struct Tried {
    found: usize,
    /// Of these rules of the page, which drawn frames seldom meet, none need be found.
    rare: BTreeSet<String>,
    /// Faults of other rules, and those of them that were found.
    often: usize,
    often_found: usize,
    unexplained: Vec<String>,
    stale: Vec<String>,
    broken: Vec<String>,
}

impl Tried {
    /// Notes one; the word for it.
    fn note(&mut self, fault: &Fault, name: String, differs: Option<bool>) -> &'static str {
        let often = !self.rare.contains(&fault.rule);
        self.often += usize::from(often);
        match (differs, fault.survives.is_empty()) {
            (None, _) => self.broken.push(name),
            (Some(false), true) => self.unexplained.push(name),
            (Some(true), false) => self.stale.push(name),
            _ => {}
        }
        if differs == Some(true) {
            self.found += 1;
            self.often_found += usize::from(often);
        }
        match differs {
            None => "DOES NOT BUILD",
            Some(true) => "found",
            Some(false) => "SURVIVES",
        }
    }
}

#[test]
fn conform_finds_them() {
    let Ok(family) = std::env::var("WARREN_FAULTS") else {
        println!("left out, takes hours: set WARREN_FAULTS=ip6 or ip4");
        return;
    };
    let only = std::env::var("WARREN_FAULTS_ONLY").unwrap_or_default();
    let from: usize = std::env::var("WARREN_FAULTS_FROM").map_or(1, |from| from.parse().unwrap());
    let copy = Copy::make(&family);
    copy.build().unwrap();
    let (differs, said) = copy.differs(&family);
    assert!(!differs && said.is_empty(), "it differs without any fault: {said}");
    let faults = faults(&family);
    let chosen = faults
        .iter()
        .skip(from.saturating_sub(1))
        .filter(|(_, f)| only.is_empty() || only.split(',').any(|rule| f.rule == rule));
    let chosen: Vec<_> = chosen.collect();
    let rows = page::read(&family.replace("ip", "ipv"));
    let rare = rows.into_iter().filter(|row| row.rare).map(|row| row.id).collect();
    let mut tried = Tried { rare, ..Tried::default() };
    for (number, (file, fault)) in chosen.iter().enumerate() {
        let start = Instant::now();
        let (differs, said) = match copy.try_one(file, fault, &family) {
            Ok((differs, said)) => (Some(differs), said),
            Err(why) => (None, why),
        };
        let name = format!("{} {:?} -> {:?}", fault.rule, fault.old, fault.new);
        let verdict = tried.note(fault, name.clone(), differs);
        println!("{}/{} {verdict} in {:.0?}: {name} {said}", number + 1, chosen.len(), start.elapsed());
    }
    let Tried { found, often, often_found, unexplained, stale, broken, .. } = tried;
    println!("{found} of {} found; of rules met often {often_found} of {often}", chosen.len());
    assert!(broken.is_empty(), "do not build: {broken:#?}");
    assert!(unexplained.is_empty(), "survive without a reason: {unexplained:#?}");
    assert!(stale.is_empty(), "are found after all: {stale:#?}");
    assert!(!only.is_empty() || often_found * 100 >= often * FOUND_MIN, "{often_found} of {often}");
}
