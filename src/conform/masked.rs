//! How much a comparison leaves out, by the name of the reason. Called by all that take something out of it.

use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::AddAssign;

/// Counters that warren does not have.
pub const REASSEMBLY: &str = "counters of reassembly";
pub const SOCKETS: &str = "counters of sockets";
pub const UNNAMED: &str = "counters of unnamed ICMP types";

/// What one mask hides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hidden {
    /// Frames that it touches.
    pub frames: usize,
    /// Bytes of those that are not compared; none if only their order is not.
    pub bytes: usize,
}

impl AddAssign for Hidden {
    fn add_assign(&mut self, more: Hidden) {
        self.frames += more.frames;
        self.bytes += more.bytes;
    }
}

/// What all masks hide, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masked(pub BTreeMap<&'static str, Hidden>);

impl Masked {
    /// Adds frames with so many hidden bytes in all.
    pub fn add(&mut self, name: &'static str, frames: usize, bytes: usize) {
        *self.0.entry(name).or_default() += Hidden { frames, bytes };
    }

    /// Adds all that others hide.
    pub fn merge(&mut self, others: &Masked) {
        others.0.iter().for_each(|(name, hidden)| self.add(name, hidden.frames, hidden.bytes));
    }
}
