//! `warren demo`: builds two hosts and a router in network namespaces, routes through warren, and shows what happens.
//!
//! It needs root and nothing else: no `ip`, no `ping`. Invariant: all that it makes goes away at the end, also when a step
//! fails and on Ctrl-C, and the machine's own network is never touched. Called by `cli`.

pub mod child;
mod copy;
pub mod forwarded;
pub mod net;
mod probe;
mod report;
mod silence;
mod steps;

use std::io::{IsTerminal, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{print, print_json};
use crate::control::netlink::Family;
use child::Child;
use forwarded::Forwarded;
use net::{A, B, Net, ROUTER_LINKS};
use report::{Report, Step};
use steps::Seen;

/// Where to look when a step fails.
const HINT_NAMESPACES: &str =
    "the demo makes network namespaces and veth links: run it as root, in a container with --privileged";
const HINT_RUN: &str =
    "see what `warren run` says by itself; it needs AF_PACKET and, to guard, bpf(2) or nftables";
const HINT_FORWARD: &str =
    "the line `dropped, and why` names what warren dropped; does a seccomp profile forbid raw sockets?";
const HINT_COPY: &str =
    "large segments pass by virtio_net headers: does the line `dropped, and why` count some as too big?";
const HINT_SHARES: &str = "the guard did not hold; if warren says that it was not renewed, the machine was too busy to run it for a second";
const HINT_KILL: &str =
    "the guard must go with its process; the kernel needs forwarding on, and time: is the machine very busy?";

/// See it work: two hosts and a router in network namespaces, warren as the router
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object on one line: ok, seconds, gap_ms, complaints, steps
    #[arg(long)]
    pub json: bool,
}

/// Runs the demo and prints its report.
///
/// # Errors
/// If a step was not as it should be, a signal came, or the report cannot be printed.
pub fn run(args: &Args) -> Result<()> {
    let begin = Instant::now();
    let mut demo =
        Demo { json: args.json, stop: Arc::new(AtomicBool::new(false)), report: Report::default() };
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&demo.stop))?;
    }
    demo.all()?;
    demo.report.finish(begin.elapsed());
    let report = &demo.report;
    if args.json {
        print_json(&serde_json::to_value(report)?)?;
    }
    if !report.ok {
        let failed = report.steps.iter().filter(|step| !step.ok).count();
        let said = if report.complaints.is_empty() { "" } else { "; warren run said: " };
        bail!("{failed} of {} steps failed{said}{}", report.steps.len(), report.complaints);
    }
    demo.say(&format!("all is as it should be, after {:.1} s; the namespaces are gone", demo.report.seconds))
}

struct Demo {
    json: bool,
    /// Set by the first signal; looked at before each step.
    stop: Arc<AtomicBool>,
    report: Report,
}

impl Demo {
    /// All steps; what cannot be done without an earlier one is left out.
    fn all(&mut self) -> Result<()> {
        self.say("two hosts and a router, each in a network namespace; warren is the router")?;
        let mut net = None;
        self.step("build", HINT_NAMESPACES, || {
            net = Some(Net::build("warren-demo")?);
            Ok((format!("{} -- router -- {}", host(A), host(B)), true))
        })?;
        let Some(net) = net else { return Ok(()) };
        let mut warren = None;
        self.step("take over", HINT_RUN, || {
            let begin = Instant::now();
            warren = Some(Child::start(&std::env::current_exe()?, &net.router, &ROUTER_LINKS)?);
            Ok((
                format!(
                    "warren forwards on {} after {} ms",
                    ROUTER_LINKS.join(" and "),
                    begin.elapsed().as_millis()
                ),
                true,
            ))
        })?;
        let Some(mut warren) = warren else { return Ok(()) };
        let kernel = Forwarded::by_kernel(&net.router)?;
        self.traffic(&net)?;
        self.step("dropped, and why", HINT_RUN, || steps::dropped(&net, &warren))?;
        self.step("who forwarded", HINT_SHARES, || steps::shares(&net, &warren, kernel))?;
        let mut gap = None;
        self.step("kill -9 warren", HINT_KILL, || {
            let (seen, millis) = steps::kill(&net, &mut warren)?;
            gap = millis;
            Ok(seen)
        })?;
        self.report.gap_ms = gap;
        self.report.complaints = warren.complaints();
        self.step("without warren", HINT_KILL, || steps::afterwards(&net))
    }

    /// What the hosts do through warren.
    fn traffic(&mut self, net: &Net) -> Result<()> {
        for (family, name) in [(Family::V4, "IPv4"), (Family::V6, "IPv6")] {
            self.step(&format!("ping {name}"), HINT_FORWARD, || steps::ping(net, family))?;
            self.step(&format!("traceroute {name}"), HINT_FORWARD, || steps::traceroute(net, family))?;
            self.step(&format!("no route {name}"), HINT_FORWARD, || steps::no_route(net, family))?;
            self.step(&format!("path MTU {name}"), HINT_FORWARD, || steps::path_mtu(net, family))?;
            self.step(&format!("copy {name} a to b"), HINT_COPY, || steps::transfer(net, family, B))?;
            self.step(&format!("copy {name} b to a"), HINT_COPY, || steps::transfer(net, family, A))?;
        }
        Ok(())
    }

    /// Does a step and reports it; an error is a failed step. Only a signal or a broken output ends the demo here.
    fn step(&mut self, what: &str, hint: &'static str, run: impl FnOnce() -> Result<Seen>) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            bail!("interrupted; the namespaces are gone");
        }
        let (seen, ok) = run().unwrap_or_else(|error| (in_words(&error), false));
        let step = Step { what: what.to_owned(), seen, ok, hint: (!ok).then_some(hint) };
        if !self.json {
            report::line(&mut stdout(), &step, stdout().is_terminal())?;
        }
        self.report.steps.push(step);
        Ok(())
    }

    fn say(&self, text: &str) -> Result<()> {
        if self.json { Ok(()) } else { print(&format!("{text}\n")) }
    }
}

/// An error with its causes, each said once: many carry the cause in their own words too.
fn in_words(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| {
        if text.contains(&cause) {
            text
        } else if text.is_empty() {
            cause
        } else {
            format!("{text}: {cause}")
        }
    })
}

fn host(side: net::Side) -> String {
    format!("{}, {}", side.host(Family::V4), side.host(Family::V6))
}
