//! What warren's path says of itself while it plays: which rules were applied, and how it decided for each frame.
//! Called by `userspace`.

use crate::drop::DropReason;
use crate::forward::decision::{Decision, Verdict};
use crate::forward::observe::{Observer, Step};
use std::collections::BTreeMap;

/// Counts the rules that were applied, by name.
#[derive(Debug, Default)]
pub struct Rules(pub BTreeMap<String, u64>);

impl Rules {
    fn add(&mut self, name: &str) {
        *self.0.entry(name.to_owned()).or_insert(0) += 1;
    }
}

impl Observer for Rules {
    fn rule(&mut self, name: &'static str) {
        self.add(name);
    }

    fn decided(&mut self, decision: &Decision<'_>) {
        match &decision.verdict {
            Verdict::Forward(..) => self.add("packet sent on"),
            Verdict::Fragment(..) | Verdict::HoldFragments(..) => self.add("packet cut into fragments"),
            Verdict::Hold(..) => self.add("packet waits for its next hop"),
            Verdict::Local => self.add("packet for this host"),
            // Drops are counted where they are acted on.
            Verdict::Kernel(_) | Verdict::Drop(_) => {}
        }
    }

    fn step(&mut self, step: Step<'_>) {
        self.add(step.rule.name);
    }

    fn reply(&mut self, step: Step<'_>) {
        self.add(step.rule.name);
    }

    fn wants_rules(&self) -> bool {
        true
    }
}

/// Writes down how each frame was decided.
#[derive(Debug, Default)]
pub struct Notes(pub Vec<String>);

impl Observer for Notes {
    fn check(&mut self, reason: DropReason, ok: bool) {
        if !ok {
            let info = reason.info();
            self.0.push(format!("{} ({}): {}", info.name, info.function, info.text));
        }
    }

    fn step(&mut self, step: Step<'_>) {
        self.0.push(format!("{} ({}): {}", step.rule.name, step.rule.function, step.found));
    }

    fn decided(&mut self, decision: &Decision<'_>) {
        let text = match &decision.verdict {
            Verdict::Forward(egress, _) => format!("sent to {} on {}", egress.next, egress.oif.name),
            Verdict::Fragment(egress, _, mtu) => format!("cut to {mtu} and sent on {}", egress.oif.name),
            Verdict::Hold(wait, _) | Verdict::HoldFragments(wait, ..) => {
                format!("waits for {} on {}", wait.next, wait.oif.name)
            }
            Verdict::Local => "is for this host".to_owned(),
            Verdict::Kernel(why) => why.text().to_owned(),
            Verdict::Drop(reason) => format!("dropped: {}", reason.info().name),
        };
        self.0.push(text);
    }

    fn reply(&mut self, step: Step<'_>) {
        self.step(step);
    }
}
