//! Rules, with every matcher and action. Called by `scenario`.

use super::Lot;
use super::routes::{Pools, TABLES};
use crate::scenario::{Rule, Scenario, Value};

/// Places between the kernel's own two rules.
const PREFS: [u32; 8] = [5, 10, 20, 100, 100, 5000, 20_000, 32_765];

/// Draws the rules of some boxes.
pub fn draw(lot: &mut Lot, s: &mut Scenario, pools: &Pools) {
    if lot.chance(50) {
        return;
    }
    for _ in 0..1 + lot.below(5) {
        let rule = rule(lot, s, pools);
        if !s.rule.iter().any(|other| alike(other, &rule)) {
            s.rule.push(rule);
        }
    }
}

/// Whether the kernel takes two rules for one, which it takes only once. Linux: rule_exists.
fn alike(one: &Rule, other: &Rule) -> bool {
    let told = |r: &Rule| Rule { not: None, goto: None, suppress_prefixlen: None, ..r.clone() };
    told(one) == told(other)
}

fn rule(lot: &mut Lot, s: &Scenario, pools: &Pools) -> Rule {
    let links: Vec<String> = s.link.iter().map(|l| l.name.clone()).collect();
    let mut rule = Rule { pref: lot.one(&PREFS), family: Some(6), ..Rule::default() };
    rule.from = lot.chance(35).then(|| pools.from(lot).to_string());
    // All destinations are none to the kernel.
    rule.to = lot.chance(35).then(|| pools.to(lot)).filter(|to| to.prefix_len() > 0).map(|to| to.to_string());
    rule.iif = if lot.chance(20) { lot.pick(&links) } else { None };
    rule.oif = if lot.chance(5) { lot.pick(&links) } else { None };
    rule.tos = lot.maybe(15, &[4, 8, 0x10, 0x20, 0xb8]);
    rule.ipproto = lot.maybe(20, &[6, 17, 17, 58, 44, 253]).map(Value::Number);
    rule.sport = ports(lot);
    rule.dport = ports(lot);
    rule.not = lot.chance(15).then_some(true);
    match lot.below(100) {
        0..=54 => rule.table = Some(lot.one(&[TABLES[0], TABLES[0], TABLES[1], 254, 102])),
        55..=66 => {
            let targets = [rule.pref + 1, 100, 5000, 32_766, 32_767];
            let ahead: Vec<u32> = targets.into_iter().filter(|t| *t > rule.pref).collect();
            rule.goto = lot.pick(&ahead);
        }
        67..=80 => {
            rule.table = Some(lot.one(&[TABLES[0], 254, 255]));
            rule.suppress_prefixlen = Some(lot.one(&[0, 0, 16, 32, 48, 64]));
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
    rule
}

fn ports(lot: &mut Lot) -> Option<Value> {
    let text = lot.maybe(18, &["53", "80", "1024-2047", "1-65534", "65534"])?;
    Some(text.parse().map_or_else(|_| Value::Text(text.to_owned()), Value::Number))
}
