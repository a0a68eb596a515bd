//! warren: a userspace packet-forwarding dataplane for Linux.
//!
//! Modules stand on floors; imports go downwards only (ARCHITECTURE.md, checked by `tests/layers.rs`).
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod cli;
pub mod conform;
pub mod control;
pub mod drop;
pub mod forward;
pub mod frame;
pub mod host;
pub mod iface;
pub mod neigh;
pub mod port;
pub mod scenario;
pub mod state;
pub mod stats;
pub mod sys;
pub mod sysctl;
pub mod telemetry;
pub mod wire;
pub mod worker;
