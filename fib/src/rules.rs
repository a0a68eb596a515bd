//! Policy rules: which tables a packet is looked up in, and in which order.
//!
//! Invariant: rules are kept by preference, equal ones in the order of insertion, as the kernel's list is. The walk
//! follows fib_rules_lookup; the caller looks into each table it is given and stops at the first answer.

use crate::ip::Ip;
use crate::prefix::Prefix;

/// Table `default`, asked last in IPv4.
pub const TABLE_DEFAULT: u32 = 253;
/// Table `main`.
pub const TABLE_MAIN: u32 = 254;
/// Table `local`.
pub const TABLE_LOCAL: u32 = 255;

/// The loopback interface (`LOOPBACK_IFINDEX`): what the host itself sends comes from there.
const LOOPBACK: u32 = 1;

/// An ifindex that no interface has: stands for an interface name in a rule that names nothing at present.
pub const DETACHED: u32 = u32::MAX;

/// What a matching rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// Look in this table.
    Table(u32),
    /// Go on at the first rule with this preference; passed over if there is none.
    Goto(u32),
    /// Nothing.
    Nop,
    /// Discard in silence.
    Blackhole,
    /// Network unreachable.
    Unreachable,
    /// Prohibited.
    Prohibit,
}

/// One rule. Every condition that is set must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<A> {
    /// Preference; lower ones are asked first.
    pub pref: u32,
    /// What to do on a match.
    pub action: RuleAction,
    /// The rule matches where its conditions do not.
    pub invert: bool,
    /// Source addresses.
    pub from: Prefix<A>,
    /// Destination addresses.
    pub to: Prefix<A>,
    /// Input interface index; [`DETACHED`] matches nothing.
    pub iif: Option<u32>,
    /// Output interface index; [`DETACHED`] matches nothing.
    pub oif: Option<u32>,
    /// DSCP byte; 0 for all.
    pub tos: u8,
    /// Mark, compared under `mask`.
    pub mark: u32,
    /// Bits of the mark that count; 0 for none.
    pub mask: u32,
    /// IP protocol.
    pub ipproto: Option<u8>,
    /// Source ports from, to (inclusive, host order).
    pub sport: Option<(u16, u16)>,
    /// Destination ports from, to (inclusive, host order).
    pub dport: Option<(u16, u16)>,
    /// Answers with a prefix this long or shorter do not count.
    pub suppress_prefixlen: Option<u8>,
}

/// What rules look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleKey<A> {
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
    /// Input interface index (loopback's for packets that this host makes).
    pub iif: u32,
    /// Output interface index the flow is bound to; 0 for none.
    pub oif: u32,
    /// DSCP byte (the two ECN bits are ignored).
    pub tos: u8,
    /// Packet mark.
    pub mark: u32,
    /// IP protocol.
    pub ipproto: u8,
    /// Source port, host order; 0 if unknown.
    pub sport: u16,
    /// Destination port, host order; 0 if unknown.
    pub dport: u16,
}

impl<A: Ip> Rule<A> {
    /// A rule for every packet.
    pub fn new(pref: u32, action: RuleAction) -> Self {
        Rule {
            pref,
            action,
            invert: false,
            from: Prefix::ANY,
            to: Prefix::ANY,
            iif: None,
            oif: None,
            tos: 0,
            mark: 0,
            mask: 0,
            ipproto: None,
            sport: None,
            dport: None,
            suppress_prefixlen: None,
        }
    }

    /// Does the rule match? The kernel's fib_rule_match with fib4_rule_match or fib6_rule_match.
    pub fn matches(&self, key: &RuleKey<A>) -> bool {
        let within =
            |range: Option<(u16, u16)>, port| range.is_none_or(|(low, high)| low <= port && port <= high);
        let holds = self.from.contains(key.src)
            && self.to.contains(key.dst)
            && self.iif.is_none_or(|iif| iif == key.iif && iif != DETACHED)
            && self.oif.is_none_or(|oif| oif == key.oif && oif != DETACHED)
            && (self.mark ^ key.mark) & self.mask == 0
            && (self.tos == 0 || self.tos == key.tos & 0xfc)
            && self.ipproto.is_none_or(|ipproto| ipproto == key.ipproto)
            && within(self.sport, key.sport)
            && within(self.dport, key.dport);
        holds != self.invert
    }

    /// True if an answer with this prefix length does not count (fib4_rule_suppress, fib6_rule_suppress).
    pub fn suppresses(&self, len: u8) -> bool {
        self.suppress_prefixlen.is_some_and(|limit| len <= limit)
    }
}

/// All rules of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules<A> {
    rules: Box<[Rule<A>]>,
    custom: bool,
    needs_flow: bool,
}

impl<A: Ip> Rules<A> {
    /// Sorts the rules by preference; equal ones keep their order.
    pub fn new(mut rules: Vec<Rule<A>>) -> Self {
        rules.sort_by_key(|rule| rule.pref);
        // Rules for what the host itself sends know it without. Linux: fib_rule_requires_fldissect.
        let asks = |r: &Rule<A>| r.ipproto.is_some() || r.sport.is_some() || r.dport.is_some();
        let needs_flow = rules.iter().any(|r| r.iif != Some(LOOPBACK) && asks(r));
        Rules { custom: rules != builtin(), needs_flow, rules: rules.into() }
    }

    /// The rules in order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule<A>> {
        self.rules.iter()
    }

    /// True if these are not exactly the rules that the kernel starts with.
    pub fn custom(&self) -> bool {
        self.custom
    }

    /// True if a rule for received packets looks at ports or protocol, so that they must be dissected first (fib_rules_require_fldissect).
    pub fn needs_flow(&self) -> bool {
        self.needs_flow
    }

    /// The rules that match and decide, in order: those with a table, blackhole, unreachable or prohibit.
    pub fn matching<'r>(&'r self, key: &RuleKey<A>) -> Matching<'r, A> {
        Matching { rules: &self.rules, key: *key, next: 0 }
    }
}

impl<A: Ip> Default for Rules<A> {
    /// The kernel's own rules: local, main, and in IPv4 default.
    fn default() -> Self {
        Rules::new(builtin())
    }
}

fn builtin<A: Ip>() -> Vec<Rule<A>> {
    let mut rules = vec![
        Rule::new(0, RuleAction::Table(TABLE_LOCAL)),
        Rule::new(32766, RuleAction::Table(TABLE_MAIN)),
        Rule::new(32767, RuleAction::Table(TABLE_DEFAULT)),
    ];
    if A::V6 {
        rules.pop();
    }
    rules
}

/// The walk over matching rules; see [`Rules::matching`].
#[derive(Clone, Debug)]
pub struct Matching<'r, A> {
    rules: &'r [Rule<A>],
    key: RuleKey<A>,
    next: usize,
}

impl<'r, A: Ip> Iterator for Matching<'r, A> {
    type Item = &'r Rule<A>;

    /// Linear in the rules; a goto costs one more search. It ends because every step moves forward.
    fn next(&mut self) -> Option<&'r Rule<A>> {
        loop {
            let rule = self.rules.get(self.next)?;
            self.next += 1;
            if !rule.matches(&self.key) {
                continue;
            }
            match rule.action {
                RuleAction::Nop => {}
                RuleAction::Goto(target) => {
                    // fib_nl_newrule refuses a goto backwards, so a target at or before this rule is no target.
                    let ahead = self.rules.get(self.next..)?;
                    let found = ahead.iter().position(|rule| rule.pref == target);
                    self.next += found.filter(|_| target > rule.pref).unwrap_or(0);
                }
                _ => return Some(rule),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn key() -> RuleKey<Ipv4Addr> {
        RuleKey {
            src: Ipv4Addr::new(10, 0, 0, 1),
            dst: Ipv4Addr::new(192, 0, 2, 1),
            iif: 2,
            oif: 0,
            tos: 0x11,
            mark: 0x15,
            ipproto: 6,
            sport: 1000,
            dport: 80,
        }
    }

    fn any() -> Rule<Ipv4Addr> {
        Rule::new(100, RuleAction::Table(100))
    }

    fn walk(rules: Vec<Rule<Ipv4Addr>>) -> Vec<u32> {
        Rules::new(rules).matching(&key()).map(|rule| rule.pref).collect()
    }

    #[test]
    fn the_kernels_own_rules() {
        let four = Rules::<Ipv4Addr>::default();
        let tables: Vec<_> = four.matching(&key()).map(|rule| rule.action).collect();
        assert_eq!(tables, [RuleAction::Table(255), RuleAction::Table(254), RuleAction::Table(253)]);
        assert!(!four.custom() && !four.needs_flow());
        let asks = |iif| Rules::new(vec![Rule { iif, ipproto: Some(6), ..any() }]).needs_flow();
        assert!(asks(None) && asks(Some(2)) && !asks(Some(LOOPBACK)));
        assert_eq!(Rules::<Ipv6Addr>::default().iter().count(), 2);
        assert!(Rules::new(vec![any()]).custom());
    }

    #[test]
    fn each_condition_can_refuse() {
        assert!(any().matches(&key()));
        let net = |text: &str| text.parse().unwrap();
        for (yes, no) in [
            (Rule { from: net("10.0.0.0/8"), ..any() }, Rule { from: net("11.0.0.0/8"), ..any() }),
            (Rule { to: net("192.0.2.0/24"), ..any() }, Rule { to: net("192.0.3.0/24"), ..any() }),
            (Rule { iif: Some(2), ..any() }, Rule { iif: Some(DETACHED), ..any() }),
            (Rule { oif: None, ..any() }, Rule { oif: Some(DETACHED), ..any() }),
            (Rule { tos: 0x10, ..any() }, Rule { tos: 0x20, ..any() }),
            (Rule { mark: 0x05, mask: 0x0f, ..any() }, Rule { mark: 0x05, mask: 0xff, ..any() }),
            (Rule { ipproto: Some(6), ..any() }, Rule { ipproto: Some(17), ..any() }),
            (Rule { sport: Some((1000, 1000)), ..any() }, Rule { sport: Some((1, 999)), ..any() }),
            (Rule { dport: Some((1, 80)), ..any() }, Rule { dport: Some((81, 99)), ..any() }),
        ] {
            assert!(yes.matches(&key()), "{yes:?}");
            assert!(!no.matches(&key()), "{no:?}");
            assert!(!Rule { invert: true, ..yes }.matches(&key()));
            assert!(Rule { invert: true, ..no }.matches(&key()));
        }
    }

    #[test]
    fn goto_jumps_forward_only_and_nop_passes() {
        let rule = |pref, action| Rule::<Ipv4Addr>::new(pref, action);
        let end = rule(30, RuleAction::Table(1));
        let skipped = rule(20, RuleAction::Prohibit);
        assert_eq!(walk(vec![end.clone(), rule(10, RuleAction::Goto(30)), skipped.clone()]), [30]);
        assert_eq!(walk(vec![end.clone(), rule(10, RuleAction::Goto(25)), skipped.clone()]), [20, 30]);
        assert_eq!(walk(vec![end.clone(), rule(25, RuleAction::Goto(20)), skipped.clone()]), [20, 30]);
        assert_eq!(walk(vec![end.clone(), rule(10, RuleAction::Goto(10)), skipped.clone()]), [20, 30]);
        assert_eq!(walk(vec![end, rule(10, RuleAction::Nop), skipped]), [20, 30]);
    }

    #[test]
    fn equal_preferences_keep_their_order_and_suppression_counts_lengths() {
        let first = Rule { suppress_prefixlen: Some(0), ..any() };
        let rules = Rules::new(vec![first.clone(), any()]);
        assert_eq!(rules.iter().next(), Some(&first));
        assert!(first.suppresses(0) && !first.suppresses(1) && !any().suppresses(0));
        assert!(Rules::new(vec![Rule { dport: Some((1, 2)), ..any() }]).needs_flow());
    }
}
