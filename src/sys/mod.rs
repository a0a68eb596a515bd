//! System calls that no library wraps, and network namespaces. Floor 1, home of `unsafe`.

pub mod bpf;
pub mod netns;
pub mod packet;
pub mod sched;
pub mod tun;
pub mod userns;
