//! A kernel router in a network namespace, built from a scenario: frames go in at the far ends of its links, and what
//! it sends and counts comes out.
//!
//! Invariants: everything is in two namespaces that go away with the value; frames enter one at a time, because the
//! kernel skips checks for packets that arrive as a list; nothing but the given frames and what `unprompted` knows
//! moves a counter between the two readings. Called by `tests/record`, the tests and `warren conform`.

use super::ends::End;
use super::mib::Counters;
use super::{ConformError, Frame, Masked, Outcome, Result, apply, links, unprompted};
use crate::control::netlink::{LinkChange, NeighbourState, Socket};
use crate::scenario::sysctl::{Stage, stage};
use crate::scenario::{Link, Scenario, Value};
use crate::sys::netns::Namespace;
use crate::sysctl::Conf4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The router is at rest when nothing moved for this many looks in a row.
const LOOKS: usize = 3;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(4);
/// Longest wait for rest: a next hop that does not answer takes the kernel three seconds.
const REST_MAX: Duration = Duration::from_secs(20);
/// How long it sleeps at most before it looks whether it is to stop.
const SLICE: Duration = Duration::from_millis(100);
/// `IFA_F_TENTATIVE`
const TENTATIVE: u32 = 0x40;

/// Forwarding, turned on once the links are there, as a start script does: only then is every group of routers joined.
const FORWARDING: [(&str, &str); 2] = [("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")];
/// What keeps the kernel from speaking unasked, or makes it do so at once.
const BASE: [(&str, &str); 6] = [
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/mldv2_unsolicited_report_interval", "1"),
    ("net/ipv4/igmp_link_local_mcast_reports", "0"),
];

/// A router made of the running kernel.
#[derive(Debug)]
pub struct KernelBox {
    netlink: Socket,
    ends: Vec<End>,
    links: Vec<Link>,
    router: Namespace,
    /// Where the far ends are.
    hosts: Namespace,
}

impl KernelBox {
    /// Builds the router; the names of its namespaces begin with `name`.
    ///
    /// # Errors
    /// What the kernel refused. Needs root.
    pub fn build(name: &str, scenario: &Scenario) -> Result<KernelBox> {
        let router = Namespace::create(&format!("{name}-router"))?;
        let hosts = Namespace::create(&format!("{name}-hosts"))?;
        hosts.sysctl_write("net/ipv6/conf/default/disable_ipv6", "1")?;
        settle_sysctls(&router)?;
        write_sysctls(&router, scenario, |stage| stage == Stage::Default)?;
        let mut netlink = router.enter(Socket::open)??;
        netlink.set_link(1, &LinkChange::UP)?;
        let indexes = links::make(&mut netlink, &hosts, &scenario.link)?;
        let ends = links::up(&mut netlink, &hosts, &scenario.link)?;
        let links = scenario.link.clone();
        let mut this = KernelBox { netlink, ends, links, router, hosts };
        this.rest()?;
        for (name, value) in FORWARDING {
            this.router.sysctl_write(name, value)?;
        }
        write_sysctls(&this.router, scenario, |stage| stage != Stage::Default)?;
        apply::apply(&mut this.netlink, scenario, &indexes)?;
        links::down(&mut this.netlink, &this.hosts, &scenario.link)?;
        this.rest()?;
        Ok(this)
    }

    /// Sends the frames at their times, and returns what the router sent and counted until it came to rest.
    ///
    /// # Errors
    /// A link that the scenario lacks, or the system's refusal.
    pub fn play(&mut self, frames: &[Frame]) -> Result<(Outcome, Masked)> {
        self.play_until(frames, &AtomicBool::new(false))
    }

    /// The same, but ends with an error soon after `stop` is set, and so within a tenth of a second while frames wait for their time.
    ///
    /// # Errors
    /// As [`KernelBox::play`], and [`ConformError::Stopped`].
    pub fn play_until(&mut self, frames: &[Frame], stop: &AtomicBool) -> Result<(Outcome, Masked)> {
        // What comes while it is counted could be on either side; then once more.
        let before = loop {
            let counters = self.counters()?;
            if self.take(0)?.is_empty() {
                break counters;
            }
        };
        let mut seen = Vec::new();
        let (start, first) = (Instant::now(), frames.first().map_or(0, |f| f.time));
        let mut time = first;
        for (frame, number) in frames.iter().zip(1..) {
            let due = start + Duration::from_nanos(frame.time.saturating_sub(first));
            wait(due, stop)?;
            let unknown = || ConformError::Meaning(format!("no link is called {:?}", frame.link));
            let end = self.ends.iter().find(|e| e.link == frame.link).ok_or_else(unknown)?;
            end.send(number, &frame.bytes)?;
            time = frame.time;
            seen.extend(self.take(time)?);
        }
        self.rest()?;
        seen.extend(self.take(time)?);
        let counters = self.counters()?.since(&before);
        let mut outcome = Outcome { frames: seen, counters };
        let mut masked = unprompted::remove(&mut outcome, &self.links);
        outcome.counters.take_uncounted(&mut masked);
        Ok((outcome, masked))
    }

    fn take(&self, time: u64) -> Result<Vec<Frame>> {
        let mut seen = Vec::new();
        self.ends.iter().try_for_each(|end| end.take(time, &mut seen))?;
        Ok(seen)
    }

    fn counters(&self) -> Result<Counters> {
        let names = self.links.iter().map(|link| link.name.as_str()).chain(["lo"]);
        self.router.enter(|| Counters::read(names))?
    }

    /// Waits until all links work, no neighbour is being looked for, no address is being checked, and nothing moves.
    fn rest(&mut self) -> Result<()> {
        let start = Instant::now();
        let (mut last, mut calm) = (self.counters()?, 0);
        while calm < LOOKS {
            sleep(LOOK);
            let busy = self.busy()?;
            let now = self.counters()?;
            calm = if now == last && busy.is_none() { calm + 1 } else { 0 };
            last = now;
            if start.elapsed() > REST_MAX {
                return Err(ConformError::Busy(REST_MAX.as_secs(), busy.unwrap_or_default()));
            }
        }
        Ok(())
    }

    /// What is still under way.
    fn busy(&mut self) -> Result<Option<String>> {
        if !links::ready(&mut self.netlink)? {
            return Ok(Some("the kernel is looking at a link's carrier".to_owned()));
        }
        let neighbours = self.netlink.neighbours()?;
        if let Some(wanted) = neighbours.iter().find(|n| n.state == NeighbourState::Incomplete) {
            return Ok(Some(format!("neighbour {wanted} is being looked for")));
        }
        let addresses = self.netlink.addresses()?;
        let tentative = addresses.iter().find(|a| a.flags & TENTATIVE != 0);
        Ok(tentative.map(|a| format!("address {a} is tentative")))
    }
}

/// Sleeps until a time, unless it is to stop.
fn wait(due: Instant, stop: &AtomicBool) -> Result<()> {
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(ConformError::Stopped);
        }
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        sleep(left.min(SLICE));
    }
}

/// The kernel's own defaults, which a new namespace may have inherited otherwise, and [`BASE`].
fn settle_sysctls(router: &Namespace) -> Result<()> {
    let fixed = ["forwarding", "mc_forwarding"]; // set by BASE, and owned by the kernel
    for (name, value) in Conf4::NAMES.iter().filter(|(name, _)| !fixed.contains(name)) {
        let all = Conf4::all_default().get(name).unwrap_or(*value);
        router.sysctl_write(&format!("net/ipv4/conf/all/{name}"), &all.to_string())?;
        router.sysctl_write(&format!("net/ipv4/conf/default/{name}"), &value.to_string())?;
    }
    for (name, value) in BASE {
        router.sysctl_write(name, value)?;
    }
    Ok(())
}

/// Writes the scenario's sysctls of some stages, in the order in which a start script has to.
fn write_sysctls(router: &Namespace, scenario: &Scenario, now: impl Fn(Stage) -> bool) -> Result<()> {
    let mut list: Vec<_> = scenario.sysctl.iter().filter(|(name, _)| now(stage(name))).collect();
    list.sort_by_key(|(name, _)| stage(name));
    for (name, value) in list {
        match value {
            Value::Number(number) => router.sysctl_write(name, &number.to_string())?,
            // Nothing is only written with its newline: a write of no bytes changes nothing.
            Value::Text(text) => router.sysctl_write(name, &format!("{text}\n"))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_it_is_to_stop() {
        let stop = AtomicBool::new(false);
        assert!(wait(Instant::now() + SLICE, &stop).is_ok());
        stop.store(true, Ordering::Relaxed);
        let hour = Instant::now() + Duration::from_secs(3600);
        assert!(matches!(wait(hour, &stop), Err(ConformError::Stopped)));
    }
}
