//! What replay, explain and route get share: a scenario, and the frames of a capture at its links.

use crate::scenario::frames::Frames;
use crate::scenario::player::{self, Arrival, Player};
use crate::scenario::{Loaded, Scenario};
use crate::state::{Shared, Writer};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Arguments that name a capture and a scenario.
#[derive(clap::Args)]
pub struct Input {
    /// The capture to play: pcap or pcapng
    #[arg(value_name = "IN")]
    pub capture: PathBuf,
    /// The box that forwards, as a scenario file
    #[arg(short, long, value_name = "FILE")]
    pub scenario: PathBuf,
    /// The link by which frames enter that do not say it themselves [default: the first of the scenario]
    #[arg(long = "in", value_name = "IF")]
    pub link: Option<String>,
}

/// A box that forwards, made of a scenario.
pub struct Router {
    /// To change it.
    pub writer: Arc<Mutex<Writer>>,
    /// What is read.
    pub shared: Arc<Shared>,
}

impl Router {
    /// Loads the scenario for so many players. `start` is the time of the first frame.
    pub fn load(path: &Path, scenario: &Scenario, players: usize, start: u64) -> anyhow::Result<Router> {
        let Loaded { writer, shared } = scenario.load(path, players, player::clock(start))?;
        Ok(Router { writer: Arc::new(Mutex::new(writer)), shared })
    }

    /// A player of its own limits.
    pub fn player(&self) -> anyhow::Result<Player> {
        self.player_with(player::limits())
    }

    /// A player that shares limits with others.
    pub fn player_with(&self, limits: Arc<crate::forward::l3::limit::Limits>) -> anyhow::Result<Player> {
        Ok(Player::new(Arc::clone(&self.writer), Arc::clone(&self.shared), limits)?)
    }
}

impl Input {
    /// Reads both files. Arrivals bear their number in the capture.
    pub fn open(&self, players: usize) -> anyhow::Result<(Router, Vec<(usize, Arrival)>)> {
        let frames = Frames::read(&self.capture)?;
        let scenario = Scenario::read(&self.scenario)?;
        let made = Router::load(&self.scenario, &scenario, players, frames.start())?;
        let first = scenario.link.first().map(|l| l.name.clone());
        let nowhere = || format!("{}: no [[link]]: frames have no way in", self.scenario.display());
        let link = self.link.clone().or(first).with_context(nowhere)?;
        let state = made.shared.state.load();
        let arrivals = frames.arrivals(&state.ifaces, &link, self.link.is_some())?;
        drop(state);
        Ok((made, arrivals))
    }
}
