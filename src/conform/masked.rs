//! How much a comparison leaves out, by the name of the reason. Called by all that take something out of it.

use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::AddAssign;

/// Random numbers, clocks and sums that a network card would make.
pub const IDENTIFICATION: &str = "identification";
pub const TCP_CHECKSUM: &str = "tcp checksum";
pub const TIMESTAMP: &str = "timestamp";
pub const FRAGMENT: &str = "fragment identification";
/// What the router says on its own account.
pub const ARP: &str = "ARP";
pub const SOLICITATION: &str = "neighbour solicitation";
pub const ROUTER_SOLICITATION: &str = "router solicitation";
pub const REPORT: &str = "multicast listener report";
/// Counters that warren does not have.
pub const REASSEMBLY: &str = "counters of reassembly";
pub const UNNAMED: &str = "counters of unnamed ICMP types";
/// What comes of the kernel's timers.
pub const ORDER: &str = "order of answers after a wait";
pub const ONCE: &str = "box where a second kernel run agreed";

/// All that is not compared: its name, and why.
pub const MASKS: [(&str, &str); 12] = [
    (IDENTIFICATION, "of ICMP messages that the router makes: the kernel's are random"),
    (TCP_CHECKSUM, "of resets over IPv6, which the kernel leaves to the network card: completed first"),
    (
        TIMESTAMP,
        "in IPv4 options, and the checksum of a quoted header: the kernel's clock is not the capture's",
    ),
    (FRAGMENT, "of IPv6 packets that the router makes and cuts: the kernel's are random"),
    (ARP, "of the router's own: when it asks and answers depends on its timers"),
    (SOLICITATION, "with its counters: when the router asks depends on its timers"),
    (ROUTER_SOLICITATION, "with its counters: it comes by a timer"),
    (REPORT, "with its counters: it comes by a timer, after a time drawn by lot"),
    (REASSEMBLY, "that failed or ended: the host behind puts fragments together; how many came is compared"),
    (UNNAMED, "which have a number only; Icmp6InMsgs and IcmpInMsgs, which count them as well, are compared"),
    (
        ORDER,
        "of next hops that fail: the kernel's timers end in no fixed order; what is answered is compared",
    ),
    (ONCE, "and its frames that differed: a timer of the kernel's own fell into the first run"),
];

/// What one mask hides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hidden {
    /// Frames that it touches.
    pub frames: usize,
    /// Bytes of those that are not compared; none if only their order is not.
    pub bytes: usize,
}

impl AddAssign for Hidden {
    fn add_assign(&mut self, more: Hidden) {
        self.frames += more.frames;
        self.bytes += more.bytes;
    }
}

/// What all masks hide, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masked(pub BTreeMap<&'static str, Hidden>);

impl Masked {
    /// Adds frames with so many hidden bytes in all.
    pub fn add(&mut self, name: &'static str, frames: usize, bytes: usize) {
        *self.0.entry(name).or_default() += Hidden { frames, bytes };
    }

    /// Adds all that others hide.
    pub fn merge(&mut self, others: &Masked) {
        others.0.iter().for_each(|(name, hidden)| self.add(name, hidden.frames, hidden.bytes));
    }
}
