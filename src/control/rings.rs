//! A taken interface: its receive rings are with the workers, their gates are here.
//!
//! Called by `control::live`. Closing a packet socket takes the kernel milliseconds, so rings that come back are closed by
//! the control thread, and only when nothing urgent is left to do.

use super::crew::Crew;
use crate::port::afpacket::{self, Admit, Gate, Profile};
use crate::port::post::Order;
use crate::port::{PortError, Rx};
use std::io;

/// A taken interface.
#[derive(Debug)]
pub struct Taken {
    /// Its name.
    pub name: String,
    gates: Vec<Gate>,
    /// Rings that workers hold.
    out: usize,
    /// Asked back from the workers.
    leaving: bool,
    /// Rings that came back, closed with this value.
    back: Vec<Rx>,
}

impl Taken {
    /// Opens a ring for each worker, gates closed, and hands them out.
    pub fn open(index: u32, name: &str, crew: &Crew) -> Result<Taken, RingError> {
        let rings = afpacket::open(index, Profile::LARGE, crew.len())?;
        let gates = rings.iter().map(afpacket::Rx::gate).collect::<Result<Vec<_>, _>>()?;
        crew.hand_out(rings.into_iter().map(|rx| Order::Receive(index, Box::new(Rx::Packet(rx)))))?;
        Ok(Taken { name: name.to_owned(), out: gates.len(), gates, leaving: false, back: Vec::new() })
    }

    /// Lets frames into the rings. The guard stands already.
    pub fn open_gates(&self) -> Result<(), PortError> {
        self.gates.iter().try_for_each(|gate| gate.open(Admit::Host))
    }

    /// Lets no more frames into the rings. One that is gone lets none in by itself.
    pub fn close_gates(&self) {
        for gate in &self.gates {
            let _ = gate.close();
        }
    }

    /// Asks the rings back, to be emptied first. False if that was done before.
    pub fn leave(&mut self, index: u32, crew: &Crew) -> io::Result<bool> {
        if self.leaving {
            return Ok(false);
        }
        self.close_gates();
        self.leaving = true;
        crew.order(|| Order::Return(index))?;
        Ok(true)
    }

    /// Whether its rings were asked back.
    pub fn leaving(&self) -> bool {
        self.leaving
    }

    /// A ring came back; whether it was the last.
    pub fn returned(&mut self, rx: Rx) -> bool {
        self.back.push(rx);
        self.out = self.out.saturating_sub(1);
        self.out == 0
    }

    /// Whether all rings are back.
    pub fn is_back(&self) -> bool {
        self.out == 0
    }
}

/// An interface that could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// Its ring.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A worker could not be woken.
    #[error("cannot wake a worker: {0}")]
    Wake(#[from] io::Error),
}
