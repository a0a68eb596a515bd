//! What an observer heard of one packet: each check and step in order, the decision, the messages about it.

use super::page;
use crate::drop::DropReason;
use crate::forward::decision::{Decision, Egress, Verdict};
use crate::forward::observe::{Observer, Rule, Step};
use crate::wire::eth::fmt_mac;
use serde_json::{Value, json};

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
    /// A step that is not a check, and what came of it.
    Step(Rule, String),
    /// A message to the sender, or why there is none.
    Reply(Rule, String),
    /// A rule that was applied on the way, and drops nothing.
    Rule(Rule),
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Its stable name, and on whose word it stands.
    pub rule: Rule,
    /// As a sentence.
    pub text: String,
}

/// All that was heard.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// In order.
    pub list: Vec<Note>,
    /// The decision; nothing for a frame that the capture cut short.
    pub decision: Option<Decided>,
    /// The packet itself goes out, rewritten.
    pub forwarded: bool,
    /// Of the checks made last those of one family were IPv4's.
    ipv4: bool,
}

impl Observer for Notes {
    fn check(&mut self, reason: DropReason, ok: bool) {
        let name = reason.info().name;
        self.ipv4 = name.starts_with("V4") || self.ipv4 && !name.starts_with("V6");
        self.list.push(Note::Check { reason, ok });
    }

    fn step(&mut self, step: Step<'_>) {
        self.list.push(Note::Step(step.rule, step.found.to_string()));
    }

    fn rule(&mut self, name: &'static str) {
        self.list.push(Note::Rule(page::rule(name, self.ipv4)));
    }

    fn wants_rules(&self) -> bool {
        true
    }

    fn decided(&mut self, decision: &Decision<'_>) {
        self.forwarded = matches!(decision.verdict, Verdict::Forward(..));
        let name = super::super::replay::name(&decision.verdict);
        let (rfc, function) = source(&decision.verdict);
        let rule = Rule::new(name, rfc, function);
        self.decision = Some(Decided { rule, text: verdict(&decision.verdict) });
    }

    fn reply(&mut self, step: Step<'_>) {
        self.list.push(Note::Reply(step.rule, step.found.to_string()));
    }
}

fn way(egress: &Egress<'_>) -> String {
    format!("{} ({}) on {}", egress.next, fmt_mac(egress.lladdr), egress.oif.name)
}

/// On whose word a verdict stands: RFC and section, kernel function.
fn source(verdict: &Verdict<'_>) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Forward(..) => ("", "dst_output"),
        Verdict::Fragment(..) | Verdict::HoldFragments(..) => ("791 3.2", "ip_do_fragment"),
        Verdict::Hold(wait, _) if wait.next.is_ipv4() => ("1122 2.3.2.2", "neigh_resolve_output"),
        Verdict::Hold(..) => ("4861 7.2.2", "neigh_resolve_output"),
        Verdict::Local => ("", "dst_input"),
        Verdict::Kernel(_) => ("", "__netif_receive_skb_core"),
        Verdict::Drop(reason) => (reason.info().rfc, reason.info().function),
    }
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
    let decision = notes.decision.as_ref().map_or(TRUNCATED, |decided| &decided.text);
    let replies = notes.list.iter().filter_map(|note| match note {
        Note::Reply(rule, found) => Some(format!("{}: {found}", rule.name)),
        Note::Check { .. } | Note::Step(..) | Note::Rule(_) => None,
    });
    std::iter::once(decision.to_owned()).chain(replies).collect::<Vec<_>>().join("; ")
}

impl Decided {
    /// As an object of `--json`.
    pub fn json(&self) -> Value {
        let Rule { name, rfc, function } = self.rule;
        json!({ "verdict": name, "text": self.text, "rfc": rfc, "function": function })
    }
}

impl Note {
    /// As an object of `--json`.
    pub fn json(&self) -> Value {
        match self {
            Note::Check { reason, ok } => {
                let info = reason.info();
                json!({ "check": info.name, "passed": ok, "fault": info.text, "rfc": info.rfc, "function": info.function })
            }
            Note::Step(rule, found) => {
                json!({ "step": rule.name, "found": found, "rfc": rule.rfc, "function": rule.function })
            }
            Note::Rule(rule) => json!({ "rule": rule.name, "rfc": rule.rfc, "function": rule.function }),
            Note::Reply(rule, found) => {
                json!({ "reply": rule.name, "found": found, "rfc": rule.rfc, "function": rule.function })
            }
        }
    }
}
