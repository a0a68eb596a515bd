//! The mirror against the kernel: after real `ip` commands it must be what a fresh dump shows, and look up as the kernel does.
//! Needs root, for network namespaces, and iproute2.

mod lab;
mod load;
mod lookup;
mod random;
mod rows;
mod values;
