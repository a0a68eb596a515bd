//! System calls that no library wraps, and network namespaces. Floor 1, home of `unsafe`.
pub mod bpf;
