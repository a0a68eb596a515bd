//! What can go wrong in this crate, besides a malformed prefix.
//!
//! Invariant: after an error nothing has changed.

/// Why a change or a reader was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FibError {
    /// A route or a group names a nexthop object that does not exist.
    #[error("{user} names nexthop object {id}, which does not exist; add the object first")]
    UnknownNexthop {
        /// The route or group.
        user: String,
        /// The id it names.
        id: u32,
    },
    /// A group has a member that is itself a group, or a resilient bucket names no member.
    #[error(
        "nexthop group {group} cannot use nexthop object {id}; members are single next hops, buckets name members"
    )]
    NotAMember {
        /// The group.
        group: u32,
        /// The id it names.
        id: u32,
    },
    /// More different path sets in one family than leaves can name.
    #[error(
        "{prefix}: the {limit} path sets of this family are used up; use fewer different sets of attributes and next hops"
    )]
    PathSets {
        /// The route's prefix.
        prefix: String,
        /// How many there can be.
        limit: usize,
    },
    /// More /24 with longer prefixes in them than the IPv4 tables can number.
    #[error(
        "{prefix}: 32767 networks of 24 bits have longer prefixes already; remove routes longer than /24"
    )]
    Places {
        /// The route's prefix.
        prefix: String,
    },
    /// More different next-hop groups than the table holds.
    #[error("{user}: all {limit} next-hop groups are used up; use fewer different sets of next hops")]
    Groups {
        /// The route or object.
        user: String,
        /// How many there can be.
        limit: usize,
    },
    /// More different pairs of interface and gateway than the table holds.
    #[error("interface {oif}: all {limit} adjacencies are used up; use fewer gateways")]
    Adjacencies {
        /// The output interface.
        oif: u32,
        /// How many there can be.
        limit: usize,
    },
    /// More routing tables than the directory holds.
    #[error(
        "table {table}: there are {limit} routing tables already; remove routes of tables that are not used"
    )]
    Tables {
        /// The table's id.
        table: u32,
        /// How many there can be.
        limit: usize,
    },
    /// All reader lines are taken.
    #[error("all {limit} readers are in use; drop one, or create the FIB with room for more")]
    Readers {
        /// How many there can be.
        limit: usize,
    },
}
