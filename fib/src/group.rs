//! Next-hop groups: the members a packet is spread over, and the kernel's way to choose among them.
//!
//! Invariant: a published group never changes; link and nexthop events put a new record in the slot, so their cost is
//! the number of groups, not of routes. The choice follows the kernel bit for bit: fib_rebalance, rt6_upper_bound_set and
//! nh_group_rebalance for the bounds; fib_select_multipath, fib6_select_path and nexthop_select_path for the choice.

use std::net::IpAddr;

use crate::adjacency::AdjacencyId;

/// Names a slot in the group table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// One next hop of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where frames go.
    pub adjacency: AdjacencyId,
    /// Output interface index.
    pub oif: u32,
    /// Gateway; `None` if the destination is on the link.
    pub via: Option<IpAddr>,
    /// Id of the nexthop object that it is; 0 if it is a next hop of a route itself.
    pub object: u32,
    /// Share of the traffic, 1 or more.
    pub weight: u16,
    /// The member takes hashes up to this 31-bit value that no earlier member takes; -1 if it takes none.
    pub upper: i32,
    /// The interface is down, or for IPv4 without an address (`RTNH_F_DEAD`).
    pub dead: bool,
    /// The interface has no carrier (`RTNH_F_LINKDOWN`). Excluded only where a sysctl says so.
    pub linkdown: bool,
    /// The gateway is taken to be on the link (`RTNH_F_ONLINK`).
    pub onlink: bool,
    /// A lightweight tunnel, which warren does not carry.
    pub encap: bool,
}

/// Where a group comes from, which decides how a member is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// Next hops of the route itself, or a nexthop object that is no group.
    Plain,
    /// A nexthop object: hash-threshold group.
    Object {
        /// Its id in the kernel.
        id: u32,
    },
    /// A nexthop object: resilient group.
    Resilient {
        /// Its id in the kernel.
        id: u32,
        /// Index into `members` for each bucket.
        buckets: Box<[u16]>,
    },
    /// A blackhole nexthop object: discard in silence. Not dead, and has no members.
    Blackhole,
}

/// The next hops of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// How to choose.
    pub kind: GroupKind,
    /// The members in the kernel's order.
    pub members: Box<[Member]>,
    /// No member can be used: a lookup that ends here goes on with the next path or the next shorter prefix.
    pub dead: bool,
    /// It is a nexthop object, of one hop or several, and not the hops of a route.
    pub object: bool,
}

impl Group {
    /// Chooses a member for a 31-bit hash (top bit clear) and gives its index; `None` if there is nothing to choose from.
    ///
    /// `good` tells whether a member's neighbour can be used; what it means depends on the kind:
    ///
    /// - [`GroupKind::Plain`]: true for every member, except for an IPv4 route while `fib_multipath_use_neigh` is set. Then
    ///   it is the kernel's fib_good_nh: no entry for the neighbour, or a valid one.
    /// - [`GroupKind::Object`]: always the neighbour test, no sysctl governs it (nexthop_is_good_nh).
    /// - [`GroupKind::Resilient`]: not asked; the bucket decides.
    ///
    /// One pass over the members; no allocation.
    pub fn select(&self, hash31: u32, good: impl Fn(&Member) -> bool) -> Option<usize> {
        match &self.kind {
            GroupKind::Plain => {
                // fib_select_multipath: if no member is good, what the lookup chose stays: the first usable one.
                let usable = |member: &Member| member.upper >= 0;
                self.by_bound(hash31, |member| usable(member) && good(member))
                    .or_else(|| self.members.iter().position(usable))
            }
            GroupKind::Object { .. } => {
                // nexthop_select_path_hthr: if no member is good, the first one, good or not.
                self.by_bound(hash31, good).or(if self.members.is_empty() { None } else { Some(0) })
            }
            GroupKind::Resilient { buckets, .. } => {
                // nexthop_select_path_res.
                let bucket = (hash31 as usize).checked_rem(buckets.len())?;
                let index = usize::from(*buckets.get(bucket)?);
                (index < self.members.len()).then_some(index)
            }
            GroupKind::Blackhole => None,
        }
    }

    /// The first good member whose bound reaches the hash, else the first good one.
    fn by_bound(&self, hash31: u32, good: impl Fn(&Member) -> bool) -> Option<usize> {
        let mut first = None;
        for (index, member) in self.members.iter().enumerate() {
            if !good(member) {
                continue;
            }
            if i64::from(hash31) <= i64::from(member.upper) {
                return Some(index);
            }
            first = first.or(Some(index));
        }
        first
    }
}

/// Sets `upper` of every member from the weights of those that `counts` lets in; the others get -1.
///
/// The bound is `2^31 * cumulative / total`, rounded half up, minus 1 (DIV_ROUND_CLOSEST_ULL in fib_rebalance).
pub(crate) fn set_bounds(members: &mut [Member], counts: impl Fn(&Member) -> bool) {
    let total: u64 =
        members.iter().filter(|member| counts(member)).map(|member| u64::from(member.weight)).sum();
    let mut cumulative = 0;
    for member in members {
        member.upper = -1;
        if counts(member) {
            cumulative += u64::from(member.weight);
            // At most 2^31 because cumulative <= total, so the bound fits an i32.
            let share = ((cumulative << 31) + total / 2).checked_div(total).unwrap_or(0);
            member.upper = i32::try_from(share.saturating_sub(1)).unwrap_or(i32::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(weights: &[u16]) -> Box<[Member]> {
        weights
            .iter()
            .zip(1..)
            .map(|(&weight, oif)| Member {
                adjacency: AdjacencyId(oif),
                oif,
                via: None,
                weight,
                upper: 0,
                dead: false,
                linkdown: false,
                object: 0,
                onlink: false,
                encap: false,
            })
            .collect()
    }

    fn group(kind: GroupKind, weights: &[u16], excluded: &[u32]) -> Group {
        let mut members = members(weights);
        set_bounds(&mut members, |member| !excluded.contains(&member.oif));
        Group { kind, members, dead: false, object: false }
    }

    fn bounds(weights: &[u16], excluded: &[u32]) -> Vec<i32> {
        group(GroupKind::Plain, weights, excluded).members.iter().map(|member| member.upper).collect()
    }

    #[test]
    fn bounds_are_those_worked_out_by_hand() {
        // 2^31 = 2147483648.
        assert_eq!(bounds(&[1], &[]), [0x7fff_ffff]);
        assert_eq!(bounds(&[1, 1], &[]), [0x3fff_ffff, 0x7fff_ffff]);
        // A third is 715827882.67, rounded up to ..883; two thirds are 1431655765.33, rounded down.
        assert_eq!(bounds(&[1, 1, 1], &[]), [715_827_882, 1_431_655_764, 0x7fff_ffff]);
        // 2/7 = 613566756.57 rounds up.
        assert_eq!(bounds(&[2, 5], &[]), [613_566_756, 0x7fff_ffff]);
        assert_eq!(bounds(&[1, 2, 1], &[2]), [0x3fff_ffff, -1, 0x7fff_ffff]);
        assert_eq!(bounds(&[3, 4], &[1, 2]), [-1, -1]);
        assert_eq!(bounds(&[65535, 1], &[]), [0x7fff_7fff, 0x7fff_ffff]);
    }

    #[test]
    fn plain_takes_the_first_bound_that_reaches_the_hash() {
        let group = group(GroupKind::Plain, &[1, 2, 1], &[2]);
        assert_eq!(group.select(0, |_| true), Some(0));
        assert_eq!(group.select(0x3fff_ffff, |_| true), Some(0));
        assert_eq!(group.select(0x4000_0000, |_| true), Some(2));
        assert_eq!(group.select(0x7fff_ffff, |_| true), Some(2));
    }

    #[test]
    fn plain_with_bad_neighbours_falls_back_as_the_kernel() {
        let group = group(GroupKind::Plain, &[1, 1, 1, 1], &[1]);
        // The hashed one is bad: the next good one that reaches the hash.
        assert_eq!(group.select(0, |member| member.oif != 2), Some(2));
        // None behind it is good: the first good one.
        assert_eq!(group.select(0x7fff_ffff, |member| member.oif == 2), Some(1));
        // None is good: the first usable one, never the excluded first member.
        assert_eq!(group.select(0x7fff_ffff, |_| false), Some(1));
    }

    #[test]
    fn objects_always_ask_and_end_at_member_zero() {
        let group = group(GroupKind::Object { id: 1 }, &[1, 1, 1], &[]);
        assert_eq!(group.select(0, |_| true), Some(0));
        assert_eq!(group.select(0, |member| member.oif != 1), Some(1));
        assert_eq!(group.select(0x7fff_ffff, |member| member.oif != 3), Some(0));
        assert_eq!(group.select(0x7fff_ffff, |_| false), Some(0));
    }

    #[test]
    fn resilient_buckets_decide_alone() {
        let kind = GroupKind::Resilient { id: 1, buckets: Box::new([1, 0, 1, 9]) };
        let group = group(kind, &[1, 1], &[]);
        assert_eq!(group.select(4, |_| false), Some(1));
        assert_eq!(group.select(5, |_| false), Some(0));
        assert_eq!(group.select(3, |_| true), None, "a bucket that names no member");
    }

    #[test]
    fn nothing_to_choose_from() {
        for kind in [
            GroupKind::Plain,
            GroupKind::Object { id: 1 },
            GroupKind::Resilient { id: 1, buckets: Box::new([]) },
            GroupKind::Blackhole,
        ] {
            assert_eq!(group(kind, &[], &[]).select(7, |_| true), None);
        }
    }

    #[test]
    fn shares_follow_the_weights_and_every_hash_finds_a_member() {
        bolero::check!().with_type::<(Vec<u16>, u32)>().for_each(|(weights, hash)| {
            let weights: Vec<u16> = weights.iter().map(|weight| weight | 1).collect();
            let group = group(GroupKind::Plain, &weights, &[]);
            let chosen = group.select(hash >> 1, |_| true);
            assert_eq!(chosen.is_some(), !weights.is_empty());
            assert!(group.members.is_sorted_by_key(|member| member.upper));
            assert!(group.members.last().is_none_or(|last| last.upper == i32::MAX));
        });
    }
}
