//! What the full path tells an observer: nothing by default, each step for `explain`.

use super::decision::Decision;
use crate::drop::DropReason;
use std::fmt;

/// A rule and on whose word it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// What is done, in the field's words: the name under which it is counted.
    pub name: &'static str,
    /// RFC and section, empty where only the kernel decides.
    pub rfc: &'static str,
    /// The kernel function.
    pub function: &'static str,
}

impl Rule {
    /// A rule. Each name is listed in `docs/`, which `tests/rules.rs` holds to this.
    pub const fn new(name: &'static str, rfc: &'static str, function: &'static str) -> Rule {
        Rule { name, rfc, function }
    }
}

/// A step that is not a check: where the packet's way is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Step<'s> {
    /// What is done.
    pub rule: Rule,
    /// What came of it.
    pub found: fmt::Arguments<'s>,
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
    /// A message is sent, or kept back.
    fn reply(&mut self, _step: Step<'_>) {}
    /// Whether anybody listens for rules: naming some of them takes work.
    fn wants_rules(&self) -> bool {
        false
    }
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
    fn reply(&mut self, step: Step<'_>) {
        (**self).reply(step);
    }
    fn wants_rules(&self) -> bool {
        (**self).wants_rules()
    }
}
