//! Counters under the kernel's own names, one block per worker, added to without sharing.
//!
//! A worker adds with plain loads and stores to its own block; anyone may read while it does, so a reader sees
//! each counter exact and the set a few packets apart. Called by `forward::act` (writes), `telemetry` (reads).

pub mod kernel;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Interfaces that can be counted separately; further ones share the last slot.
pub const MAX_SLOTS: usize = 256;

macro_rules! counters {
    ($(#[$meta:meta])* $name:ident { $($variant:ident)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the name is the kernel's own and says all")]
        pub enum $name { $($variant),* }

        impl $name {
            /// Every counter, in the order in which they are printed.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The name as `nstat` prints it.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => stringify!($variant)),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownCounter;
            fn from_str(s: &str) -> Result<Self, UnknownCounter> {
                Self::ALL.iter().copied().find(|c| c.name() == s).ok_or_else(|| UnknownCounter(s.into()))
            }
        }
    };
}

/// A counter name that is in no table here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown counter {0:?}: names are those that nstat prints, such as Ip6InReceives or IpExtInNoRoutes")]
pub struct UnknownCounter(pub String);

counters! {
    /// The MIB counters of `/proc/net/snmp6`, `/proc/net/snmp` and `/proc/net/netstat` that forwarding moves,
    /// named as `nstat` prints them (file section and column joined).
    Mib {
        Ip6InReceives Ip6InHdrErrors Ip6InTooBigErrors Ip6InNoRoutes Ip6InAddrErrors Ip6InUnknownProtos
        Ip6InTruncatedPkts Ip6InDiscards Ip6InDelivers Ip6OutForwDatagrams Ip6OutRequests Ip6OutDiscards
        Ip6OutNoRoutes Ip6ReasmReqds Ip6ReasmOKs Ip6FragOKs Ip6FragFails Ip6FragCreates Ip6InMcastPkts Ip6OutMcastPkts Ip6InOctets
        Ip6OutOctets Ip6InMcastOctets Ip6OutMcastOctets Ip6InNoECTPkts Ip6InECT1Pkts Ip6InECT0Pkts Ip6InCEPkts
        Ip6OutTransmits
        Icmp6InMsgs Icmp6InErrors Icmp6OutMsgs Icmp6OutErrors Icmp6InCsumErrors Icmp6OutRateLimitHost
        Icmp6InDestUnreachs Icmp6InPktTooBigs Icmp6InTimeExcds Icmp6InParmProblems Icmp6InEchos Icmp6InEchoReplies
        Icmp6InGroupMembQueries Icmp6InGroupMembResponses Icmp6InGroupMembReductions Icmp6InRouterSolicits
        Icmp6InRouterAdvertisements Icmp6InNeighborSolicits Icmp6InNeighborAdvertisements Icmp6InRedirects
        Icmp6InMLDv2Reports
        Icmp6InType1 Icmp6InType2 Icmp6InType3 Icmp6InType4 Icmp6InType128 Icmp6InType129 Icmp6InType130
        Icmp6InType131 Icmp6InType132 Icmp6InType133 Icmp6InType134 Icmp6InType135 Icmp6InType136 Icmp6InType137
        Icmp6InType143
        Icmp6OutDestUnreachs Icmp6OutPktTooBigs Icmp6OutTimeExcds Icmp6OutParmProblems Icmp6OutEchoReplies
        Icmp6OutNeighborSolicits Icmp6OutNeighborAdvertisements Icmp6OutRedirects
        Icmp6OutType1 Icmp6OutType2 Icmp6OutType3 Icmp6OutType4 Icmp6OutType129 Icmp6OutType135
        Icmp6OutType136 Icmp6OutType137
        IpInReceives IpInHdrErrors IpInAddrErrors IpForwDatagrams IpInUnknownProtos IpInDiscards IpInDelivers
        IpOutRequests IpOutDiscards IpOutNoRoutes IpReasmReqds IpFragOKs IpFragFails IpFragCreates IpOutTransmits
        IcmpInMsgs IcmpInErrors IcmpInCsumErrors IcmpInDestUnreachs IcmpInTimeExcds IcmpInParmProbs
        IcmpInSrcQuenchs IcmpInRedirects IcmpInEchos IcmpInEchoReps IcmpInTimestamps IcmpInTimestampReps
        IcmpInAddrMasks IcmpInAddrMaskReps
        IcmpMsgInType0 IcmpMsgInType3 IcmpMsgInType4 IcmpMsgInType5 IcmpMsgInType8 IcmpMsgInType11
        IcmpMsgInType12 IcmpMsgInType13 IcmpMsgInType14 IcmpMsgInType17 IcmpMsgInType18
        IcmpOutMsgs IcmpOutErrors IcmpOutRateLimitGlobal
        IcmpOutRateLimitHost IcmpOutDestUnreachs IcmpOutTimeExcds IcmpOutParmProbs IcmpOutRedirects
        IcmpOutEchoReps
        IcmpMsgOutType0 IcmpMsgOutType3 IcmpMsgOutType5 IcmpMsgOutType11 IcmpMsgOutType12
        IpExtInNoRoutes IpExtInTruncatedPkts IpExtInMcastPkts IpExtOutMcastPkts IpExtInBcastPkts IpExtOutBcastPkts
        IpExtInOctets IpExtOutOctets IpExtInMcastOctets IpExtOutMcastOctets IpExtInBcastOctets IpExtOutBcastOctets
        IpExtInCsumErrors IpExtInNoECTPkts IpExtInECT1Pkts IpExtInECT0Pkts IpExtInCEPkts
        TcpExtIPReversePathFilter
        TcpInSegs TcpOutSegs TcpInErrs TcpInCsumErrors TcpOutRsts
        UdpNoPorts UdpInErrors UdpInCsumErrors UdpIgnoredMulti
        Udp6NoPorts Udp6InErrors Udp6InCsumErrors Udp6IgnoredMulti
    }
}

counters! {
    /// What warren counts about itself; the kernel has no such counters.
    Own {
        FastPackets FullPackets LeftPackets HeldPackets HeldReleased HeldDropped RepliesSent RepliesUnsent
        ResolveAsked LimitReused ScratchFull TxFailed RxTruncated LapsedFrames
        CaptureLost
    }
}

counters! {
    /// Frames of one link, as `/proc/net/dev` and `ip -s link` count them.
    Link { RxPackets RxBytes RxDropped RxOtherhostDropped TxPackets TxBytes TxDropped }
}

impl Mib {
    /// Whether the kernel also keeps this counter per interface (`/proc/net/dev_snmp6/DEV`).
    pub fn per_interface(self) -> bool {
        self <= Mib::Icmp6OutType137 && self != Mib::Icmp6OutRateLimitHost
    }
}

/// One worker's counters. Only its worker adds; everyone may read.
#[derive(Debug)]
pub struct WorkerStats {
    netns: Box<[AtomicU64]>,
    own: Box<[AtomicU64]>,
    drops: Box<[AtomicU64]>,
    slots: Box<[IfaceStats]>,
}

#[derive(Debug)]
struct IfaceStats {
    mib: Box<[AtomicU64]>,
    link: Box<[AtomicU64]>,
}

fn zeroed(n: usize) -> Box<[AtomicU64]> {
    (0..n).map(|_| AtomicU64::new(0)).collect()
}

/// Adds without a locked instruction: sound because each block has one writer.
fn bump(cell: Option<&AtomicU64>, n: u64) {
    if let Some(c) = cell {
        c.store(c.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }
}

fn read(cells: &[AtomicU64]) -> Vec<u64> {
    cells.iter().map(|c| c.load(Ordering::Relaxed)).collect()
}

impl WorkerStats {
    /// Counters at zero; `reasons` is the number of drop reasons.
    pub fn new(reasons: usize) -> Self {
        let slot = |_| IfaceStats { mib: zeroed(Mib::ALL.len()), link: zeroed(Link::ALL.len()) };
        WorkerStats {
            netns: zeroed(Mib::ALL.len()),
            own: zeroed(Own::ALL.len()),
            drops: zeroed(reasons),
            slots: (0..MAX_SLOTS).map(slot).collect(),
        }
    }

    /// Adds to the netns-wide counter and, where the kernel keeps one, to that of the interface in `slot`.
    pub fn mib(&self, m: Mib, slot: Option<u16>, n: u64) {
        bump(self.netns.get(m as usize), n);
        if let (true, Some(s)) = (m.per_interface(), slot) {
            bump(self.slot(s).and_then(|s| s.mib.get(m as usize)), n);
        }
    }

    /// Adds to a counter of a link.
    pub fn link(&self, l: Link, slot: u16, n: u64) {
        bump(self.slot(slot).and_then(|s| s.link.get(l as usize)), n);
    }

    /// Adds to one of warren's own counters.
    pub fn own(&self, o: Own, n: u64) {
        bump(self.own.get(o as usize), n);
    }

    /// One of warren's own values now: a copy of all takes long.
    pub fn own_now(&self, o: Own) -> u64 {
        self.own.get(o as usize).map_or(0, |value| value.load(Ordering::Relaxed))
    }

    /// Counts a packet dropped for the reason with this index.
    pub fn drop(&self, reason: usize) {
        bump(self.drops.get(reason), 1);
    }

    fn slot(&self, s: u16) -> Option<&IfaceStats> {
        self.slots.get(usize::from(s).min(MAX_SLOTS - 1))
    }

    /// A copy of all values now.
    pub fn snapshot(&self) -> Counts {
        let slots = self.slots.iter().map(|s| (read(&s.mib), read(&s.link)));
        let slots = slots.enumerate().filter(|(_, (m, l))| m.iter().chain(l).any(|&v| v != 0));
        Counts {
            netns: read(&self.netns),
            own: read(&self.own),
            drops: read(&self.drops),
            slots: slots.map(|(i, v)| (i as u16, v)).collect(),
        }
    }
}

/// Values copied out of one worker, or summed over several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    netns: Vec<u64>,
    own: Vec<u64>,
    drops: Vec<u64>,
    slots: std::collections::BTreeMap<u16, (Vec<u64>, Vec<u64>)>,
}

fn at(v: &[u64], i: usize) -> u64 {
    v.get(i).copied().unwrap_or(0)
}

fn zip_into(a: &mut Vec<u64>, b: &[u64], f: fn(u64, u64) -> u64) {
    a.resize(a.len().max(b.len()), 0);
    for (x, y) in a.iter_mut().zip(b) {
        *x = f(*x, *y);
    }
}

impl Counts {
    /// The netns-wide value.
    pub fn mib(&self, m: Mib) -> u64 {
        at(&self.netns, m as usize)
    }

    /// The value of one interface.
    pub fn mib_on(&self, slot: u16, m: Mib) -> u64 {
        self.slots.get(&slot).map_or(0, |s| at(&s.0, m as usize))
    }

    /// A link counter of one interface.
    pub fn link(&self, slot: u16, l: Link) -> u64 {
        self.slots.get(&slot).map_or(0, |s| at(&s.1, l as usize))
    }

    /// One of warren's own counters.
    pub fn own(&self, o: Own) -> u64 {
        at(&self.own, o as usize)
    }

    /// Packets dropped for the reason with this index.
    pub fn drops(&self, reason: usize) -> u64 {
        at(&self.drops, reason)
    }

    /// Interface slots that counted anything.
    pub fn slots(&self) -> impl Iterator<Item = u16> + '_ {
        self.slots.keys().copied()
    }

    /// Adds another worker's values.
    pub fn add(&mut self, other: &Counts) {
        self.merge(other, u64::wrapping_add);
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Counts) -> Counts {
        let mut d = self.clone();
        d.merge(earlier, u64::wrapping_sub);
        d
    }

    fn merge(&mut self, other: &Counts, f: fn(u64, u64) -> u64) {
        zip_into(&mut self.netns, &other.netns, f);
        zip_into(&mut self.own, &other.own, f);
        zip_into(&mut self.drops, &other.drops, f);
        for (slot, (mib, link)) in &other.slots {
            let mine = self.slots.entry(*slot).or_default();
            zip_into(&mut mine.0, mib, f);
            zip_into(&mut mine.1, link, f);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernels_and_unique() {
        let mut names: Vec<_> = Mib::ALL.iter().map(|m| m.name()).collect();
        assert_eq!("Ip6InReceives".parse::<Mib>(), Ok(Mib::Ip6InReceives));
        assert!("Ip6InReceive".parse::<Mib>().is_err());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Mib::ALL.len());
    }

    #[test]
    fn only_ipv6_counters_have_an_interface() {
        let s = WorkerStats::new(1);
        s.mib(Mib::Ip6InReceives, Some(3), 2);
        s.mib(Mib::IpInReceives, Some(3), 5);
        s.mib(Mib::Icmp6OutRateLimitHost, Some(3), 1);
        let c = s.snapshot();
        assert_eq!((c.mib(Mib::Ip6InReceives), c.mib_on(3, Mib::Ip6InReceives)), (2, 2));
        assert_eq!((c.mib(Mib::IpInReceives), c.mib_on(3, Mib::IpInReceives)), (5, 0));
        assert_eq!(c.mib_on(3, Mib::Icmp6OutRateLimitHost), 0);
    }

    #[test]
    fn difference_and_sum() {
        let (a, b) = (WorkerStats::new(2), WorkerStats::new(2));
        a.own(Own::FastPackets, 7);
        let before = a.snapshot();
        a.own(Own::FastPackets, 3);
        a.link(Link::RxPackets, 9, 4);
        a.drop(1);
        b.link(Link::RxPackets, 9, 1);
        let mut sum = a.snapshot().since(&before);
        sum.add(&b.snapshot());
        assert_eq!((sum.own(Own::FastPackets), sum.link(9, Link::RxPackets), sum.drops(1)), (3, 5, 1));
        assert_eq!(sum.slots().collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn a_slot_beyond_the_limit_shares_the_last() {
        let s = WorkerStats::new(0);
        s.link(Link::TxBytes, u16::MAX, 8);
        assert_eq!(s.snapshot().link(MAX_SLOTS as u16 - 1, Link::TxBytes), 8);
    }
}
