//! The mirror against the kernel: after real `ip` commands it must be what a fresh dump shows, and look up as the kernel does.
//! Needs root, for network namespaces, and iproute2.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // clippy exempts only functions marked #[test]

mod lab;
mod load;
mod lookup;
mod random;
mod rows;
mod values;
