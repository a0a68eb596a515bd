//! The guard in network namespaces: what it drops, how it ends, and what it finds of other people's filters.
//! Needs root, iproute2 (`ip`, `tc`), nftables (`nft`) and iptables (`iptables-legacy`).

mod drops;
mod ends;
mod gate;
mod net;
