//! Rules: which table to look in for which packets.
//!
//! Invariant: a matcher that this file does not know is listed in [`RuleMsg::unknown`], so nobody takes such a rule for a wider one.
//! Callers: the mirror, scenarios.

use std::fmt;

use ipnet::IpNet;

use super::attr::{attrs, header};
use super::{Family, Malformed};

mod encode;

const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_FLOW: u16 = 11;
const FRA_TUN_ID: u16 = 12;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_PAD: u16 = 18;
const FRA_L3MDEV: u16 = 19;
const FRA_UID_RANGE: u16 = 20;
const FRA_PROTOCOL: u16 = 21;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;
const FRA_DSCP: u16 = 25;
const FRA_FLOWLABEL: u16 = 26;
const FRA_FLOWLABEL_MASK: u16 = 27;
const FRA_SPORT_MASK: u16 = 28;
const FRA_DPORT_MASK: u16 = 29;
const FRA_DSCP_MASK: u16 = 30;

/// All bits of a DSCP, a flow label, a port.
const DSCP_ALL: u8 = 0x3f;
const FLOWLABEL_ALL: u32 = 0xf_ffff;
const PORT_ALL: u16 = 0xffff;

/// Bits of [`RuleMsg::flags`] (`FIB_RULE_*`).
pub mod rule_flag {
    /// Made by the kernel together with the namespace.
    pub const PERMANENT: u32 = 0x01;
    /// The matchers are negated (`not`).
    pub const INVERT: u32 = 0x02;
    /// A goto whose target does not exist.
    pub const UNRESOLVED: u32 = 0x04;
    /// The incoming link does not exist, so nothing matches.
    pub const IIF_DETACHED: u32 = 0x08;
    /// The outgoing link does not exist, so nothing matches.
    pub const OIF_DETACHED: u32 = 0x10;
}

/// What a rule does with the packets it matches (`FR_ACT_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleAction {
    /// Look in [`RuleMsg::table`].
    Table,
    /// Go on at the rule with this priority.
    Goto(u32),
    /// Nothing: go on with the next rule.
    Nop,
    /// Drop silently.
    Blackhole,
    /// Drop with an ICMP unreachable.
    Unreachable,
    /// Drop with an ICMP prohibited.
    Prohibit,
    /// A number that Linux does not use.
    Other(u8),
}

/// A range of ports, or one port under a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortMatch {
    /// First port.
    pub start: u16,
    /// Last port.
    pub end: u16,
    /// Which bits of the port are compared with `start`; 0xffff (a range has no mask, and reads so too) compares all.
    pub mask: u16,
}

impl PortMatch {
    /// The ports from `start` to `end`.
    pub fn range(start: u16, end: u16) -> Self {
        Self { start, end, mask: PORT_ALL }
    }
}

/// A rule. Rules are tried in rising order of `priority`, equal ones in order of their making.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RuleMsg {
    /// Of which family's packets.
    pub family: Family,
    /// Place in the order.
    pub priority: u32,
    /// What it does.
    pub action: RuleAction,
    /// The table of [`RuleAction::Table`]; 0 with `l3mdev`, which brings its own.
    pub table: u32,
    /// Source prefix to match.
    pub src: Option<IpNet>,
    /// Destination prefix to match.
    pub dst: Option<IpNet>,
    /// Name of the incoming link to match.
    pub iif: Option<String>,
    /// Name of the outgoing link that a socket is bound to.
    pub oif: Option<String>,
    /// Traffic class to match; 0 is any.
    pub tos: u8,
    /// DSCP to match, as (value, mask).
    pub dscp: Option<(u8, u8)>,
    /// Flow label to match, as (value, mask) (IPv6).
    pub flow_label: Option<(u32, u32)>,
    /// Packet mark to match, under `fwmask`.
    pub fwmark: u32,
    /// Which bits of the mark are compared; 0 is none.
    pub fwmask: u32,
    /// IP protocol to match; 0 is any.
    pub ip_proto: u8,
    /// Source ports to match.
    pub sport: Option<PortMatch>,
    /// Destination ports to match.
    pub dport: Option<PortMatch>,
    /// Tunnel id to match; 0 is any.
    pub tun_id: u64,
    /// Users to match, first and last.
    pub uids: Option<(u32, u32)>,
    /// Matches packets of a VRF and looks in that VRF's table.
    pub l3mdev: bool,
    /// Pass by a route found with this prefix length or a shorter one.
    pub suppress_prefixlen: Option<u32>,
    /// Pass by a route over a link of this group.
    pub suppress_ifgroup: Option<u32>,
    /// Realm that it sets (IPv4), 0 for none.
    pub realm: u32,
    /// `RTPROT_*`: who made it.
    pub protocol: u8,
    /// Bits of [`rule_flag`]; of these only INVERT is sent.
    pub flags: u32,
    /// Numbers of attributes that are not known here: with any, the rule's meaning is not known either. Not sent.
    pub unknown: Vec<u16>,
}

impl RuleMsg {
    /// Matches everything and looks in `table`.
    pub fn new(family: Family, priority: u32, table: u32) -> Self {
        Self {
            family,
            priority,
            action: RuleAction::Table,
            table,
            src: None,
            dst: None,
            iif: None,
            oif: None,
            tos: 0,
            dscp: None,
            flow_label: None,
            fwmark: 0,
            fwmask: 0,
            ip_proto: 0,
            sport: None,
            dport: None,
            tun_id: 0,
            uids: None,
            l3mdev: false,
            suppress_prefixlen: None,
            suppress_ifgroup: None,
            realm: 0,
            protocol: 0,
            flags: 0,
            unknown: Vec::new(),
        }
    }

    /// Reads `struct fib_rule_hdr` and its attributes; `None` for another family (multicast routing).
    pub(super) fn decode(body: &[u8]) -> Result<Option<Self>, Malformed> {
        let (&[family, dst_len, src_len, tos, table, _, _, action, f0, f1, f2, f3], rest) = header(body)?;
        let Some(family) = Family::from_number(family) else { return Ok(None) };
        let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
        let mut rule = Self { tos, flags, ..Self::new(family, 0, table.into()) };
        let mut target = 0;
        let mut masks = Masks { sport: PORT_ALL, dport: PORT_ALL, dscp: DSCP_ALL, flow_label: FLOWLABEL_ALL };
        for attr in attrs(rest) {
            match attr.kind {
                FRA_DST => rule.dst = Some(attr.prefix(family, dst_len)?),
                FRA_SRC => rule.src = Some(attr.prefix(family, src_len)?),
                FRA_IIFNAME => rule.iif = Some(attr.text()),
                FRA_OIFNAME => rule.oif = Some(attr.text()),
                FRA_GOTO => target = attr.u32()?,
                FRA_PRIORITY => rule.priority = attr.u32()?,
                FRA_FWMARK => rule.fwmark = attr.u32()?,
                FRA_FWMASK => rule.fwmask = attr.u32()?,
                FRA_FLOW => rule.realm = attr.u32()?,
                FRA_TUN_ID => rule.tun_id = attr.u64_be()?,
                FRA_SUPPRESS_IFGROUP => rule.suppress_ifgroup = Some(attr.u32()?).filter(|v| *v != u32::MAX),
                FRA_SUPPRESS_PREFIXLEN => {
                    rule.suppress_prefixlen = Some(attr.u32()?).filter(|v| *v != u32::MAX);
                }
                FRA_TABLE => rule.table = attr.u32()?,
                FRA_L3MDEV => rule.l3mdev = attr.u8()? != 0,
                FRA_UID_RANGE => rule.uids = Some(uids(attr.u64()?)),
                FRA_PROTOCOL => rule.protocol = attr.u8()?,
                FRA_IP_PROTO => rule.ip_proto = attr.u8()?,
                FRA_SPORT_RANGE => rule.sport = Some(ports(attr.u32()?)),
                FRA_DPORT_RANGE => rule.dport = Some(ports(attr.u32()?)),
                FRA_DSCP => rule.dscp = Some((attr.u8()?, DSCP_ALL)),
                FRA_FLOWLABEL => rule.flow_label = Some((attr.u32_be()?, FLOWLABEL_ALL)),
                FRA_SPORT_MASK => masks.sport = attr.u16()?,
                FRA_DPORT_MASK => masks.dport = attr.u16()?,
                FRA_DSCP_MASK => masks.dscp = attr.u8()?,
                FRA_FLOWLABEL_MASK => masks.flow_label = attr.u32_be()?,
                FRA_PAD => {}
                unknown => rule.unknown.push(unknown),
            }
        }
        masks.apply(&mut rule);
        rule.action = match action {
            1 => RuleAction::Table,
            2 => RuleAction::Goto(target),
            3 => RuleAction::Nop,
            6 => RuleAction::Blackhole,
            7 => RuleAction::Unreachable,
            8 => RuleAction::Prohibit,
            other => RuleAction::Other(other),
        };
        Ok(Some(rule))
    }
}

/// Masks arrive apart from their values, and not from kernels that lack them.
struct Masks {
    sport: u16,
    dport: u16,
    dscp: u8,
    flow_label: u32,
}

impl Masks {
    fn apply(&self, rule: &mut RuleMsg) {
        for (port, mask) in [(&mut rule.sport, self.sport), (&mut rule.dport, self.dport)] {
            // A range is dumped with mask 0, which means none.
            if let Some(port) = port.as_mut().filter(|_| mask != 0) {
                port.mask = mask;
            }
        }
        rule.dscp = rule.dscp.map(|(value, _)| (value, self.dscp));
        rule.flow_label = rule.flow_label.map(|(value, _)| (value, self.flow_label));
    }
}

/// `struct fib_rule_port_range`, two numbers in host byte order.
fn ports(both: u32) -> PortMatch {
    let [a, b, c, d] = both.to_ne_bytes();
    PortMatch::range(u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]))
}

/// `struct fib_rule_uid_range`, two numbers in host byte order.
fn uids(both: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = both.to_ne_bytes();
    (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
}

impl fmt::Display for RuleMsg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.priority)?;
        if let Some(src) = self.src {
            write!(f, " from {src}")?;
        }
        if let Some(dst) = self.dst {
            write!(f, " to {dst}")?;
        }
        if let Some(iif) = &self.iif {
            write!(f, " iif {iif}")?;
        }
        match self.action {
            RuleAction::Table => write!(f, " lookup {}", self.table),
            RuleAction::Goto(target) => write!(f, " goto {target}"),
            other => write!(f, " {}", format!("{other:?}").to_lowercase()),
        }
    }
}
