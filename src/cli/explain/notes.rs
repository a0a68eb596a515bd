//! What an observer heard of one packet: each check and step in order, the decision, the messages about it.

use crate::drop::DropReason;
use crate::forward::decision::{Decision, Egress, Verdict};
use crate::forward::observe::{Observer, Step};
use crate::wire::eth::fmt_mac;
use serde_json::{Value, json};
use std::fmt;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A fault was looked for; `ok` if it was not found.
    Check {
        /// Which fault.
        reason: DropReason,
        /// The packet passed.
        ok: bool,
    },
    /// A step that is not a check.
    Step {
        /// What was done.
        what: &'static str,
        /// What came of it.
        found: String,
        /// RFC and section, perhaps empty.
        rfc: &'static str,
        /// The kernel function.
        function: &'static str,
    },
    /// A message to the sender, or why there is none.
    Reply(String),
}

/// All that was heard.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// In order.
    pub list: Vec<Note>,
    /// The decision's stable name and its sentence; nothing for a frame that the capture cut short.
    pub decision: Option<(&'static str, String)>,
    /// The packet itself goes out, rewritten.
    pub forwarded: bool,
}

impl Observer for Notes {
    fn check(&mut self, reason: DropReason, ok: bool) {
        self.list.push(Note::Check { reason, ok });
    }

    fn step(&mut self, step: Step<'_>) {
        let Step { what, found, rfc, function } = step;
        self.list.push(Note::Step { what, found: found.to_string(), rfc, function });
    }

    fn decided(&mut self, decision: &Decision<'_>) {
        self.forwarded = matches!(decision.verdict, Verdict::Forward(..));
        self.decision = Some((super::super::replay::name(&decision.verdict), verdict(&decision.verdict)));
    }

    fn reply(&mut self, what: fmt::Arguments<'_>) {
        self.list.push(Note::Reply(what.to_string()));
    }
}

fn way(egress: &Egress<'_>) -> String {
    format!("{} ({}) on {}", egress.next, fmt_mac(egress.lladdr), egress.oif.name)
}

/// A verdict as a sentence.
fn verdict(verdict: &Verdict<'_>) -> String {
    match verdict {
        Verdict::Forward(egress, _) => format!("forward to {}", way(egress)),
        Verdict::Fragment(egress, _, mtu) => format!("cut to {mtu} bytes, forward to {}", way(egress)),
        Verdict::Hold(wait, _) | Verdict::HoldFragments(wait, ..) => {
            format!("wait for the link-layer address of {} on {}", wait.next, wait.oif.name)
        }
        Verdict::Local => "deliver to this host".into(),
        Verdict::Kernel(why) => format!("no IP packet to forward: {}", why.text()),
        Verdict::Drop(reason) => format!("drop, {reason}: {}", reason.info().text),
    }
}

/// What to say of a frame that the capture cut.
pub const TRUNCATED: &str = "cut short by the capture, so nothing can be said of it";

/// Decision and messages in one line.
pub fn sentence(notes: &Notes) -> String {
    let decision = notes.decision.as_ref().map_or(TRUNCATED, |(_, sentence)| sentence);
    let replies = notes.list.iter().filter_map(|note| match note {
        Note::Reply(text) => Some(text.as_str()),
        Note::Check { .. } | Note::Step { .. } => None,
    });
    std::iter::once(decision).chain(replies).collect::<Vec<_>>().join("; ")
}

impl Note {
    /// As an object of `--json`.
    pub fn json(&self) -> Value {
        match self {
            Note::Check { reason, ok } => {
                let info = reason.info();
                json!({ "check": info.name, "passed": ok, "fault": info.text, "rfc": info.rfc, "function": info.function })
            }
            Note::Step { what, found, rfc, function } => {
                json!({ "step": what, "found": found, "rfc": rfc, "function": function })
            }
            Note::Reply(text) => json!({ "reply": text }),
        }
    }
}
