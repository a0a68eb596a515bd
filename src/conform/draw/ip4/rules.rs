//! Rules, with every matcher and action. Called by `scenario`.

use super::super::rules::{action, add, ports};
use super::Lot;
use super::routes::Pools;
use crate::scenario::{Rule, Scenario, Value};

/// Places between the kernel's own rules, and behind them.
const PREFS: [u32; 10] = [5, 10, 20, 100, 100, 5000, 20_000, 32_765, 32_766, 40_000];

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
    let mut rule = Rule { pref: lot.one(&PREFS), family: Some(4), ..Rule::default() };
    let text = |net: ipnet::Ipv4Net| (net.prefix_len() > 0).then(|| net.to_string());
    // Of packets on their way, or of the way back that is looked for.
    let (from, to) =
        if lot.chance(75) { (pools.from(lot), pools.to(lot)) } else { (pools.to(lot), pools.from(lot)) };
    rule.from = if lot.chance(35) { text(from) } else { None };
    rule.to = if lot.chance(35) { text(to) } else { None };
    rule.iif = if lot.chance(20) { lot.pick(&links) } else { lot.maybe(8, &["lo"]).map(str::to_owned) };
    rule.oif = if lot.chance(5) { lot.pick(&links) } else { None };
    rule.tos = lot.maybe(15, &[4, 8, 0x10, 0x14, 0x1c]);
    rule.ipproto = lot.maybe(20, &[6, 17, 17, 1, 47, 253]).map(Value::Number);
    rule.sport = ports(lot, 15);
    rule.dport = ports(lot, 12);
    rule.not = lot.chance(15).then_some(true);
    action(lot, &mut rule, &[0, 0, 8, 16, 24, 31]);
    rule
}
