//! What a run plays: for each box a router and the frames for exactly that router, all drawn by lot.
//!
//! Invariants: the seed and the box's number decide everything, on every machine; a scenario is one that the kernel
//! accepts; no answer depends on the clock. For the last one the limiters are wide open: ICMP errors are not limited where
//! a namespace can say so, and no address is used so often that it would use up its share of the others. Called by `run`.
//!
//! Each family has its own grammar of routers and frames, `ip4` and `ip6`.

mod ip4;
mod ip6;
mod lot;
mod mixed;
mod parts;
mod rules;
mod several;

pub use several::Several;

use super::Frame;
use crate::control::netlink::Family;
use crate::scenario::{Scenario, Value};
use ipnet::Ipv6Net;
use lot::Lot;

/// When the first frame comes: 2026-01-01.
const START: u64 = 1_767_225_600_000_000_000;
/// How long after one frame the next comes.
const STEP: u64 = 20_000;
/// Frames of a box, and of one in which packets wait for next hops that do not answer.
const FRAMES: usize = 400;
const FRAMES_SLOW: usize = 150;
/// One in so many boxes is slow, and in another the router is told of ways.
const SLOW: u64 = 5;
/// In one of so many the router is taught of neighbours.
const TAUGHT: u64 = 16;

/// What the boxes of a run are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boxes {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Each of one family, in turns.
    Turns,
    /// Each of both.
    Mixed,
}

/// A box of a run.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// Its place in the run, from 0.
    pub number: u64,
    /// The router.
    pub scenario: Scenario,
    /// The frames, in order of time.
    pub frames: Vec<Frame>,
    /// Packets may wait here for next hops that do not answer.
    pub slow: bool,
}

/// Draws box `number` with at most `limit` frames. A scenario that is given is taken as it is.
pub fn draw(seed: u64, number: u64, limit: usize, boxes: Boxes, given: Option<&Scenario>) -> Drawn {
    let boxes = match boxes {
        Boxes::Turns if number.is_multiple_of(2) => Boxes::V6,
        Boxes::Turns => Boxes::V4,
        one => one,
    };
    let slow = given.is_none() && number % SLOW == SLOW - 1;
    let mut router = Lot::new(seed, number, 1);
    let mut scenario = match (given, boxes) {
        (Some(scenario), _) => scenario.clone(),
        (None, Boxes::V4) => ip4::scenario(&mut router, slow),
        (None, Boxes::Mixed) => mixed::scenario(&mut router, slow),
        (None, _) => ip6::scenario(&mut router, slow),
    };
    let told = given.is_none() && number % SLOW == 3;
    match boxes {
        Boxes::V4 if told => ip4::listens(&mut router, &mut scenario),
        Boxes::V6 if told => ip6::listens(&mut router, &mut scenario),
        _ => {}
    }
    super::lift_global_limit(&mut scenario);
    let count = limit.min(if slow { FRAMES_SLOW } else { FRAMES });
    let lot = Lot::new(seed, number, 2);
    let mut frames = match boxes {
        Boxes::V4 if told => ip4::telling(&scenario, count, lot),
        Boxes::V4 => ip4::frames(&scenario, count, lot),
        Boxes::Mixed => {
            let of = |stream| Lot::new(seed, number, stream);
            mixed::frames(&scenario, count, [lot, of(5), of(6)])
        }
        _ if !slow && number % TAUGHT == 6 && given.is_none() => ip6::discovery(&scenario, count, lot),
        _ if told => ip6::telling(&scenario, count, lot),
        _ => ip6::frames(&scenario, count, lot),
    };
    in_time(&mut frames);
    Drawn { number, scenario, frames, slow }
}

/// A router with this `fib_multipath_hash_policy` and several next hops for everything, and `count` flows of a family
/// through it: box `number` of a run of such.
#[must_use]
pub fn flows(
    family: Family,
    (seed, number): (u64, u64),
    (policy, several): (u8, Several),
    count: usize,
) -> (Scenario, Vec<Frame>) {
    let (mut router, lot) = (Lot::new(seed, number, 3), Lot::new(seed, number, 4));
    let mut scenario = match family {
        Family::V4 => ip4::flows::scenario(&mut router, policy, several),
        Family::V6 => ip6::flows::scenario(&mut router, policy, several),
    };
    super::lift_global_limit(&mut scenario);
    let mut frames = match family {
        Family::V4 => ip4::flows::frames(&scenario, count, lot),
        Family::V6 => ip6::flows::frames(&scenario, count, lot),
    };
    in_time(&mut frames);
    (scenario, frames)
}

fn in_time(frames: &mut [Frame]) {
    for (frame, place) in frames.iter_mut().zip(0..) {
        frame.time = START + place * STEP;
    }
}

/// The first bits of an address as a prefix.
fn net(bits: u128, len: usize) -> Ipv6Net {
    let len = u8::try_from(len).unwrap_or(128).min(128);
    Ipv6Net::new(bits.into(), len).unwrap_or_default().trunc()
}

/// Sets a sysctl of a scenario.
fn set(scenario: &mut Scenario, name: impl Into<String>, value: i64) {
    scenario.sysctl.insert(name.into(), Value::Number(value));
}

#[cfg(test)]
mod tests;
