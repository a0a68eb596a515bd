//! Rules, with every matcher and action. Called by `scenario`.

use super::super::rules::{action, add, ports};
use super::Lot;
use super::routes::Pools;
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
        add(s, rule);
    }
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
    rule.sport = ports(lot, 18);
    rule.dport = ports(lot, 18);
    rule.not = lot.chance(15).then_some(true);
    action(lot, &mut rule, &[0, 0, 16, 32, 48, 64, 128]);
    rule
}
