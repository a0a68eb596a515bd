//! `log_martians`: a line for a packet whose source or destination cannot be, in the kernel's words and at its rate.
//! RFC 1812 5.3.7 and 5.3.8; Linux: ip_handle_martian_source, ip_route_input_slow, net_ratelimit.
//!
//! Invariant: a note takes no memory and never waits; who owns the forwarder takes the lines between two batches.

use super::super::ctx::{Env, Nanos};
use crate::drop::DropReason as D;
use crate::iface::Iface;
use crate::sysctl::combine;
use crate::wire::ip4::Ip4Hdr;
use arrayvec::{ArrayString, ArrayVec};
use std::fmt::Write;
use zerocopy::FromBytes;

/// So many lines in so much time (`net.core.message_burst`, `message_cost`, as they are by default).
const BURST: usize = 10;
const WINDOW: Nanos = 5_000_000_000;

/// A line: two addresses and the name of an interface fit.
pub type Line = ArrayString<112>;

/// Lines that wait to be said, and how many were lately.
#[derive(Debug, Default)]
pub struct Martians {
    lines: ArrayVec<Line, BURST>,
    began: Option<Nanos>,
    said: usize,
}

impl Martians {
    /// Notes a packet, given from its IP header on, that was dropped for this reason.
    pub fn note(&mut self, env: Env<'_>, iif: &Iface, reason: D, packet: &[u8]) {
        if !combine::or(env.state.sysctl.all4.log_martians, iif.conf4.log_martians) {
            return;
        }
        let Ok((hdr, _)) = Ip4Hdr::ref_from_prefix(packet) else { return };
        let (src, dst, dev) = (hdr.src(), hdr.dst(), &iif.name);
        // Of packets for groups the kernel says nothing.
        let unicast = !dst.is_multicast();
        let mut line = Line::new();
        let fits = match reason {
            D::V4DestinationInvalid => write!(line, "martian destination {dst} from {src}, dev {dev}"),
            D::V4Localnet if dst.is_loopback() => {
                write!(line, "martian destination {dst} from {src}, dev {dev}")
            }
            D::V4SourceInvalid | D::V4Localnet | D::V4SourceLocal | D::V4ReversePath if unicast => {
                write!(line, "martian source {dst} from {src}, on dev {dev}")
            }
            D::V4SourceRouteOff => write!(line, "source route option {src} -> {dst}"),
            _ => return,
        };
        if fits.is_ok() && self.may_say(env.now) {
            // Full only if nobody takes the lines.
            let _ = self.lines.try_push(line);
        }
    }

    fn may_say(&mut self, now: Nanos) -> bool {
        if self.began.is_none_or(|began| now.saturating_sub(began) >= WINDOW) {
            (self.began, self.said) = (Some(now), 0);
        }
        self.said += 1;
        self.said <= BURST
    }

    /// Takes the lines, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Line> + '_ {
        self.lines.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testkit::{Bench, P0, udp4};
    use super::*;

    /// The lines about a packet that was dropped for `reason`.
    fn lines(bench: &Bench, martians: &mut Martians, (reason, src, dst): (D, &str, &str)) -> Vec<String> {
        bench.with(|env| {
            let iif = env.state.ifaces.get(P0).unwrap();
            martians.note(env, iif, reason, &udp4(src, dst, 64, 60));
        });
        martians.drain().map(|line| line.to_string()).collect()
    }

    #[test]
    fn says_what_the_kernel_says_where_asked_for() {
        let mut bench = Bench::new();
        let mut martians = Martians::default();
        let far = (D::V4SourceInvalid, "0.0.0.0", "10.9.0.7");
        assert!(lines(&bench, &mut martians, far).is_empty());
        bench.writer.update_iface(P0, |i| i.conf4.log_martians = 1);
        bench.writer.publish();
        for (packet, said) in [
            (far, "martian source 10.9.0.7 from 0.0.0.0, on dev p0"),
            ((D::V4Localnet, "10.0.1.1", "127.0.0.1"), "martian destination 127.0.0.1 from 10.0.1.1, dev p0"),
            ((D::V4SourceRouteOff, "10.0.1.1", "10.9.0.7"), "source route option 10.0.1.1 -> 10.9.0.7"),
        ] {
            assert_eq!(lines(&bench, &mut martians, packet), [said]);
        }
        assert!(lines(&bench, &mut martians, (D::V4SourceInvalid, "224.0.0.1", "224.0.0.9")).is_empty());
        assert!(lines(&bench, &mut martians, (D::V4NoRoute, "10.0.1.1", "10.9.0.7")).is_empty());
        let said: usize = (0..30).map(|_| lines(&bench, &mut martians, far).len()).sum();
        assert_eq!(said, BURST - 3, "no more in five seconds");
        assert!(martians.may_say(u64::MAX), "and again later");
    }
}
