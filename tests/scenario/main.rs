//! Scenarios against a kernel namespace that was given the same with `ip`: both must hold the same routes, groups,
//! address order and nexthop buckets, and take the same values; and a snapshot of the namespace must load to what the kernel holds. Needs root.
#![allow(clippy::unwrap_used, clippy::panic)] // what a test needs and does not get fails it

mod derive;
mod document;
mod kernel;
mod limits;
mod snapshot;
