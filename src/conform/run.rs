//! A run: box after box is drawn, played by a kernel and by warren, and compared; one that differs is shrunk.
//!
//! Invariant: a box of a run can be played again from the seed and its number. Called by `warren conform`.

use super::compare::{self, compare};
use super::draw::{self, Boxes, Drawn};
use super::masked::{ONCE, ORDER};
use super::mib::Values;
use super::shrink::shrink;
use super::{ConformError, Differences, Frame, KernelBox, Masked, NAMES, Outcome, Result, harm, userspace};
use crate::scenario::Scenario;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A kernel that refuses so many boxes is not one that they were drawn for.
const REFUSED_MAX: usize = 1000;

/// Boxes without frames in a row, at which a run ends.
const EMPTY_MAX: usize = 20;

/// What a run is to play.
#[derive(Debug)]
pub struct Plan<'p> {
    /// What all is drawn with.
    pub seed: u64,
    /// How many frames at most.
    pub frames: usize,
    /// The first box.
    pub first: u64,
    /// How many boxes at most, refused ones among them.
    pub boxes_max: u64,
    /// What boxes are of.
    pub boxes: Boxes,
    /// One router for all, with its file.
    pub scenario: Option<(PathBuf, Scenario)>,
    /// Frames that are given; nothing is drawn then.
    pub given: Option<Vec<Frame>>,
    /// Whether a run goes on after a box that differs.
    pub keep_going: bool,
    /// A box that differs is not shrunk.
    pub as_drawn: bool,
    /// The kernel stands in for warren, too.
    pub itself: bool,
    /// Set when the run is to end early.
    pub stop: &'p AtomicBool,
}

/// What a run found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Boxes played.
    pub boxes: u64,
    /// Boxes that the kernel refused, with its reasons.
    pub refused: Vec<String>,
    /// Frames that went in.
    pub frames: usize,
    /// Frames that were drawn and not played: packets would wait, by warren's own verdict.
    pub waiting: usize,
    /// Frames that came out, on the side that sent more.
    pub compared: usize,
    /// Bytes of those.
    pub bytes: usize,
    /// What was not compared, by name.
    pub masked: Masked,
    /// How often each rule was applied.
    pub rules: Values,
    /// Boxes that differ.
    pub differing: Vec<Differing>,
    /// Boxes that differed in the first run alone, with what did.
    pub once: Vec<(u64, Differences)>,
}

/// A box that differs, shrunk.
#[derive(Clone, Debug)]
pub struct Differing {
    /// Its number in the run.
    pub number: u64,
    /// How both sides differ about it.
    pub differences: Differences,
    /// What warren's path says of the frames.
    pub notes: Vec<String>,
    /// The least router that differs.
    pub scenario: Scenario,
    /// The least frames.
    pub frames: Vec<Frame>,
}

/// What came of one box.
#[derive(Debug, Default)]
struct Played {
    expected: Outcome,
    actual: Outcome,
    differences: Differences,
    masked: Masked,
    rules: Values,
}

/// What warren does, what its full path does where that is anything else, and the rules that were applied.
type Both = (Outcome, Option<Outcome>, Values);

impl Plan<'_> {
    /// Plays until as many frames as wanted went in, a box differs (unless it is to keep going), or the run is stopped.
    /// What is found stands in `found` at once, also if the run then fails; `after` is called after each box.
    ///
    /// # Errors
    /// What keeps the kernel's side from being built or played, and those of `after`.
    pub fn play(&self, found: &mut Found, mut after: impl FnMut(&Found) -> Result<()>) -> Result<()> {
        let (mut number, mut empty) = (self.first, 0);
        while found.frames < self.frames && number - self.first < self.boxes_max && !self.stopped() {
            let (drawn, waiting) = self.draw(number, self.frames - found.frames);
            number += 1;
            let played = match self.both(&drawn.scenario, &drawn.frames, drawn.slow) {
                Ok(played) => played,
                Err(ConformError::Netlink(why))
                    if self.scenario.is_none() && found.refused.len() < REFUSED_MAX =>
                {
                    found.refused.push(format!("box {}: {why}", drawn.number));
                    continue;
                }
                Err(ConformError::Stopped) => break,
                Err(other) => return Err(other),
            };
            found.add(&drawn, &played);
            found.waiting += waiting;
            if !played.differences.is_empty() {
                self.look_again(&drawn, played, found);
            }
            after(found)?;
            // A router that nothing can be sent through, as one without links, ends the run.
            empty = if drawn.frames.is_empty() { empty + 1 } else { 0 };
            if empty == EMPTY_MAX || (!found.differing.is_empty() && !self.keep_going) {
                break;
            }
        }
        Ok(())
    }

    /// What a kernel does once and not again is its own affair: a timer of its own fell into the run. All else is found,
    /// and shrunk.
    fn look_again(&self, drawn: &Drawn, played: Played, found: &mut Found) {
        let again = self.both(&drawn.scenario, &drawn.frames, drawn.slow);
        if again.is_ok_and(|again| again.differences.is_empty()) {
            found.masked.add(ONCE, drawn.frames.len(), played.differences.bytes());
            found.once.push((drawn.number, played.differences));
        } else {
            found.differing.push(self.least(drawn, &played));
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn path(&self) -> &Path {
        self.scenario.as_ref().map_or(Path::new("the drawn router"), |(path, _)| path)
    }

    /// A box, and how many frames of it are left out.
    fn draw(&self, number: u64, limit: usize) -> (Drawn, usize) {
        let given = self.scenario.as_ref().map(|(_, scenario)| scenario);
        let limit = if self.given.is_some() { 0 } else { limit };
        let mut drawn = draw::draw(self.seed, number, limit, self.boxes, given);
        if let Some(frames) = &self.given {
            (drawn.frames, drawn.slow) = (frames.clone(), false);
            return (drawn, 0);
        }
        // Packets that wait take long; they have boxes of their own. A message of the router that waits in vain
        // has the kernel complain to itself, which nobody else sees.
        let all = std::mem::take(&mut drawn.frames);
        let count = all.len();
        drawn.frames = userspace::at_once(&drawn.scenario, self.path(), &all, drawn.slow).unwrap_or(all);
        let waiting = count - drawn.frames.len();
        (drawn, waiting)
    }

    /// Plays frames on both sides.
    fn both(&self, scenario: &Scenario, frames: &[Frame], slow: bool) -> Result<Played> {
        let mut played = Played::default();
        (played.expected, played.masked) = self.kernel(scenario, frames)?;
        let other =
            if self.itself { self.kernel_again(scenario, frames) } else { self.warren(scenario, frames) };
        let mut full = match other {
            Ok((actual, full, rules)) => {
                (played.actual, played.rules) = (actual, rules);
                full
            }
            Err(ConformError::Scenario(why)) => {
                played.differences.refused = Some(why.to_string());
                return Ok(played);
            }
            Err(other) => return Err(other),
        };
        if slow {
            let moved = compare::moved(scenario, &played.expected.frames, &played.actual.frames);
            for outcome in [&mut played.expected, &mut played.actual].into_iter().chain(&mut full) {
                compare::sort(scenario, &mut outcome.frames);
            }
            played.masked.add(ORDER, moved, 0);
        }
        played.differences = compare(scenario, &played.expected, &played.actual);
        if let Some(full) = full.filter(|_| played.differences.is_empty()) {
            played.differences = compare(scenario, &played.expected, &full);
        }
        played.masked.merge(&played.differences.masked);
        Ok(played)
    }

    /// Plays frames in a kernel, unless they would harm it.
    fn kernel(&self, scenario: &Scenario, frames: &[Frame]) -> Result<(Outcome, Masked)> {
        harm::refuse(scenario, frames)?;
        // Several runs of one process may take place at a time.
        static BUILT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{NAMES}{}-{}", std::process::id(), BUILT.fetch_add(1, Ordering::Relaxed));
        KernelBox::build(&name, scenario)?.play_until(frames, self.stop)
    }

    fn kernel_again(&self, scenario: &Scenario, frames: &[Frame]) -> Result<Both> {
        Ok((self.kernel(scenario, frames)?.0, None, Values::new()))
    }

    /// warren as it runs, and the full path alone where that does anything else.
    fn warren(&self, scenario: &Scenario, frames: &[Frame]) -> Result<Both> {
        let (fast, _) = userspace::play(scenario, self.path(), frames, false)?;
        let (full, rules) = userspace::rules(scenario, self.path(), frames)?;
        let full = (full != fast).then_some(full);
        Ok((fast, full, rules))
    }

    /// The least frames and the least router of a box that differ.
    fn least(&self, drawn: &Drawn, played: &Played) -> Differing {
        let mut differs = |scenario: &Scenario, frames: &[Frame]| {
            // Where packets are made to wait, it is another question.
            let kept = || userspace::at_once(scenario, self.path(), frames, drawn.slow);
            let waits = || kept().is_ok_and(|kept| kept.len() < frames.len());
            let again = || self.both(scenario, frames, drawn.slow);
            !self.stopped()
                && !waits()
                && again().is_ok_and(|now| now.differences.is_part_of(&played.differences))
        };
        let suspects = suspects(drawn, played);
        let (scenario, frames) = if self.as_drawn {
            (drawn.scenario.clone(), drawn.frames.clone())
        } else {
            shrink(&drawn.scenario, &drawn.frames, &suspects, &mut differs)
        };
        let again = self.both(&scenario, &frames, drawn.slow).map(|played| played.differences);
        // A difference that does not come again is shown as it was.
        let differences = again.ok().filter(|again| !again.is_empty());
        let differences = differences.unwrap_or_else(|| played.differences.clone());
        let notes = userspace::notes(&scenario, self.path(), &frames).unwrap_or_default();
        Differing { number: drawn.number, differences, notes, scenario, frames }
    }
}

/// The frames that went in when the first difference came out.
fn suspects(drawn: &Drawn, played: &Played) -> Vec<Frame> {
    let mut left = played.expected.frames.iter();
    let mut right = played.actual.frames.iter();
    let mut times = Vec::new();
    loop {
        match (left.next(), right.next()) {
            (Some(a), Some(b)) if a.link == b.link && a.bytes == b.bytes => {}
            (None, None) => break,
            (a, b) => {
                times.extend(a.into_iter().chain(b).map(|f| f.time));
                if times.len() > 8 {
                    break;
                }
            }
        }
    }
    times.sort_unstable();
    times.dedup();
    drawn.frames.iter().filter(|f| times.contains(&f.time)).take(4).cloned().collect()
}

impl Found {
    fn add(&mut self, drawn: &Drawn, played: &Played) {
        self.boxes += 1;
        self.frames += drawn.frames.len();
        self.compared += played.expected.frames.len().max(played.actual.frames.len());
        let bytes = |outcome: &Outcome| outcome.frames.iter().map(|f| f.bytes.len()).sum::<usize>();
        self.bytes += bytes(&played.expected).max(bytes(&played.actual));
        self.masked.merge(&played.masked);
        for (name, count) in &played.rules {
            *self.rules.entry(name.clone()).or_insert(0) += count;
        }
    }
}

impl fmt::Display for Differing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "box {} differs:", self.number)?;
        write!(f, "{}", self.differences)?;
        for frame in &self.frames {
            writeln!(f, "frame into {}: {}", frame.link, super::decode::frame(&frame.bytes))?;
        }
        for note in &self.notes {
            writeln!(f, "  warren: {note}")?;
        }
        let text = toml::to_string(&self.scenario).unwrap_or_default();
        writeln!(f, "in this router:\n{text}")
    }
}
