//! warren: a userspace packet-forwarding dataplane for Linux.
//!
//! Modules stand on floors; imports go downwards only (ARCHITECTURE.md, checked by `tests/layers.rs`).
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod control;
pub mod drop;
pub mod frame;
pub mod port;
pub mod stats;
pub mod sys;
pub mod wire;
