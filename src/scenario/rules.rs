//! The rules of a scenario, added to the kernel's own of each family. Called by `load`.

use super::load::{Loader, meaning};
use super::routes::{of_family, prefix};
use super::{Rule, ScenarioError, Value};
use std::net::{Ipv4Addr, Ipv6Addr};
use warren_fib::{DETACHED, Ip, Prefix, RuleAction, TABLE_MAIN};

/// `[[rule]]`, all of them at once.
pub(super) fn load(l: &mut Loader<'_>, rules: &[Rule]) -> Result<(), ScenarioError> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (rule, number) in rules.iter().zip(1..) {
        let wrong = |why| meaning(l.path, format!("rule {number} (pref {}): {why}", rule.pref));
        if is_v6(rule).map_err(wrong)? {
            v6.push(build::<Ipv6Addr>(l, rule).map_err(wrong)?);
        } else {
            v4.push(build::<Ipv4Addr>(l, rule).map_err(wrong)?);
        }
    }
    // The kernel's own come first among equals; the order of the file decides between the others.
    if !v4.is_empty() {
        let all = l.writer.draft().rules4.iter().cloned().chain(v4).collect();
        l.writer.set_rules4(all).map_err(|e| meaning(l.path, e.to_string()))?;
    }
    if !v6.is_empty() {
        let all = l.writer.draft().rules6.iter().cloned().chain(v6).collect();
        l.writer.set_rules6(all);
    }
    Ok(())
}

/// The family: what is said, else what the prefixes show.
fn is_v6(rule: &Rule) -> Result<bool, String> {
    let shown = rule.from.as_deref().or(rule.to.as_deref()).map(prefix).transpose()?;
    match (rule.family, shown) {
        (Some(4), _) => Ok(false),
        (Some(6), _) => Ok(true),
        (Some(other), _) => Err(format!("family is 4 or 6, not {other}")),
        (None, Some(net)) => Ok(net.addr().is_ipv6()),
        (None, None) => Err("of which family? Add family = 4 or family = 6".into()),
    }
}

fn build<A: Ip>(l: &Loader<'_>, rule: &Rule) -> Result<warren_fib::Rule<A>, String> {
    let net =
        |text: &Option<String>| text.as_deref().map_or(Ok(Prefix::ANY), |text| of_family(prefix(text)?));
    // The kernel accepts names of links that do not exist; such a rule matches nothing.
    let link = |name: &Option<String>| name.as_deref().map(|name| l.index(name).unwrap_or(DETACHED));
    Ok(warren_fib::Rule {
        invert: rule.not == Some(true),
        from: net(&rule.from)?,
        to: net(&rule.to)?,
        iif: link(&rule.iif),
        oif: link(&rule.oif),
        tos: rule.tos.unwrap_or(0) & 0xfc,
        ipproto: rule.ipproto.as_ref().map(protocol).transpose()?,
        sport: rule.sport.as_ref().map(ports).transpose()?,
        dport: rule.dport.as_ref().map(ports).transpose()?,
        suppress_prefixlen: rule.suppress_prefixlen,
        ..warren_fib::Rule::new(rule.pref, action(rule)?)
    })
}

fn action(rule: &Rule) -> Result<RuleAction, String> {
    match (rule.action.as_deref(), rule.goto, rule.table) {
        (None, None, table) => Ok(RuleAction::Table(table.unwrap_or(TABLE_MAIN))),
        (None, Some(target), None) if target > rule.pref => Ok(RuleAction::Goto(target)),
        (None, Some(target), None) => Err(format!("goto {target} does not lead forward")),
        (Some("blackhole"), None, None) => Ok(RuleAction::Blackhole),
        (Some("unreachable"), None, None) => Ok(RuleAction::Unreachable),
        (Some("prohibit"), None, None) => Ok(RuleAction::Prohibit),
        (Some("nop"), None, None) => Ok(RuleAction::Nop),
        (Some(other), None, None) => {
            Err(format!("unknown action {other:?}; there are blackhole, unreachable, prohibit, nop"))
        }
        _ => Err("table, action or goto: only one of them".into()),
    }
}

/// An IP protocol by number or by the names that scenarios use.
pub fn protocol(value: &Value) -> Result<u8, String> {
    let known = match value {
        Value::Number(number) => u8::try_from(*number).ok(),
        Value::Text(name) => match name.as_str() {
            "icmp" => Some(1),
            "tcp" => Some(6),
            "udp" => Some(17),
            "ipv6-icmp" => Some(58),
            number => number.parse().ok(),
        },
    };
    known.ok_or_else(|| "ipproto is a number from 0 to 255 or tcp, udp, icmp, ipv6-icmp".into())
}

fn ports(value: &Value) -> Result<(u16, u16), String> {
    let range = match value {
        Value::Number(port) => u16::try_from(*port).ok().map(|port| (port, port)),
        Value::Text(text) => {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            first.parse().ok().zip(last.parse().ok())
        }
    };
    range.filter(|(first, last)| first <= last).ok_or_else(|| "ports are like 80 or \"1024-2047\"".into())
}
