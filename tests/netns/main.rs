//! The whole program between real hosts, with the tools that people use: two hosts and a router in network namespaces,
//! `warren run` as the router. Needs root and the packages that `tests/run machine` installs.
//!
//! In each test the kernel's own forwarding counters do not move, and warren's equal what the hosts saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // clippy exempts only functions marked #[test]

mod dead;
mod demo;
mod frames;
mod ip4;
mod net;
mod pace;
mod reach;
mod split;
mod transfer;
