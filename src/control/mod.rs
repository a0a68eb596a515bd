//! The control thread: mirrors the kernel, takes over forwarding and gives it back. Floor 4, never touches frames.

pub mod choose;
pub mod crew;
pub mod grip;
pub mod guard;
pub mod live;
pub mod netlink;
pub mod rings;
pub mod sync;
