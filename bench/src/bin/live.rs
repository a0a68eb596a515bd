//! Latency and packet rate of a running warren beside the kernel's, in interleaved rounds over the network of `warren demo`.
//!
//! `cargo build --release && cargo run --release -p warren-bench --bin live`, as root, on an idle machine. Every round measures
//! the kernel first, then warren, on the same veths; figures are medians over all samples or rounds, so that what the
//! machine does meanwhile meets both. Nothing is asserted: the figures say as much about the machine.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::json;
use warren::cli::demo::child::Child;
use warren::cli::demo::net::{A, B, HOST_LINK, Net, ROUTER_LINKS};
use warren::control::netlink::{Family, Socket};
use warren::frame::Offload;
use warren::port::afpacket::{Queueing, Tx};
use warren::stats::Mib;
use warren::stats::kernel;
use warren_bench::{idle, traffic};

/// Seconds between two pings: long enough for every core to fall asleep.
const PAUSE: &str = "0.01";
/// How long the generator sends.
const SENDING: Duration = Duration::from_millis(1500);
/// Flows that the generator makes, and frames it sends in one system call.
const FLOWS: u16 = 64;

#[derive(Parser)]
#[command(about = "Latency and packet rate of warren and of the kernel, in the same run")]
struct Args {
    /// Rounds of kernel and warren
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Echo requests a round, router and family
    #[arg(long, default_value_t = 300)]
    pings: usize,
    /// The program to measure [default: warren beside this one]
    #[arg(long)]
    warren: Option<PathBuf>,
    /// One JSON object on one line
    #[arg(long)]
    json: bool,
}

/// What one router showed with one family.
#[derive(Default)]
struct Figures {
    rtt_us: Vec<f64>,
    /// Thousands of packets a second: offered, arrived.
    kpps: Vec<(f64, f64)>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let program = match args.warren {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("warren"),
    };
    if !program.exists() {
        bail!("{} is missing: cargo build --release", program.display());
    }
    let load = idle::wait();
    let mut figures: [[Figures; 2]; 2] = Default::default();
    for round in 0..args.rounds {
        let net = Net::build(&format!("warren-t-bench-{}-{round}", std::process::id()))?;
        let [kernel, warren] = &mut figures;
        measure(&net, args.pings, kernel)?;
        let _child = Child::start(&program, &net.router, &ROUTER_LINKS)?;
        measure(&net, args.pings, warren)?;
    }
    if args.json {
        println!("{}", report(&figures, load));
    } else {
        print(&figures, load);
    }
    Ok(())
}

fn measure(net: &Net, pings: usize, into: &mut [Figures; 2]) -> Result<()> {
    for (family, figures) in Family::BOTH.into_iter().zip(into) {
        ping(net, family, 2)?; // resolves the neighbours
        figures.rtt_us.append(&mut ping(net, family, pings)?);
        figures.kpps.push(rate(net, family)?);
    }
    Ok(())
}

/// Round trips in microseconds as `ping` shows them, by the kernel's time stamps; a pause before each request lets every
/// core fall asleep.
fn ping(net: &Net, family: Family, count: usize) -> Result<Vec<f64>> {
    let mut command = Command::new("ping");
    command
        .args(["-n", "-i", PAUSE, "-c", &count.to_string(), &B.host(family).to_string()])
        .env("LC_ALL", "C");
    let text = String::from_utf8(net.a.output(&mut command)?.stdout)?;
    let times =
        text.lines().filter_map(|line| line.split_once("time=")?.1.split(' ').next()?.parse::<f64>().ok());
    let micros: Vec<f64> = times.map(|millis| millis * 1e3).collect();
    if micros.len() != count {
        bail!("{} of {count} pings were answered", micros.len());
    }
    Ok(micros)
}

/// Sends small UDP packets from a as fast as one core can and counts what b receives.
fn rate(net: &Net, family: Family) -> Result<(f64, f64)> {
    let counter = if family == Family::V4 { Mib::IpInReceives } else { Mib::Ip6InReceives };
    let received = || -> Result<u64> {
        net.b.enter(kernel::counters)?.get(&counter).copied().context("no such counter in /proc/net")
    };
    // Somebody listens, or b would answer with errors.
    let _sink = net.b.enter(|| UdpSocket::bind(SocketAddr::new(B.host(family), 9)))??;
    let mac = net.router.enter(Socket::open)??.link(ROUTER_LINKS[0])?.mac.context("no MAC address")?;
    let index = net.a.enter(Socket::open)??.link(HOST_LINK)?.index;
    let mut port = net.a.enter(|| Tx::open(index, Queueing::Driver))??;
    let frames: Vec<_> = (0..FLOWS)
        .map(|flow| match (A.host(family), B.host(family)) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => traffic::ipv4(mac, src, dst, 64, flow),
            (IpAddr::V6(src), IpAddr::V6(dst)) => traffic::ipv6(mac, src, dst, 64, flow),
            _ => Vec::new(),
        })
        .collect();
    let plain = Offload::default();
    let before = received()?;
    let (begin, mut sent) = (Instant::now(), 0);
    while begin.elapsed() < SENDING {
        sent += u64::from(port.send(frames.iter().map(|f| (f.as_slice(), &plain))).sent);
    }
    let took = begin.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_millis(200)); // what is still queued
    Ok((sent as f64 / took / 1e3, (received()? - before) as f64 / took / 1e3))
}

/// The value below which `share` of the samples lie.
fn quantile(samples: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut sorted: Vec<f64> = samples.collect();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Median and 99th percentile of the round trip in microseconds; medians of offered and arrived kpps.
fn summary(figures: &Figures) -> [f64; 4] {
    let rtt = |share| quantile(figures.rtt_us.iter().copied(), share);
    let offered = quantile(figures.kpps.iter().map(|k| k.0), 0.5);
    let arrived = quantile(figures.kpps.iter().map(|k| k.1), 0.5);
    [rtt(0.5), rtt(0.99), offered, arrived]
}

const ROUTERS: [&str; 2] = ["kernel", "warren"];

fn print(figures: &[[Figures; 2]; 2], load: f64) {
    println!("load {load:.2} at the start");
    println!(
        "{:8} {:6} {:>12} {:>12} {:>14} {:>14}",
        "router", "family", "RTT p50 us", "RTT p99 us", "offered kpps", "arrived kpps"
    );
    for (router, both) in ROUTERS.iter().zip(figures) {
        for (family, one) in ["IPv4", "IPv6"].iter().zip(both) {
            let [p50, p99, offered, arrived] = summary(one);
            println!("{router:8} {family:6} {p50:12.1} {p99:12.1} {offered:14.0} {arrived:14.0}");
        }
    }
}

fn report(figures: &[[Figures; 2]; 2], load: f64) -> serde_json::Value {
    let one = |figures: &Figures| {
        let [p50, p99, offered, arrived] = summary(figures);
        json!({"rtt_p50_us": p50, "rtt_p99_us": p99, "offered_kpps": offered, "arrived_kpps": arrived})
    };
    let [kernel, warren] = figures;
    json!({
        "load": load,
        "kernel": {"ipv4": one(&kernel[0]), "ipv6": one(&kernel[1])},
        "warren": {"ipv4": one(&warren[0]), "ipv6": one(&warren[1])},
    })
}
