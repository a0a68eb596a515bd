//! The forwarding path on many generated frames: fast path against full path, and hostile bytes.
//!
//! `WARREN_FRAMES` sets how many frames each property takes (default 100,000; the long run is 1,000,000), and
//! `WARREN_SEED` the seed, which every failure prints.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a property that cannot run must fail

mod agree;
mod frames;
mod hostile;
mod router;
