//! `warren run`: routes between interfaces until a signal comes. Wires the mirror, the workers, control and the control socket.
//! With `--standalone` there is no kernel to mirror: see `standalone`.
//!
//! Every way out of here, an error or a panic included, ends the process or drops the guard: the kernel forwards again.

mod standalone;

use crate::cli::Usage;
use crate::control::choose::Wish;
use crate::control::crew::Crew;
use crate::control::guard::foreign::What;
use crate::control::live::{Live, Parts, Request};
use crate::control::sync::Mirror;
use crate::forward::l3::limit::Limits;
use crate::forward::{Forwarder, Scope};
use crate::port::post::{Lease, pairs};
use crate::port::wait::Waker;
use crate::port::watch::{Capture, Watch};
use crate::state::Writer;
use crate::telemetry::show::{Control, Source};
use crate::telemetry::socket::{self, Answer, Place, Reply};
use crate::worker::Worker;
use anyhow::{anyhow, bail};
use crossbeam_channel::unbounded;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

/// Peers whose ICMP errors are limited one by one; the kernel's peer table holds about as many.
const PEERS: usize = 1 << 16;
/// How long a predecessor may take to end after it has let go.
const PREDECESSOR: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  warren run                                       every Ethernet interface with an address
  warren run eth1 eth2 --workers 4                 these two, four threads on cores of their own
  warren run eth1 eth2 --replace                   take over from a running warren, as after an update
  warren run eth1 eth2 --bypass firewall           although nftables rules stand in the way: they are not applied
  warren run --standalone --io tap -s box.toml     no kernel behind it: a router for containers and machines on TAPs";

/// Route between interfaces of this network namespace, in place of the kernel
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Interfaces to take frames from [default: every Ethernet interface with an address]
    #[arg(value_name = "IF")]
    interfaces: Vec<String>,
    /// How frames come in and go out [default: afpacket]
    #[arg(long, value_enum)]
    io: Option<Io>,
    /// Threads that forward; flows are spread over them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: u8,
    /// Take over from the warren that runs here
    #[arg(long)]
    replace: bool,
    /// Forward although this is configured and would be bypassed
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',')]
    bypass: Vec<Bypass>,
    /// Be a router of its own: links, addresses and routes come from the scenario, the kernel's stay untouched
    #[arg(long, requires = "scenario", conflicts_with_all = ["interfaces", "workers", "replace", "bypass"])]
    standalone: bool,
    /// With --standalone: the box to be, as a scenario file; each link becomes a TAP device
    #[arg(short, long, value_name = "FILE", requires = "standalone")]
    scenario: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Io {
    /// Packet sockets: every kind of interface, super-frames included
    Afpacket,
    /// TAP devices that warren makes, for --standalone
    Tap,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Bypass {
    /// nftables, iptables, br_netfilter
    Firewall,
    /// tc filters, queueing disciplines, tcx and XDP programs
    Tc,
    /// IPsec policies
    Ipsec,
}

/// Runs until SIGINT or SIGTERM, or until a successor takes over.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match (&args.scenario, args.io) {
        (Some(path), Some(Io::Tap)) => return standalone::run(path),
        (None, None | Some(Io::Afpacket)) => {}
        (Some(_), _) => return Err(Usage("run --standalone needs --io tap".into()).into()),
        (None, Some(Io::Tap)) => return Err(Usage("run --io tap needs --standalone -s FILE".into()).into()),
    }
    let place = match Place::take(Duration::ZERO) {
        Ok(place) => Some(place),
        Err(socket::SocketError::Taken) if args.replace => None,
        Err(error) => return Err(error.into()),
    };
    let workers = usize::from(args.workers);
    let random = || RandomState::new().hash_one(0);
    let (writer, shared) = Writer::new(workers, random() as u32)?;
    let mut mirror = Mirror::start(writer)?;
    mirror.publish();
    let (waker, lease) = (Waker::new()?, Lease::default());
    let (posts, desks, news) = pairs(workers, &lease, &waker)?;
    let (limits, watch) = (Arc::new(Limits::new(PEERS, random())), Watch::default());
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let (mut stats, mut threads) = (Vec::new(), Vec::new());
    for (number, desk) in desks.into_iter().enumerate() {
        let forwarder = Forwarder::new(Arc::clone(&limits), Scope::Split);
        stats.push(Arc::clone(&forwarder.stats));
        let worker = Worker::new(&shared, forwarder, desk, watch.clone())?;
        // One worker may go where there is room; several must not meet on one core.
        let core = cores.get(number).copied().filter(|_| workers > 1 && workers <= cores.len());
        let thread = Builder::new().name(format!("warren-{number}")).spawn(move || worker.run(core));
        threads.push(thread.map_err(|e| anyhow!("cannot start worker {number}: {e}"))?);
    }
    let (control, requests) = unbounded();
    let (stop, wake) = (control.clone(), waker.try_clone()?);
    on_signals(move || {
        let _ = stop.send(Request::Stop(None));
        let _ = wake.wake();
    })?;
    let wish = Wish { interfaces: args.interfaces.clone(), bypass: bypass(&args.bypass) };
    let source = Source {
        shared,
        workers: stats,
        control: Some(Control { requests: control, waker: waker.try_clone()? }),
    };
    let parts = Parts {
        mirror,
        crew: Crew::new(posts),
        news,
        lease,
        requests,
        waker,
        wish,
        say: super::complain,
        forwarding,
    };
    let live = Live::new(parts, args.replace)?;
    let place = match place {
        Some(place) => place,
        None => succeed()?,
    };
    place.serve(move |request| answer(&source, &watch, request))?;
    live.run()?;
    threads.into_iter().try_for_each(|t| t.join().map_err(|_| anyhow!("a worker panicked")))
}

/// Says, for people and scripts and the service manager, that packets go through warren now.
fn forwarding(names: &[&str]) {
    let _ = writeln!(std::io::stdout(), "forwarding on {}", names.join(" "));
    // Fails only where there is no service manager to hear it.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

/// Lets the predecessor give everything back, and takes its place. Until ours is taken the kernel forwards.
fn succeed() -> anyhow::Result<Place> {
    match socket::ask(&socket::Request::Stop) {
        Ok(Answer::Stopped) | Err(socket::SocketError::Nobody) => {}
        Ok(other) => bail!("the running warren answers {other:?} to a request to stop"),
        Err(error) => return Err(error.into()),
    }
    Ok(Place::take(PREDECESSOR)?)
}

fn answer(source: &Source, watch: &Watch, request: socket::Request) -> Reply {
    let done = match request {
        socket::Request::Show { topic, from } => source.table(topic, from).map(Answer::Table),
        socket::Request::Stop => source.stop().map(|()| Answer::Stopped),
        socket::Request::Capture { interface } => match capture(source, watch, &interface) {
            Ok(capture) => return Reply::Capture(capture, interface),
            Err(why) => Err(why),
        },
    };
    Reply::Line(done.unwrap_or_else(Answer::Error))
}

fn capture(source: &Source, watch: &Watch, interface: &str) -> Result<Capture, String> {
    let state = source.shared.state.load();
    let link = state.ifaces.by_name(interface).ok_or_else(|| format!("there is no interface {interface}"))?;
    watch.open(link.index).ok_or_else(|| "another capture is running; end it first".to_owned())
}

/// Has `stop` called at SIGINT and SIGTERM.
pub(super) fn on_signals(stop: impl Fn() + Send + 'static) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|e| anyhow!("cannot catch signals: {e}"))?;
    let wait = move || signals.forever().for_each(|_| stop());
    let spawned = Builder::new().name("warren-signals".into()).spawn(wait);
    spawned.map(drop).map_err(|e| anyhow!("cannot start the signal thread: {e}"))
}

fn bypass(words: &[Bypass]) -> Vec<What> {
    let what = |word: &Bypass| match word {
        Bypass::Firewall => What::Firewall,
        Bypass::Tc => What::Tc,
        Bypass::Ipsec => What::Ipsec,
    };
    words.iter().map(what).collect()
}
