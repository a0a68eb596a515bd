//! Taking interfaces and giving them back, and the ports to send by.
//!
//! An interface that vanishes at any step is no error: the next look finds it gone.

use super::super::choose::Choice;
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

    /// Takes the chosen interfaces that are not taken yet. If others are forwarding already, they follow at once.
    pub(super) fn take_all(&mut self, choice: &Choice) -> Result<(), LiveError> {
        self.troubles.retain(|index, _| choice.take.contains_key(index));
        for (&index, name) in &choice.take {
            if self.taken.contains_key(&index) {
                continue;
            }
            match Taken::open(index, name, &self.parts.crew) {
                Ok(taken) => drop(self.taken.insert(index, taken)),
                Err(error) => drop(self.troubles.insert(index, error.to_string())),
            }
            if self.grip.holds() && self.guard(index)? {
                self.taken.get(&index).map_or(Ok(()), Taken::open_gates)?;
                self.say_forwarding();
            }
        }
        Ok(())
    }

    /// Puts the guard on a taken interface; false if that fails, and then the interface is given back.
    fn guard(&mut self, index: u32) -> Result<bool, LiveError> {
        let Some(taken) = self.taken.get(&index) else { return Ok(false) };
        match self.grip.attach(index) {
            Ok(()) => {
                self.troubles.remove(&index);
                Ok(true)
            }
            Err(error) => {
                self.troubles.insert(index, format!("{}: {error}", taken.name));
                self.give_back(index)?;
                Ok(false)
            }
        }
    }

    /// Asks an interface's rings back; the kernel gets it when they are empty.
    pub(super) fn give_back(&mut self, index: u32) -> Result<(), LiveError> {
        if let Some(taken) = self.taken.get_mut(&index) {
            taken.leave(index, &self.parts.crew).map_err(failed("wake a worker"))?;
        }
        Ok(())
    }

    /// Begins to forward: everything is prepared, so the moment between guard and gates is short.
    ///
    /// The guard comes onto the interfaces last. It does nothing before its first renewal, and of a process that is killed the
    /// kernel closes the newest descriptors first: the guard is gone before the sockets, each of which takes milliseconds.
    pub(super) fn hold(&mut self) -> Result<(), LiveError> {
        let waiting = |live: &Self| live.taken.is_empty() || live.taken.values().any(Taken::leaving);
        if self.grip.holds() || waiting(self) {
            return Ok(());
        }
        for index in self.taken.keys().copied().collect::<Vec<_>>() {
            self.guard(index)?;
        }
        if waiting(self) || !self.parts.crew.grace().map_err(failed("wake a worker"))? {
            return Ok(());
        }
        self.grip.renew()?;
        self.renewed = Instant::now();
        self.taken.values().try_for_each(Taken::open_gates)?;
        self.parts.crew.roll_call().map_err(failed("wake a worker"))?;
        self.say_forwarding();
        Ok(())
    }

    pub(super) fn say_forwarding(&self) {
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
