//! What the demo does, one function a step. Each gives what was seen and whether that is right.
//!
//! Invariant: a step judges by what the hosts see, never by what warren says of itself; only [`shares`] compares the two, and [`dropped`] quotes it.
//! Called by `demo`.

use std::net::IpAddr;

use anyhow::Result;
use serde_json::Value;

use super::child::Child;
use super::copy::copy;
use super::forwarded::Forwarded;
use super::net::{A, B, MTU, Net, SMALL_MTU, Side};
use super::probe::{Answer, Prober, Says};
use super::silence::silence;
use crate::control::netlink::Family;
use crate::sys::netns::Namespace;

/// What was seen, and whether it is as it should be.
pub type Seen = (String, bool);

/// Size of an ordinary probe in bytes, as ping sends it over IPv4.
const SMALL: usize = 84;
/// Hop limit of an ordinary probe.
const FAR: u8 = 64;
/// Probes of [`ping`].
const PINGS: usize = 5;
/// Bytes of a copy: 16 MiB.
const COPY: usize = 16 << 20;
/// The longest silence after `kill -9` that passes, in milliseconds. Some 10 are usual; a busy machine needs more.
const SILENCE_MAX_MS: f64 = 250.0;

/// Echo requests from a to b.
pub fn ping(net: &Net, family: Family) -> Result<Seen> {
    let mut prober = Prober::open(&net.a, B.host(family))?;
    let mut times = Vec::new();
    for _ in 0..PINGS {
        let answer = prober.probe(FAR, SMALL)?;
        times.extend(answer.filter(|a| a.says == Says::Reply).map(|a| a.after.as_secs_f64() * 1e3));
    }
    let mut seen = format!("{} of {PINGS} answered by {}", times.len(), B.host(family));
    if let [first, later @ ..] = times.as_slice() {
        let best = later.iter().copied().fold(f64::INFINITY, f64::min);
        seen = format!("{seen}, the first after {first:.2} ms, the best after {best:.2} ms");
    }
    Ok((seen, times.len() == PINGS))
}

/// Echo requests whose hop limit grows: the router must name itself, then b answers.
pub fn traceroute(net: &Net, family: Family) -> Result<Seen> {
    let mut prober = Prober::open(&net.a, B.host(family))?;
    let hops = [prober.probe(1, SMALL)?, prober.probe(2, SMALL)?];
    let seen: Vec<String> =
        (1..).zip(&hops).map(|(hop, answer)| format!("{hop} {}", source(answer))).collect();
    let [first, second] = &hops;
    let ok = is(first, Says::TimeExceeded, A.router(family)) && is(second, Says::Reply, B.host(family));
    Ok((seen.join(", "), ok))
}

/// An echo request to where no route leads: the router must say so.
pub fn no_route(net: &Net, family: Family) -> Result<Seen> {
    let nowhere: IpAddr = match family {
        Family::V4 => "203.0.113.1".parse()?,
        Family::V6 => "2001:db8:ffff::1".parse()?,
    };
    let answer = Prober::open(&net.a, nowhere)?.probe(FAR, SMALL)?;
    // ICMP_NET_UNREACH and ICMPV6_NOROUTE are both code 0.
    let ok = is(&answer, Says::Unreachable(0), A.router(family));
    let says = if ok { "unreachable, says" } else { "no such answer:" };
    Ok((format!("{nowhere} {says} {}", source(&answer)), ok))
}

/// A packet that is too big for the way to b: the router must say what fits, and that must fit.
pub fn path_mtu(net: &Net, family: Family) -> Result<Seen> {
    let mut prober = Prober::open(&net.a, B.host(family))?;
    let big = prober.probe(FAR, MTU as usize)?;
    let fits = prober.probe(FAR, SMALL_MTU as usize)?;
    let refused = is(&big, Says::TooBig(SMALL_MTU), A.router(family));
    let arrived = is(&fits, Says::Reply, B.host(family));
    let first = match big {
        Some(Answer { says: Says::TooBig(mtu), from, .. }) => format!("{from} takes {mtu} of {MTU} bytes"),
        other => format!("{MTU} bytes: no such answer: {}", source(&other)),
    };
    let second = if arrived { "arrive" } else { "do not arrive" };
    Ok((format!("{first}; {SMALL_MTU} {second}"), refused && arrived))
}

/// A copy over TCP to the host of side `side` from the other.
pub fn transfer(net: &Net, family: Family, side: Side) -> Result<Seen> {
    let to_a = side.host(family) == A.host(family);
    let (from, to): (&Namespace, &Namespace) = if to_a { (&net.b, &net.a) } else { (&net.a, &net.b) };
    let copied = copy(from, to, side.host(family), COPY)?;
    let ok = copied.bytes == COPY && copied.sent == copied.received;
    let mib = copied.bytes as f64 / f64::from(1 << 20);
    let rate = mib / copied.took.as_secs_f64().max(1e-9);
    let sums = if ok {
        format!("checksum {:016x} at both ends", copied.sent)
    } else {
        format!("checksums {:016x} and {:016x} differ", copied.sent, copied.received)
    };
    Ok((format!("{mib:.0} MiB at {rate:.0} MiB/s, {sums}"), ok))
}

/// What warren dropped so far, by reason: at least what the steps before provoked.
pub fn dropped(net: &Net, warren: &Child) -> Result<Seen> {
    let shown = warren.show(&net.router, "drops")?;
    let rows = shown.get("drops").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let reason = |row: &Value| Some(format!("{} {}", row.get("packets")?, row.get("reason")?.as_str()?));
    let reasons: Vec<String> = rows.iter().filter_map(reason).collect();
    Ok((reasons.join(", "), !reasons.is_empty()))
}

/// Warren forwarded all of it, the kernel nothing.
pub fn shares(net: &Net, warren: &Child, kernel_before: Forwarded) -> Result<Seen> {
    let warren = Forwarded::by_warren(warren, &net.router)?;
    let kernel = Forwarded::by_kernel(&net.router)? - kernel_before;
    let ok = kernel == Forwarded::default() && warren.v4 > 0 && warren.v6 > 0;
    Ok((format!("warren {warren} packets, the kernel {kernel}"), ok))
}

/// Ends warren without warning while datagrams flow. Gives the silence in milliseconds too.
pub fn kill(net: &Net, warren: &mut Child) -> Result<(Seen, Option<f64>)> {
    let silence = silence(&net.a, &net.b, B.host(Family::V6), || warren.kill())?;
    let millis = |d: std::time::Duration| (d.as_secs_f64() * 1e4).round() / 10.0;
    let (sent, arrived) = (silence.sent, silence.arrived);
    let Some(after) = silence.after.map(millis) else {
        return Ok(((format!("nothing arrived any more; {arrived} of {sent} datagrams did"), false), None));
    };
    let before = millis(silence.before);
    let seen = format!(
        "the longest gap between arrivals is {after} ms ({before} before), {} of {sent} datagrams lost",
        sent - arrived.min(sent)
    );
    Ok(((seen, after <= SILENCE_MAX_MS), Some(after)))
}

/// Pings of both families and the kernel's counters once warren is gone.
pub fn afterwards(net: &Net) -> Result<Seen> {
    let before = Forwarded::by_kernel(&net.router)?;
    let pings = Family::BOTH.map(|family| ping(net, family));
    let kernel = Forwarded::by_kernel(&net.router)? - before;
    let mut ok = true;
    for ping in pings {
        ok &= ping?.1;
    }
    let enough = 2 * PINGS as u64; // there and back
    ok &= kernel.v4 >= enough && kernel.v6 >= enough;
    let pings =
        if ok { "pings are answered" } else { "not all pings are answered, or not by way of the router" };
    Ok((format!("{pings}; the kernel forwarded {kernel} packets"), ok))
}

fn is(answer: &Option<Answer>, says: Says, from: IpAddr) -> bool {
    answer.as_ref().is_some_and(|answer| answer.says == says && answer.from == from)
}

fn source(answer: &Option<Answer>) -> String {
    answer.as_ref().map_or_else(
        || "nobody".to_owned(),
        |a| format!("{} ({:.2} ms)", a.from, a.after.as_secs_f64() * 1e3),
    )
}
