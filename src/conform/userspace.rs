//! The same frames through warren: what `kernel` does with a kernel. Called by the cases' tests and `run`.

use super::mib::Values;
use super::trace::{Notes, Rules};
use super::{ConformError, Frame, Outcome, Result, unprompted};
use crate::drop::DropReason;
use crate::forward::decision::{Decision, Verdict};
use crate::forward::observe::{Observer, Unobserved};
use crate::scenario::Scenario;
use crate::scenario::player::{Arrival, Departure, Player, clock, limits};
use crate::state::State;
use crate::stats::Mib;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Plays frames through warren in the state of `scenario`, whose file is `path`; with `full_only` nothing is left to
/// the fast path. Returns what it sent and counted, and how many packets it dropped for each reason.
///
/// # Errors
/// What the scenario gets wrong, or a link that it lacks.
pub fn play(
    scenario: &Scenario,
    path: &Path,
    frames: &[Frame],
    full_only: bool,
) -> Result<(Outcome, Values)> {
    play_with(scenario, path, frames, full_only, &mut Unobserved)
}

/// Plays frames through the full path alone. Returns what it sent and counted, and how often each rule was applied: drops
/// by their reason, all else by what was done.
///
/// # Errors
/// As [`play`].
pub fn rules(scenario: &Scenario, path: &Path, frames: &[Frame]) -> Result<(Outcome, Values)> {
    let mut rules = Rules::default();
    let (outcome, drops) = play_with(scenario, path, frames, true, &mut rules)?;
    rules.0.extend(drops);
    Ok((outcome, rules.0))
}

/// How each frame is decided, in words, one line a step.
///
/// # Errors
/// As [`play`].
pub fn notes(scenario: &Scenario, path: &Path, frames: &[Frame]) -> Result<Vec<String>> {
    let mut notes = Notes::default();
    play_with(scenario, path, frames, true, &mut notes)?;
    Ok(notes.0)
}

/// Whether a frame is to be sent on as soon as its next hop is known, which nobody asks for on a link without carrier.
#[derive(Default)]
struct Waits(u64);

impl Observer for Waits {
    fn decided(&mut self, decision: &Decision<'_>) {
        if let Verdict::Hold(wait, _) | Verdict::HoldFragments(wait, ..) = &decision.verdict {
            self.0 += u64::from(wait.oif.carrier);
        }
    }
}

/// The frames that make no packet wait for a next hop; if `may_wait`, no packet that the router itself makes, be it at
/// once or when it gives up on a next hop.
///
/// # Errors
/// As [`play`].
pub fn at_once(scenario: &Scenario, path: &Path, frames: &[Frame], may_wait: bool) -> Result<Vec<Frame>> {
    let (mut player, state) = player(scenario, path, frames)?;
    let mut kept = Vec::with_capacity(frames.len());
    for frame in frames {
        let before = player.held();
        let mut waits = Waits::default();
        player.play(&arrival(&state, frame)?, &mut waits, &mut |_| ());
        player.finish(&mut Unobserved, &mut |_| ());
        if player.held() == before + if may_wait { waits.0 } else { 0 } {
            kept.push(frame.clone());
        }
    }
    // What is left out no longer tells who fails, and others may choose another way.
    if kept.len() < frames.len() {
        return at_once(scenario, path, &kept, may_wait);
    }
    // Without a pause between them a gateway may still be searched that has failed above, and the way be another one.
    let mut waits = Waits::default();
    let (mut player, state) = self::player(scenario, path, &kept)?;
    for frame in &kept {
        player.play(&arrival(&state, frame)?, &mut waits, &mut |_| ());
    }
    player.finish(&mut waits, &mut |_| ());
    if may_wait && player.held() != waits.0 { at_once(scenario, path, &kept, false) } else { Ok(kept) }
}

fn player(scenario: &Scenario, path: &Path, frames: &[Frame]) -> Result<(Player, Arc<State>)> {
    let start = frames.first().map_or(0, |f| f.time);
    let loaded = scenario.load(path, 1, clock(start))?;
    let state = loaded.shared.state.load_full();
    let player = Player::new(Arc::new(Mutex::new(loaded.writer)), loaded.shared, limits());
    Ok((player.map_err(|e| ConformError::Meaning(e.to_string()))?, state))
}

fn arrival(state: &State, frame: &Frame) -> Result<Arrival> {
    let unknown = || ConformError::Meaning(format!("no link is called {:?}", frame.link));
    let link = state.ifaces.by_name(&frame.link).ok_or_else(unknown)?.index;
    Ok(Arrival { link, time: frame.time, wire_len: frame.bytes.len() as u32, bytes: frame.bytes.clone() })
}

fn play_with<O: Observer>(
    scenario: &Scenario,
    path: &Path,
    frames: &[Frame],
    full_only: bool,
    observer: &mut O,
) -> Result<(Outcome, Values)> {
    let (mut player, state) = player(scenario, path, frames)?;
    player.full_only(full_only);
    let mut outcome = Outcome::default();
    let sent = &mut outcome.frames;
    let mut take = |frame: Departure<'_>| {
        let link = state.ifaces.get(frame.link).map_or_else(String::new, |i| i.name.clone());
        sent.push(Frame { link, time: frame.time, bytes: frame.bytes.to_vec() });
    };
    for frame in frames {
        player.play(&arrival(&state, frame)?, observer, &mut take);
    }
    player.finish(observer, &mut take);
    let counts = player.counts();
    outcome.counters.netns = moved(Mib::ALL.iter().map(|&mib| (mib.name(), counts.mib(mib))));
    let on = |slot| moved(Mib::ALL.iter().map(|&mib| (mib.name(), counts.mib_on(slot, mib))));
    for iface in state.ifaces.iter() {
        outcome.counters.dev.insert(iface.name.clone(), on(iface.slot));
    }
    outcome.counters.dev.retain(|_, values| !values.is_empty());
    unprompted::remove(&mut outcome, &scenario.link);
    let drops = DropReason::ALL.iter().map(|&reason| (reason.info().name, counts.drops(reason as usize)));
    Ok((outcome, moved(drops)))
}

fn moved(values: impl Iterator<Item = (&'static str, u64)>) -> Values {
    values.filter(|(_, value)| *value != 0).map(|(name, value)| (name.to_owned(), value)).collect()
}
