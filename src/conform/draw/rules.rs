//! What rules of both families have in common. Called by the `rules` of each family.

use super::lot::Lot;
use crate::scenario::{Rule, Scenario, Value};

/// Tables besides main, which rules may name.
pub const TABLES: [u32; 2] = [100, 101];

/// Adds a rule, unless the kernel takes it for one that it has.
pub fn add(s: &mut Scenario, rule: Rule) {
    // One for main is there from the start.
    let main = Rule { pref: 32_766, family: rule.family, table: Some(254), ..Rule::default() };
    if !s.rule.iter().chain([&main]).any(|old| is_taken_for(old, &rule)) {
        s.rule.push(rule);
    }
}

/// Whether the kernel takes a new rule for one that it has: whither that goes and whether it is turned round are nothing to
/// it, nor is what the new one does not ask for of addresses and TOS. Linux: rule_exists, fib4_rule_compare.
fn is_taken_for(old: &Rule, new: &Rule) -> bool {
    let seen = Rule {
        not: new.not,
        goto: new.goto,
        from: old.from.clone().filter(|_| new.from.is_some()),
        to: old.to.clone().filter(|_| new.to.is_some()),
        tos: old.tos.filter(|_| new.tos.is_some()),
        ..old.clone()
    };
    // A jump is an action of its own.
    seen == *new && old.goto.is_some() == new.goto.is_some()
}

/// What a rule does: it asks a table, jumps ahead, asks a table for prefixes longer than one of `lengths`, or ends the search.
pub fn action(lot: &mut Lot, rule: &mut Rule, lengths: &[u8]) {
    match lot.below(100) {
        0..=54 => rule.table = Some(lot.one(&[TABLES[0], TABLES[0], TABLES[1], 254, 102])),
        55..=66 => {
            let targets = [rule.pref + 1, 100, 5000, 32_766, 32_767];
            let ahead: Vec<u32> = targets.into_iter().filter(|t| *t > rule.pref).collect();
            rule.goto = lot.pick(&ahead);
        }
        67..=80 => {
            rule.table = Some(lot.one(&[TABLES[0], 254, 255]));
            rule.suppress_prefixlen = Some(lot.one(lengths));
        }
        other => {
            let action = match other % 7 {
                0 | 1 => "blackhole",
                2 | 3 => "unreachable",
                4 | 5 => "prohibit",
                _ => "nop",
            };
            rule.action = Some(action.to_owned());
        }
    }
}

/// A port or a range of them, for so many rules of a hundred.
pub fn ports(lot: &mut Lot, percent: usize) -> Option<Value> {
    let text = lot.maybe(percent, &["53", "80", "1024-2047", "1-65534", "65534"])?;
    Some(text.parse().map_or_else(|_| Value::Text(text.to_owned()), Value::Number))
}
