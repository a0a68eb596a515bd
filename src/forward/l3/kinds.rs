//! What is counted of ICMP messages for this host by their type, under its name and under its number. Types that the kernel
//! has no name for are not counted here. Called by the host, and where a broadcast of its own is heard.
//!
//! Linux: ICMPMSGIN_INC_STATS in icmp_rcv, ICMP6MSGIN_INC_STATS in icmpv6_rcv.

use crate::stats::Mib;

/// The counters of an ICMP type.
pub fn of4(kind: u8) -> &'static [Mib] {
    match kind {
        0 => &[Mib::IcmpInEchoReps, Mib::IcmpMsgInType0],
        3 => &[Mib::IcmpInDestUnreachs, Mib::IcmpMsgInType3],
        4 => &[Mib::IcmpInSrcQuenchs, Mib::IcmpMsgInType4],
        5 => &[Mib::IcmpInRedirects, Mib::IcmpMsgInType5],
        8 => &[Mib::IcmpInEchos, Mib::IcmpMsgInType8],
        11 => &[Mib::IcmpInTimeExcds, Mib::IcmpMsgInType11],
        12 => &[Mib::IcmpInParmProbs, Mib::IcmpMsgInType12],
        13 => &[Mib::IcmpInTimestamps, Mib::IcmpMsgInType13],
        14 => &[Mib::IcmpInTimestampReps, Mib::IcmpMsgInType14],
        17 => &[Mib::IcmpInAddrMasks, Mib::IcmpMsgInType17],
        18 => &[Mib::IcmpInAddrMaskReps, Mib::IcmpMsgInType18],
        _ => &[],
    }
}

/// The counters of an ICMPv6 type.
pub fn of6(kind: u8) -> &'static [Mib] {
    match kind {
        1 => &[Mib::Icmp6InDestUnreachs, Mib::Icmp6InType1],
        2 => &[Mib::Icmp6InPktTooBigs, Mib::Icmp6InType2],
        3 => &[Mib::Icmp6InTimeExcds, Mib::Icmp6InType3],
        4 => &[Mib::Icmp6InParmProblems, Mib::Icmp6InType4],
        128 => &[Mib::Icmp6InEchos, Mib::Icmp6InType128],
        129 => &[Mib::Icmp6InEchoReplies, Mib::Icmp6InType129],
        130 => &[Mib::Icmp6InGroupMembQueries, Mib::Icmp6InType130],
        131 => &[Mib::Icmp6InGroupMembResponses, Mib::Icmp6InType131],
        132 => &[Mib::Icmp6InGroupMembReductions, Mib::Icmp6InType132],
        133 => &[Mib::Icmp6InRouterSolicits, Mib::Icmp6InType133],
        134 => &[Mib::Icmp6InRouterAdvertisements, Mib::Icmp6InType134],
        135 => &[Mib::Icmp6InNeighborSolicits, Mib::Icmp6InType135],
        136 => &[Mib::Icmp6InNeighborAdvertisements, Mib::Icmp6InType136],
        137 => &[Mib::Icmp6InRedirects, Mib::Icmp6InType137],
        143 => &[Mib::Icmp6InMLDv2Reports, Mib::Icmp6InType143],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_in_the_name_is_the_type() {
        for kind in 0..=u8::MAX {
            for (counters, prefix) in [(of4(kind), "IcmpMsgInType"), (of6(kind), "Icmp6InType")] {
                let number = counters.last().and_then(|mib| mib.name().strip_prefix(prefix));
                assert!(counters.is_empty() || number == Some(&kind.to_string()), "{kind}: {counters:?}");
            }
        }
        let named = (0..=u8::MAX).flat_map(|kind| [of4(kind), of6(kind)]).flatten().count();
        let all = Mib::ALL.iter().filter(|mib| mib.name().contains("InType")).count();
        assert_eq!(named, 2 * all);
    }
}
