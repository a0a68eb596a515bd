//! Numbers for what readers name by one: which are free, which wait until no reader can hold them.
//!
//! Invariant: a number that is given up is not taken again before every reader has passed. Called by `direct` and `forest`.

use std::collections::VecDeque;
use std::ops::Range;

use crate::publish::Limbo;

/// The writer's account.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// Those never taken.
    fresh: Range<u16>,
    free: Vec<u16>,
    /// Given up in an epoch, the oldest first.
    waiting: VecDeque<(u64, u16)>,
    used: usize,
}

impl Numbers {
    /// All of a range, free.
    pub(crate) fn new(all: Range<u16>) -> Numbers {
        Numbers { fresh: all, free: Vec::new(), waiting: VecDeque::new(), used: 0 }
    }

    /// How many are in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// One that is free; `None` if all are in use.
    pub(crate) fn take(&mut self, limbo: &Limbo) -> Option<u16> {
        while let Some(&(epoch, number)) = self.waiting.front() {
            if !limbo.passed(epoch) {
                break;
            }
            self.waiting.pop_front();
            self.free.push(number);
        }
        let number = self.free.pop().or_else(|| self.fresh.next())?;
        self.used += 1;
        Some(number)
    }

    /// Nothing that is published names this number any more.
    pub(crate) fn give_up(&mut self, number: u16, limbo: &Limbo) {
        self.used -= 1;
        self.waiting.push_back((limbo.epoch(), number));
    }

    /// Leaves none that was never taken; what was left comes back.
    #[cfg(test)]
    pub(crate) fn exhaust(&mut self) -> Range<u16> {
        std::mem::replace(&mut self.fresh, 0..0)
    }

    /// Undoes [`Numbers::exhaust`].
    #[cfg(test)]
    pub(crate) fn restore(&mut self, fresh: Range<u16>) {
        self.fresh = fresh;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Domain;

    #[test]
    fn a_number_waits_until_readers_have_passed() {
        let (domain, mut limbo) = Domain::new(1);
        let mut line = domain.register().unwrap();
        let mut numbers = Numbers::new(1..3);
        assert_eq!(
            (numbers.take(&limbo), numbers.take(&limbo), numbers.take(&limbo)),
            (Some(1), Some(2), None)
        );
        {
            let _guard = line.pin();
            numbers.give_up(1, &limbo);
            limbo.advance();
            limbo.reclaim();
            assert_eq!((numbers.take(&limbo), numbers.used()), (None, 1), "the reader may still hold it");
        }
        line.pin();
        limbo.advance();
        limbo.reclaim();
        assert_eq!((numbers.take(&limbo), numbers.used()), (Some(1), 2));
    }
}
