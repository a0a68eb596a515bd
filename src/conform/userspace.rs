//! The same frames through warren: what `kernel` does with a kernel. Called by the cases' tests and `warren conform`.

use super::mib::Values;
use super::{ConformError, Frame, Outcome, Result, unprompted};
use crate::drop::DropReason;
use crate::forward::observe::Unobserved;
use crate::scenario::Scenario;
use crate::scenario::player::{Arrival, Departure, Player, clock, limits};
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
    let start = frames.first().map_or(0, |f| f.time);
    let loaded = scenario.load(path, 1, clock(start))?;
    let state = loaded.shared.state.load_full();
    let player = Player::new(Arc::new(Mutex::new(loaded.writer)), loaded.shared, limits());
    let mut player = player.map_err(|e| ConformError::Meaning(e.to_string()))?;
    player.full_only(full_only);
    let mut outcome = Outcome::default();
    let sent = &mut outcome.frames;
    let mut take = |frame: Departure<'_>| {
        let link = state.ifaces.get(frame.link).map_or_else(String::new, |i| i.name.clone());
        sent.push(Frame { link, time: frame.time, bytes: frame.bytes.to_vec() });
    };
    for frame in frames {
        let unknown = || ConformError::Meaning(format!("no link is called {:?}", frame.link));
        let link = state.ifaces.by_name(&frame.link).ok_or_else(unknown)?.index;
        let (bytes, wire_len) = (frame.bytes.clone(), frame.bytes.len() as u32);
        player.play(&Arrival { link, time: frame.time, wire_len, bytes }, &mut Unobserved, &mut take);
    }
    player.finish(&mut Unobserved, &mut take);
    let counts = player.counts();
    outcome.counters.netns = moved(Mib::ALL.iter().map(|&mib| (mib.name(), counts.mib(mib))));
    let on = |slot| moved(Mib::ALL.iter().map(|&mib| (mib.name(), counts.mib_on(slot, mib))));
    for iface in state.ifaces.iter() {
        outcome.counters.dev.insert(iface.name.clone(), on(iface.slot));
    }
    outcome.counters.dev.retain(|_, values| !values.is_empty());
    unprompted::remove(&mut outcome);
    let drops = DropReason::ALL.iter().map(|&reason| (reason.info().name, counts.drops(reason as usize)));
    Ok((outcome, moved(drops)))
}

fn moved(values: impl Iterator<Item = (&'static str, u64)>) -> Values {
    values.filter(|(_, value)| *value != 0).map(|(name, value)| (name.to_owned(), value)).collect()
}
