//! Rules of a live box. Part of a snapshot.

use super::Snapshot;
use crate::control::netlink::{Family, PortMatch, RuleAction, RuleMsg, rule_flag};
use crate::scenario::{Rule, Value};
use warren_fib::{TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN};

/// All bits of a port.
const EVERY_BIT: u16 = 0xffff;

impl Snapshot {
    pub(super) fn rules(&mut self, rules: &[RuleMsg]) {
        for family in Family::BOTH {
            let own = own(family);
            for missing in own.iter().filter(|rule| !rules.iter().any(|r| same(r, rule))) {
                self.leave(
                    format_args!("rule {} of {family:?}", missing.priority),
                    "a scenario always has it",
                );
            }
            for rule in rules.iter().filter(|r| r.family == family && !own.iter().any(|own| same(r, own))) {
                match entry(rule) {
                    Ok(rule) => self.scenario.rule.push(rule),
                    Err(why) => self.leave(format_args!("rule {}", rule.priority), why),
                }
            }
        }
    }
}

/// The rules that a kernel starts with.
fn own(family: Family) -> Vec<RuleMsg> {
    let tables = [(0, TABLE_LOCAL), (32766, TABLE_MAIN), (32767, TABLE_DEFAULT)];
    let count = if family == Family::V6 { 2 } else { 3 };
    tables.iter().take(count).map(|&(pref, table)| RuleMsg::new(family, pref, table)).collect()
}

/// Equal in all that decides.
fn same(a: &RuleMsg, b: &RuleMsg) -> bool {
    RuleMsg { protocol: b.protocol, flags: a.flags & rule_flag::INVERT, ..a.clone() } == *b
}

fn entry(rule: &RuleMsg) -> Result<Rule, &'static str> {
    let mask_of_all = |ports: &Option<PortMatch>| ports.is_none_or(|p| p.mask == EVERY_BIT);
    if rule.fwmark != 0 || rule.fwmask != 0 {
        return Err("it looks at marks");
    }
    let plain = rule.unknown.is_empty()
        && rule.tun_id == 0
        && rule.uids.is_none()
        && rule.flow_label.is_none()
        && rule.suppress_ifgroup.is_none()
        && mask_of_all(&rule.sport)
        && mask_of_all(&rule.dport);
    if !plain || rule.l3mdev {
        return Err("it looks at what a scenario cannot say");
    }
    let (table, action, goto) = match rule.action {
        RuleAction::Table => (Some(rule.table), None, None),
        RuleAction::Goto(target) => (None, None, Some(target)),
        RuleAction::Nop => (None, Some("nop"), None),
        RuleAction::Blackhole => (None, Some("blackhole"), None),
        RuleAction::Unreachable => (None, Some("unreachable"), None),
        RuleAction::Prohibit => (None, Some("prohibit"), None),
        RuleAction::Other(_) => return Err("its action is unknown"),
    };
    // A DSCP is the upper six bits of what is written as tos.
    let dscp = rule.dscp.map(|(value, _)| value << 2);
    Ok(Rule {
        pref: rule.priority,
        family: Some(if rule.family == Family::V4 { 4 } else { 6 }),
        from: rule.src.map(|net| net.to_string()),
        to: rule.dst.map(|net| net.to_string()),
        iif: rule.iif.clone(),
        oif: rule.oif.clone(),
        tos: dscp.or(Some(rule.tos)).filter(|tos| *tos != 0),
        ipproto: (rule.ip_proto != 0).then(|| Value::Number(rule.ip_proto.into())),
        sport: rule.sport.map(ports),
        dport: rule.dport.map(ports),
        table,
        action: action.map(str::to_owned),
        goto,
        suppress_prefixlen: rule.suppress_prefixlen.and_then(|len| u8::try_from(len).ok()),
        not: (rule.flags & rule_flag::INVERT != 0).then_some(true),
    })
}

fn ports(range: PortMatch) -> Value {
    match (range.start, range.end) {
        (first, last) if first == last => Value::Number(first.into()),
        (first, last) => Value::Text(format!("{first}-{last}")),
    }
}
