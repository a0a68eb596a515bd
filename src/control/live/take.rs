//! Taking interfaces and giving them back, and the ports to send by.
//!
//! An interface that vanishes at any step is no error: the next look finds it gone.

use super::super::netlink::LinkMsg;
use super::super::rings::Taken;
use super::{Live, LiveError, WAYS_MAX, failed};
use crate::iface::Iface;
use crate::port::Tx;
use crate::port::afpacket::{self, Queueing};
use crate::port::post::Order;
use std::collections::BTreeSet;
use std::time::Instant;

impl Live {
    /// Opens sending halves on new links for every worker, and takes back those of links that are gone.
    pub(super) fn open_ways(&mut self, links: &[LinkMsg]) -> Result<(), LiveError> {
        let now: BTreeSet<u32> =
            links.iter().filter(|l| !l.is_loopback()).map(|l| l.index).take(WAYS_MAX).collect();
        let wake = failed("wake a worker");
        for &index in now.difference(&self.ways) {
            let opened: Result<Vec<_>, _> =
                (0..self.parts.crew.len()).map(|_| afpacket::Tx::open(index, Queueing::Qdisc)).collect();
            match opened {
                Ok(halves) => {
                    let orders = halves.into_iter().map(|tx| Order::Send(index, Box::new(Tx::Packet(tx))));
                    self.parts.crew.hand_out(orders).map_err(&wake)?;
                }
                // It may be gone already; if not, what is to leave by it is counted as lost.
                Err(error) => (self.parts.say)(&error.to_string()),
            }
        }
        for &index in self.ways.difference(&now) {
            self.parts.crew.order(|| Order::Forget(index)).map_err(&wake)?;
        }
        self.ways = now;
        Ok(())
    }

    /// Takes one interface. If others are forwarding already, it follows at once.
    pub(super) fn take(&mut self, index: u32, name: &str) -> Result<(), LiveError> {
        let taken = match Taken::open(index, name, &self.parts.crew) {
            Ok(taken) => taken,
            Err(error) => {
                (self.parts.say)(&error.to_string());
                return Ok(());
            }
        };
        if let Err(error) = self.grip.attach(index) {
            (self.parts.say)(&format!("{name}: {error}"));
            self.taken.insert(index, taken);
            return self.give_back(index);
        }
        let follows = self.grip.holds();
        if follows {
            taken.open_gates()?;
        }
        self.taken.insert(index, taken);
        if follows {
            self.say_forwarding();
        }
        Ok(())
    }

    /// Asks an interface's rings back; the kernel gets it when they are empty.
    pub(super) fn give_back(&mut self, index: u32) -> Result<(), LiveError> {
        if let Some(taken) = self.taken.get_mut(&index) {
            taken.leave(index, &self.parts.crew).map_err(failed("wake a worker"))?;
        }
        Ok(())
    }

    /// Begins to forward: everything is prepared, so the moment between guard and gates is short.
    pub(super) fn hold(&mut self) -> Result<(), LiveError> {
        let ready = !self.taken.is_empty() && self.taken.values().all(|t| !t.leaving());
        if self.grip.holds() || !ready || !self.parts.crew.grace().map_err(failed("wake a worker"))? {
            return Ok(());
        }
        self.grip.renew()?;
        self.renewed = Instant::now();
        self.taken.values().try_for_each(Taken::open_gates)?;
        self.parts.crew.roll_call().map_err(failed("wake a worker"))?;
        self.say_forwarding();
        Ok(())
    }

    fn say_forwarding(&self) {
        let names: Vec<&str> = self.taken.values().map(|t| t.name.as_str()).collect();
        (self.parts.forwarding)(&names);
    }

    /// Writes down in the published state which interfaces are taken.
    pub(super) fn mark_taken(&mut self) -> Result<(), LiveError> {
        let writer = self.parts.mirror.writer();
        let wrong = |i: &&Iface| i.taken != self.taken.contains_key(&i.index);
        let wrong: Vec<u32> = writer.draft().ifaces.iter().filter(wrong).map(|i| i.index).collect();
        for &index in &wrong {
            writer.update_iface(index, |i| i.taken = !i.taken);
        }
        if wrong.is_empty() { Ok(()) } else { self.publish() }
    }
}
