//! The guard in network namespaces: what it drops, how it ends, and what it finds of other people's filters.
//! Needs root, iproute2 (`ip`, `tc`), nftables (`nft`) and iptables (`iptables-legacy`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // clippy exempts only functions marked #[test]

mod drops;
mod ends;
mod finds;
mod gate;
mod net;
