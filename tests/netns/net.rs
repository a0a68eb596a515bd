//! The network under test, commands in it, and the account of who forwarded what.
//!
//! Invariant: all of it goes away with the [`Lab`], also when a test fails; one exists at a time, for several measure
//! time and the machine may be small.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use warren::cli::demo::child::Child;
use warren::cli::demo::forwarded::Forwarded;
use warren::cli::demo::net::{Net, ROUTER_LINKS};
use warren::sys::netns::Namespace;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Host a, router, host b, and perhaps a warren on the router.
pub(crate) struct Lab {
    warren: Option<Child>,
    pub(crate) net: Net,
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    /// The network of `warren demo` in namespaces `warren-t-net-TAG-PID-*`, with the kernel as router.
    pub(crate) fn kernel(tag: &str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "run this test as root: it makes network namespaces");
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let net = Net::build(&format!("warren-t-net-{tag}-{}", std::process::id())).unwrap();
        Self { warren: None, net, _turn: turn }
    }

    /// The same with warren as router.
    pub(crate) fn warren(tag: &str) -> Self {
        let mut lab = Self::kernel(tag);
        lab.start(&ROUTER_LINKS);
        lab
    }

    /// Hands the links to warren.
    pub(crate) fn start(&mut self, links: &[&str]) {
        let program = Path::new(env!("CARGO_BIN_EXE_warren"));
        self.warren = Some(Child::start(program, &self.net.router, links).unwrap());
    }

    /// Warren's own counters; `None` if it was not started.
    pub(crate) fn warren_counters(&self) -> Option<BTreeMap<String, u64>> {
        self.warren.as_ref().map(|warren| warren.counters(&self.net.router).unwrap())
    }

    /// What warren forwarded so far, and what the router's kernel did.
    pub(crate) fn forwarded(&self) -> (Forwarded, Forwarded) {
        let router = &self.net.router;
        let warren = self.warren.as_ref().map(|warren| Forwarded::by_warren(warren, router).unwrap());
        (warren.unwrap_or_default(), Forwarded::by_kernel(router).unwrap())
    }

    /// Does `body` and demands that warren forwarded as many packets as the hosts counted meanwhile, and the kernel none.
    /// `hosts` names the counters that count each packet once where it arrives, or where the answer to one starts; a
    /// packet that the router answers or drops must not be among them.
    #[track_caller]
    pub(crate) fn forwards<T>(&self, hosts: &[(&Namespace, &str)], body: impl FnOnce() -> T) -> T {
        let seen = || -> u64 { hosts.iter().map(|(space, counter)| counters(space)[*counter]).sum() };
        let (seen_before, (warren_before, kernel_before)) = (seen(), self.forwarded());
        let value = body();
        // What the last command sent may still be on its way, and a worker's counters follow its batch.
        let begin = Instant::now();
        loop {
            let seen = seen() - seen_before;
            let (warren, kernel) = self.forwarded();
            let warren = warren - warren_before;
            assert_eq!(kernel, kernel_before, "the kernel forwarded too");
            if seen > 0 && warren.v4 + warren.v6 == seen {
                return value;
            }
            let late = begin.elapsed() > Duration::from_secs(2);
            assert!(!late, "warren forwarded {warren} packets, the hosts counted {seen}");
            sleep(Duration::from_millis(20));
        }
    }
}

/// A command line, words split at spaces.
pub(crate) fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words).env("LC_ALL", "C");
    command
}

/// Runs a command in a namespace; gives what it printed and demands that it succeeds.
#[track_caller]
pub(crate) fn run(space: &Namespace, line: &str) -> String {
    let (success, text) = attempt(space, line);
    assert!(success, "{line}: {text}");
    text
}

/// As [`run`], but the command may fail: whether it succeeded, and what it printed.
#[track_caller]
pub(crate) fn attempt(space: &Namespace, line: &str) -> (bool, String) {
    let output = space.output(&mut command(line));
    let output = output.unwrap_or_else(|e| panic!("{e}: tests/run machine installs the tools"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// All counters of a namespace under the names of nstat.
pub(crate) fn counters(space: &Namespace) -> BTreeMap<String, u64> {
    let shown: Value = serde_json::from_str(&run(space, "nstat -azsj")).unwrap();
    let counters = shown["kernel"].as_object().unwrap();
    counters.iter().map(|(name, value)| (name.clone(), value.as_u64().unwrap())).collect()
}

/// The number behind `key` in a text, such as 0.123 behind `time=`.
#[track_caller]
pub(crate) fn number(text: &str, key: &str) -> f64 {
    let (_, behind) = text.split_once(key).unwrap_or_else(|| panic!("no {key:?} in: {text}"));
    let end = behind.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(behind.len());
    behind[..end].parse().unwrap_or_else(|_| panic!("no number behind {key:?} in: {text}"))
}
