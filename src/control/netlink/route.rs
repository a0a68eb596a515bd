//! Routes of both families, as `RTM_NEWROUTE` carries them.
//!
//! Invariant: a route has either legs of its own, or a next-hop object, or (blackhole and its kin) neither. What the kernel fills in for
//! form's sake, such as `lo` on IPv6 blackholes, is not kept. Callers: the mirror, scenarios, the demo.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::attr::{Attr, attrs, everything, header};
use super::{Family, Malformed};

mod encode;

const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_FLOW: u16 = 11;
const RTA_CACHEINFO: u16 = 12;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_PREF: u16 = 20;
const RTA_ENCAP_TYPE: u16 = 21;
const RTA_ENCAP: u16 = 22;
const RTA_NH_ID: u16 = 30;
const RTAX_CC_ALGO: u16 = 16;

/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;
/// `RTM_F_CLONED`: a cached exception, not a route.
pub(super) const CLONED: u32 = 0x200;

/// Bits of [`Leg::flags`] (`RTNH_F_*`).
pub mod leg_flag {
    /// Not usable. Computed by the kernel for dumps, never announced.
    pub const DEAD: u8 = 0x01;
    /// The gateway counts as being on the link without a route to it.
    pub const ONLINK: u8 = 0x04;
    /// The link lacks carrier. Never announced.
    pub const LINKDOWN: u8 = 0x10;
}

/// Numbers of the metrics (`RTAX_*`) in [`Metrics`].
pub mod metric {
    /// Bits of the metrics that are locked: bit n stands for metric n.
    pub const LOCK: u16 = 1;
    /// Path MTU in bytes.
    pub const MTU: u16 = 2;
    /// Advertised TCP segment size in bytes.
    pub const ADVMSS: u16 = 8;
    /// Hop limit of packets that this host sends.
    pub const HOPLIMIT: u16 = 10;
}

/// What a route does with a packet (`RTN_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// Send to a next hop.
    Unicast,
    /// Ours: deliver here.
    Local,
    /// IPv4 broadcast address.
    Broadcast,
    /// Anycast address of ours.
    Anycast,
    /// Multicast destination.
    Multicast,
    /// Drop silently.
    Blackhole,
    /// Drop with an ICMP unreachable.
    Unreachable,
    /// Drop with an ICMP prohibited.
    Prohibit,
    /// Go on with the next rule.
    Throw,
    /// A number that Linux does not use in routes.
    Other(u8),
}

impl RouteKind {
    /// These never have a next hop.
    pub fn is_reject(self) -> bool {
        matches!(self, Self::Blackhole | Self::Unreachable | Self::Prohibit | Self::Throw)
    }

    pub(super) fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Unicast,
            2 => Self::Local,
            3 => Self::Broadcast,
            4 => Self::Anycast,
            5 => Self::Multicast,
            6 => Self::Blackhole,
            7 => Self::Unreachable,
            8 => Self::Prohibit,
            9 => Self::Throw,
            other => Self::Other(other),
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Unicast => 1,
            Self::Local => 2,
            Self::Broadcast => 3,
            Self::Anycast => 4,
            Self::Multicast => 5,
            Self::Blackhole => 6,
            Self::Unreachable => 7,
            Self::Prohibit => 8,
            Self::Throw => 9,
            Self::Other(number) => number,
        }
    }
}

/// An encapsulation that the kernel applies (`RTA_ENCAP`), as raw bytes: warren leaves such traffic to the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Encap {
    /// `LWTUNNEL_ENCAP_*`: 1 MPLS, 2 IPv4, 5 SRv6, 7 SRv6 local and so on.
    pub kind: u16,
    /// The nested attributes.
    pub data: Vec<u8>,
}

/// One way that a route's packets may take.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leg {
    /// The link's index; `None` lets the kernel find the one that leads to the gateway.
    pub link: Option<u32>,
    /// The gateway; `None` if the destination is on the link. May be IPv6 in an IPv4 route (RFC 8950).
    pub gateway: Option<IpAddr>,
    /// Share among the legs, 1 to 256.
    pub weight: u16,
    /// Bits of [`leg_flag`].
    pub flags: u8,
    /// Realm of the route (classification), 0 for none.
    pub realm: u32,
    /// Encapsulation by the kernel.
    pub encap: Option<Encap>,
}

impl Leg {
    /// Through a gateway, and over this link if one is given.
    pub fn via(gateway: IpAddr, link: Option<u32>) -> Self {
        Self { gateway: Some(gateway), link, ..Self::empty() }
    }

    /// Directly onto a link.
    pub fn dev(link: u32) -> Self {
        Self { link: Some(link), ..Self::empty() }
    }

    fn empty() -> Self {
        Self { link: None, gateway: None, weight: 1, flags: 0, realm: 0, encap: None }
    }

    /// Takes over an attribute that describes a leg; others are passed by.
    fn take(&mut self, attr: &Attr<'_>, family: Family) -> Result<(), Malformed> {
        let encap = |leg: &mut Self| leg.encap.take().unwrap_or(Encap { kind: 0, data: Vec::new() });
        match attr.kind {
            RTA_OIF => self.link = Some(attr.u32()?).filter(|index| *index != 0),
            RTA_GATEWAY => self.gateway = Some(attr.ip(family)?),
            RTA_VIA => self.gateway = Some(attr.via()?),
            RTA_FLOW => self.realm = attr.u32()?,
            RTA_ENCAP_TYPE => self.encap = Some(Encap { kind: attr.u16()?, ..encap(self) }),
            RTA_ENCAP => self.encap = Some(Encap { data: attr.value.to_vec(), ..encap(self) }),
            _ => {}
        }
        Ok(())
    }
}

/// A route's metrics: (number, value) in rising order of [`metric`], without those that are 0 (unset).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Metrics(Vec<(u16, u32)>);

impl Metrics {
    /// A metric's value; 0 if it is not set.
    pub fn get(&self, number: u16) -> u32 {
        self.0.iter().find(|(n, _)| *n == number).map_or(0, |(_, value)| *value)
    }

    /// Sets a metric; 0 unsets it.
    pub fn set(&mut self, number: u16, value: u32) {
        self.0.retain(|(n, _)| *n != number);
        if value != 0 {
            let at = self.0.partition_point(|(n, _)| *n < number);
            self.0.insert(at, (number, value));
        }
    }

    /// Whether a metric is locked: the path MTU, for one, is then not lowered by ICMP.
    pub fn is_locked(&self, number: u16) -> bool {
        1u32.checked_shl(number.into()).is_some_and(|bit| self.get(metric::LOCK) & bit != 0)
    }

    /// All metrics that are set.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u32)> {
        self.0.iter().copied()
    }
}

/// A route. Its key is (table, destination, source, tos, priority); equal keys may exist several times.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RouteMsg {
    /// Destination prefix.
    pub dst: IpNet,
    /// Source prefix it is limited to (IPv6 only); `None` is any.
    pub src: Option<IpNet>,
    /// Table: 254 main, 255 local.
    pub table: u32,
    /// Traffic class it is limited to; 0 is any.
    pub tos: u8,
    /// `RTPROT_*`: who made it (2 kernel, 3 boot, 4 static, 9 router advertisement).
    pub protocol: u8,
    /// `RT_SCOPE_*` (IPv4): 0 universe, 253 link, 254 host.
    pub scope: u8,
    /// What it does.
    pub kind: RouteKind,
    /// `RTM_F_*` bits and, unless there is exactly one leg, the route's own `RTNH_F_*` bits. Not sent.
    pub flags: u32,
    /// The smaller wins. 0 in an IPv6 request means 1024.
    pub priority: u32,
    /// Source address for packets that this host sends.
    pub prefsrc: Option<IpAddr>,
    /// Metrics.
    pub metrics: Metrics,
    /// Router preference (IPv6): 0 medium, 1 high, 3 low.
    pub pref: u8,
    /// Time left until it goes away (IPv6).
    pub expires: Option<Duration>,
    /// Where to; several are shared by weight.
    pub legs: Vec<Leg>,
    /// The next-hop object it uses. The kernel may list the object's legs too; they are not sent with an id.
    pub nexthop: Option<u32>,
}

impl RouteMsg {
    /// A route in the main table with protocol static and the scope that iproute2 would choose.
    pub fn new(dst: IpNet, kind: RouteKind, legs: Vec<Leg>) -> Self {
        let direct = !legs.is_empty() && legs.iter().all(|leg| leg.gateway.is_none());
        let scope = match kind {
            _ if Family::of(dst.addr()) == Family::V6 => 0,
            RouteKind::Local => 254,
            RouteKind::Broadcast | RouteKind::Multicast | RouteKind::Anycast => 253,
            RouteKind::Unicast if direct => 253,
            _ => 0,
        };
        Self {
            dst,
            src: None,
            table: MAIN,
            tos: 0,
            protocol: 4,
            scope,
            kind,
            flags: 0,
            priority: 0,
            prefsrc: None,
            metrics: Metrics::default(),
            pref: 0,
            expires: None,
            legs,
            nexthop: None,
        }
    }

    /// The family.
    pub fn family(&self) -> Family {
        Family::of(self.dst.addr())
    }

    /// A cached exception (PMTU, redirect), which is no route.
    pub fn is_cloned(&self) -> bool {
        self.flags & CLONED != 0
    }

    /// Reads `struct rtmsg` and its attributes; `None` for another family (multicast routing, MPLS).
    pub(super) fn decode(body: &[u8]) -> Result<Option<Self>, Malformed> {
        let (&[family, dst_len, src_len, tos, table, protocol, scope, kind, f0, f1, f2, f3], rest) =
            header(body)?;
        let Some(family) = Family::from_number(family) else { return Ok(None) };
        let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
        let mut dst = None;
        let mut only = Leg::empty();
        let mut route = Self {
            tos,
            protocol,
            scope,
            flags,
            table: table.into(),
            ..Self::new(everything(family), RouteKind::from_number(kind), Vec::new())
        };
        for attr in attrs(rest) {
            match attr.kind {
                RTA_DST => dst = Some(attr.prefix(family, dst_len)?),
                RTA_SRC => route.src = Some(attr.prefix(family, src_len)?).filter(|src| src.prefix_len() > 0),
                RTA_PRIORITY => route.priority = attr.u32()?,
                RTA_PREFSRC => route.prefsrc = Some(attr.ip(family)?),
                RTA_METRICS => route.metrics = read_metrics(&attr)?,
                RTA_MULTIPATH => route.legs = read_legs(&attr, family)?,
                RTA_CACHEINFO => route.expires = read_expires(&attr)?,
                RTA_TABLE => route.table = attr.u32()?,
                RTA_PREF => route.pref = attr.u8()?,
                RTA_NH_ID => route.nexthop = Some(attr.u32()?),
                _ => only.take(&attr, family)?,
            }
        }
        // Only a default route may leave its destination out.
        let missing = Malformed { kind: RTA_DST, len: 0 };
        route.dst = dst.or_else(|| (dst_len == 0).then(|| everything(family))).ok_or(missing)?;
        if route.kind.is_reject() {
            route.legs.clear();
        } else if route.legs.is_empty() && only != Leg::empty() {
            let [low, ..] = flags.to_le_bytes();
            route.flags &= !0xff;
            route.legs.push(Leg { flags: low, ..only });
        }
        Ok(Some(route))
    }
}

fn read_metrics(attr: &Attr<'_>) -> Result<Metrics, Malformed> {
    let mut metrics = Metrics::default();
    // The congestion control algorithm is a name and matters only to TCP on this host.
    for metric in attr.nested().filter(|a| a.kind != RTAX_CC_ALGO) {
        metrics.set(metric.kind, metric.u32()?);
    }
    Ok(metrics)
}

/// A row of `struct rtnexthop`, each followed by its attributes.
fn read_legs(attr: &Attr<'_>, family: Family) -> Result<Vec<Leg>, Malformed> {
    let mut legs = Vec::new();
    let mut rest = attr.value;
    while let Some((&[l0, l1, flags, hops, i0, i1, i2, i3], _)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let attributes = rest.get(8..len).ok_or(attr.bad())?;
        let mut leg = Leg { weight: u16::from(hops) + 1, flags, ..Leg::empty() };
        leg.link = Some(u32::from_ne_bytes([i0, i1, i2, i3])).filter(|index| *index != 0);
        for inner in attrs(attributes) {
            leg.take(&inner, family)?;
        }
        legs.push(leg);
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(legs)
}

/// `rta_expires` of `struct rta_cacheinfo`, in 1/100 s; 0 is never.
fn read_expires(attr: &Attr<'_>) -> Result<Option<Duration>, Malformed> {
    let (&[_, _, _, _, _, _, _, _, e0, e1, e2, e3], _) = header(attr.value).map_err(|_| attr.bad())?;
    let left = i32::from_ne_bytes([e0, e1, e2, e3]);
    Ok((left != 0).then(|| Duration::from_millis(u64::try_from(left).unwrap_or(0) * 10)))
}

impl fmt::Display for RouteMsg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != RouteKind::Unicast {
            write!(f, "{} ", format!("{:?}", self.kind).to_lowercase())?;
        }
        write!(f, "{}", self.dst)?;
        if let Some(src) = self.src {
            write!(f, " from {src}")?;
        }
        if let Some(id) = self.nexthop {
            write!(f, " nhid {id}")?;
        }
        for leg in &self.legs {
            if self.legs.len() > 1 {
                f.write_str(" nexthop")?;
            }
            if let Some(gateway) = leg.gateway {
                write!(f, " via {gateway}")?;
            }
            if let Some(link) = leg.link {
                write!(f, " dev #{link}")?;
            }
        }
        if self.priority != 0 {
            write!(f, " metric {}", self.priority)?;
        }
        if self.table != MAIN {
            write!(f, " table {}", self.table)?;
        }
        Ok(())
    }
}
