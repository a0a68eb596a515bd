//! The forwarding tables of warren: longest-prefix match, path sets, next-hop groups, and the kernel's choice among them.
//!
//! One [`Writer`] follows the kernel's routes, links, neighbours and nexthop objects; any number of [`Reader`]s look up
//! without ever waiting. No I/O, no packets, no clock.
//!
//! A lookup goes prefix -> [`PathSet`] -> [`Group`] -> [`Member`] -> [`Adjacency`]. Each arrow is a number, so that one
//! record changes when a neighbour, a link or a nexthop object does, however many routes lie above it.
//!
//! ```
//! use std::net::Ipv4Addr;
//! use warren_fib::{Hops, LinkState, Place, Route};
//!
//! let (mut writer, fib) = warren_fib::new(4);
//! let gateway = |last| Some(Ipv4Addr::new(192, 0, 2, last).into());
//! writer.insert(Route::<Ipv4Addr>::new("10.0.0.0/8".parse()?, Hops::one(2, gateway(1))), Place::New)?;
//! writer.insert(Route::<Ipv4Addr>::new("10.1.0.0/16".parse()?, Hops::one(3, gateway(2))), Place::New)?;
//!
//! let mut reader = fib.reader()?;
//! let usable = |view: &warren_fib::View<'_>| -> Vec<u8> {
//!     let Some(main) = view.table::<Ipv4Addr>(254) else { return vec![] };
//!     let live = main.lookup(Ipv4Addr::new(10, 1, 2, 3)).filter(|(_, set)| {
//!         let group = set.paths[0].group.and_then(|id| view.group(id));
//!         group.is_some_and(|group| !group.dead)
//!     });
//!     live.map(|(len, _)| len).collect()
//! };
//! assert_eq!(usable(&reader.pin()), [16, 8]);
//!
//! // Interface 3 goes down: the longer prefix is dead at once, and cleared away in slices.
//! writer.set_link(LinkState { index: 3, up: false, carrier: false, ignore_linkdown4: false, ignore_linkdown6: false });
//! assert_eq!(usable(&reader.pin()), [8]);
//! while writer.withdraw(1000) {}
//! writer.publish();
//! assert_eq!(writer.routes::<Ipv4Addr>().count(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::indexing_slicing))]

mod adjacency;
mod aliases;
mod arena;
mod direct;
mod error;
mod forest;
mod granules;
mod group;
mod ip;
mod lpm;
mod multipath;
mod neighbours;
mod numbers;
mod path;
mod prefix;
#[cfg(loom)]
#[doc(hidden)]
pub mod publish;
#[cfg(not(loom))]
mod publish;
mod rib;
mod route;
mod rules;
mod sync;
mod trie;
mod view;
mod writer;

pub use adjacency::{Adjacency, AdjacencyId, Neighbour, Nud};
pub use aliases::Place;
pub use error::FibError;
pub use group::{Group, GroupId, GroupKind, Member};
pub use ip::Ip;
pub use multipath::{Addrs, FlowKeys, hash31, hash32, jhash_2words};
pub use neighbours::NeighbourEntry;
pub use path::{Path, PathSet, PathSetId, Pref, RouteType};
pub use prefix::{Prefix, PrefixError};
pub use route::{Hop, Hops, NexthopBody, NexthopObject, Route};
pub use rules::{
    DETACHED, Matching, Rule, RuleAction, RuleKey, Rules, TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN,
};
pub use view::{Fib, Matches, READERS_MAX, Reader, TableRef, View};
pub use writer::{LinkState, Writer, new};
