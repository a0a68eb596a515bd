//! Rules, with every matcher and action. Called by `scenario`.

use super::Lot;
use super::routes::{Pools, TABLES};
use crate::scenario::{Rule, Scenario, Value};

/// Places between the kernel's own rules, and behind them.
const PREFS: [u32; 10] = [5, 10, 20, 100, 100, 5000, 20_000, 32_765, 32_766, 40_000];

/// Draws the rules of some boxes.
pub fn draw(lot: &mut Lot, s: &mut Scenario, pools: &Pools) {
    if lot.chance(50) {
        return;
    }
    // The kernel has one for main itself.
    let main = Rule { pref: 32_766, family: Some(4), table: Some(254), ..Rule::default() };
    for _ in 0..1 + lot.below(5) {
        let rule = rule(lot, s, pools);
        if !s.rule.iter().chain([&main]).any(|old| is_taken_for(old, &rule)) {
            s.rule.push(rule);
        }
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

fn rule(lot: &mut Lot, s: &Scenario, pools: &Pools) -> Rule {
    let links: Vec<String> = s.link.iter().map(|l| l.name.clone()).collect();
    let mut rule = Rule { pref: lot.one(&PREFS), family: Some(4), ..Rule::default() };
    let text = |net: ipnet::Ipv4Net| (net.prefix_len() > 0).then(|| net.to_string());
    rule.from = if lot.chance(35) { text(pools.from(lot)) } else { None };
    rule.to = if lot.chance(35) { text(pools.to(lot)) } else { None };
    rule.iif = if lot.chance(20) { lot.pick(&links) } else { lot.maybe(4, &["lo"]).map(str::to_owned) };
    rule.oif = if lot.chance(5) { lot.pick(&links) } else { None };
    rule.tos = lot.maybe(15, &[4, 8, 0x10, 0x14, 0x1c]);
    rule.ipproto = lot.maybe(20, &[6, 17, 17, 1, 47, 253]).map(Value::Number);
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
            rule.suppress_prefixlen = Some(lot.one(&[0, 0, 8, 16, 24, 31]));
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
    let text = lot.maybe(10, &["53", "80", "1024-2047", "1-65534", "65534"])?;
    Some(text.parse().map_or_else(|_| Value::Text(text.to_owned()), Value::Number))
}
