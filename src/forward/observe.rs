//! What the full path tells an observer: nothing by default, each step for `explain`.

use super::decision::Decision;
use crate::drop::DropReason;
use std::fmt;

/// A step that is not a check: where the packet's way is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Step<'s> {
    /// What is done, in the field's words.
    pub what: &'static str,
    /// What came of it.
    pub found: fmt::Arguments<'s>,
    /// RFC and section, empty where only the kernel decides.
    pub rfc: &'static str,
    /// The kernel function.
    pub function: &'static str,
}

/// Watches one packet go through the full path. All methods do nothing unless overridden, and cost nothing then.
pub trait Observer {
    /// A frame comes to its turn: its place in the batch. Called for those of the fast path, too.
    fn frame(&mut self, _index: u16) {}
    /// A check was made; `ok` says whether the packet passed.
    fn check(&mut self, _reason: DropReason, _ok: bool) {}
    /// A step was taken.
    fn step(&mut self, _step: Step<'_>) {}
    /// A rule was applied that drops nothing; its name says which.
    fn rule(&mut self, _name: &'static str) {}
    /// The decision, before it is carried out.
    fn decided(&mut self, _decision: &Decision<'_>) {}
    /// Something about an ICMP message to be sent, or why none is.
    fn reply(&mut self, _what: fmt::Arguments<'_>) {}
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

impl<O: Observer> Observer for &mut O {
    fn frame(&mut self, index: u16) {
        (**self).frame(index);
    }
    fn check(&mut self, reason: DropReason, ok: bool) {
        (**self).check(reason, ok);
    }
    fn step(&mut self, step: Step<'_>) {
        (**self).step(step);
    }
    fn rule(&mut self, name: &'static str) {
        (**self).rule(name);
    }
    fn decided(&mut self, decision: &Decision<'_>) {
        (**self).decided(decision);
    }
    fn reply(&mut self, what: fmt::Arguments<'_>) {
        (**self).reply(what);
    }
}
