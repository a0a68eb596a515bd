//! Header views, checksums and the flow dissector. Floor 1: knows bytes, nothing else.
//!
//! Every header is a `#[repr(C)]`, unaligned, big-endian struct read in place with [`zerocopy`]:
//! `Ip6Hdr::ref_from_prefix(bytes)` gives the header and what follows it, `mut_from_prefix` the same for
//! writing. Both fail, and never panic, when the bytes are too few.
//!
//! Invariant: bytes are hostile. Each function here is total: any bytes of any length give an answer, no
//! read goes past the end, and a length field found in a packet is a claim until it has been checked.
//! Called by the forwarding path, by the local host of standalone mode, and by tests that make frames.

pub mod arp;
pub mod csum;
pub mod dissect;
pub mod eth;
pub mod icmp;
pub mod ip4;
pub mod ip6;
pub mod l4;
pub mod ndisc;
pub mod proto;

#[cfg(test)]
mod tests;
