//! The tables of `warren show`, made from published snapshots, counters and, for what only the mirror knows, by control.
//!
//! Invariant: showing never changes anything and never holds up a worker; control gives a page at a time. Called by the control
//! socket's thread.

mod mirror;

use super::table::Table;
use crate::control::live::Request;
use crate::control::sync::Mirror;
use crate::drop::DropReason;
use crate::iface::{Ifaces, LinkKind};
use crate::port::wait::Waker;
use crate::state::Shared;
use crate::stats::{Counts, Link, Mib, Own, WorkerStats, kernel};
use crossbeam_channel::{Sender, bounded};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use warren_fib::{DETACHED, Ip, Prefix, Rule, RuleAction, Rules};

/// How long control may be busy before it is given up.
const PATIENCE: Duration = Duration::from_secs(3);
/// What a standalone router says to all else.
const STANDALONE: &str =
    "a standalone router shows links, rules, counters, drops and workers; the rest stands in its scenario";

/// What can be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// All routes as the kernel has them
    Routes,
    /// Neighbours with their link-layer addresses
    Neigh,
    /// Interfaces, which are taken, and their frames
    Links,
    /// Policy rules of both families
    Rules,
    /// Nexthop objects
    Nexthops,
    /// MIB counters: warren's, the kernel's, the sum
    Counters,
    /// Packets dropped, by reason
    Drops,
    /// What each worker has done
    Workers,
    /// The mirror of the kernel's state
    Sync,
}

/// Where the rows come from.
pub struct Source {
    /// The published state.
    pub shared: Arc<Shared>,
    /// Each worker's counters.
    pub workers: Vec<Arc<WorkerStats>>,
    /// To the control thread; a standalone router has none.
    pub control: Option<Control>,
}

/// How to reach the control thread.
pub struct Control {
    /// What is wanted of it.
    pub requests: Sender<Request>,
    /// Ends its sleep.
    pub waker: Waker,
}

impl Source {
    /// One page of a table, from row `from` on; only long tables come in pages. The error is one line.
    pub fn table(&self, topic: Topic, from: usize) -> Result<Table, String> {
        Ok(match topic {
            Topic::Routes => self.mirror(move |mirror| mirror::routes(mirror, from))?,
            Topic::Neigh => self.mirror(mirror::neighbours)?,
            Topic::Nexthops => self.mirror(mirror::nexthops)?,
            Topic::Sync => self.mirror(mirror::sync)?,
            Topic::Links => self.links(),
            Topic::Rules => self.rules(),
            Topic::Counters => self.counters(),
            Topic::Drops => self.drops(),
            Topic::Workers => self.workers(),
        })
    }

    /// Asks control to give everything back; returns when the kernel forwards.
    pub fn stop(&self) -> Result<(), String> {
        let (sender, done) = bounded(1);
        self.request(Request::Stop(Some(sender)))?;
        done.recv_timeout(PATIENCE).map_err(|_| busy())
    }

    fn mirror(&self, look: impl FnOnce(&mut Mirror) -> Table + Send + 'static) -> Result<Table, String> {
        let (sender, answer) = bounded(1);
        self.request(Request::Look(Box::new(move |mirror| {
            let _ = sender.send(look(mirror));
        })))?;
        answer.recv_timeout(PATIENCE).map_err(|_| busy())
    }

    fn request(&self, request: Request) -> Result<(), String> {
        let Control { requests, waker } = self.control.as_ref().ok_or_else(|| STANDALONE.to_owned())?;
        requests.send(request).map_err(|_| "it is ending".to_owned())?;
        waker.wake().map_err(|error| format!("cannot wake control: {error}"))
    }

    fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        self.workers.iter().for_each(|w| sum.add(&w.snapshot()));
        sum
    }

    fn links(&self) -> Table {
        let mut table = Table::new(&[
            "index",
            "name",
            "taken",
            "kind",
            "mac",
            "mtu",
            "up",
            "carrier",
            "rx_packets",
            "rx_bytes",
            "rx_dropped",
            "tx_packets",
            "tx_bytes",
            "tx_dropped",
        ]);
        let (state, sum) = (self.shared.state.load(), self.sum());
        for i in state.ifaces.iter() {
            let kind = match i.kind {
                LinkKind::Ethernet => "ethernet",
                LinkKind::Loopback => "loopback",
                LinkKind::Raw => "raw",
            };
            let count = |which| json!(sum.link(i.slot, which));
            table.row([
                json!(i.index),
                json!(i.name),
                json!(i.taken),
                json!(kind),
                json!(mac(i.mac)),
                json!(i.mtu),
                json!(i.up),
                json!(i.carrier),
                count(Link::RxPackets),
                count(Link::RxBytes),
                count(Link::RxDropped),
                count(Link::TxPackets),
                count(Link::TxBytes),
                count(Link::TxDropped),
            ]);
        }
        table
    }

    fn rules(&self) -> Table {
        let mut table = Table::new(&["family", "pref", "condition", "action", "table"]);
        let state = self.shared.state.load();
        add_rules(&mut table, &state.rules4, &state.ifaces);
        add_rules(&mut table, &state.rules6, &state.ifaces);
        table
    }

    fn counters(&self) -> Table {
        let mut table = Table::new(&["counter", "warren", "kernel", "sum"]);
        // Nothing that the kernel counts is a standalone router's.
        let kernel = self.control.as_ref().map(|_| kernel::counters()).unwrap_or_default();
        let ours = self.sum();
        for &counter in Mib::ALL {
            let (ours, kernel) = (ours.mib(counter), kernel.get(&counter).copied());
            if ours != 0 || kernel.is_some_and(|k| k != 0) {
                let sum = ours.wrapping_add(kernel.unwrap_or(0));
                table.row([json!(counter.name()), json!(ours), json!(kernel), json!(sum)]);
            }
        }
        table
    }

    fn drops(&self) -> Table {
        let mut table = Table::new(&["reason", "packets", "kernel", "rfc", "why"]);
        let sum = self.sum();
        for &reason in DropReason::ALL {
            let (packets, info) = (sum.drops(reason as usize), reason.info());
            if packets != 0 {
                table.row([
                    json!(info.name),
                    json!(packets),
                    json!(info.kernel),
                    json!(info.rfc),
                    json!(info.text),
                ]);
            }
        }
        table
    }

    fn workers(&self) -> Table {
        let own: Vec<String> = Own::ALL.iter().map(|o| snake(o.name())).collect();
        let columns: Vec<&str> = ["worker"].into_iter().chain(own.iter().map(String::as_str)).collect();
        let mut table = Table::new(&columns);
        for (number, worker) in self.workers.iter().enumerate() {
            let counts = worker.snapshot();
            let values = Own::ALL.iter().map(|&o| json!(counts.own(o)));
            table.rows.push(std::iter::once(json!(number)).chain(values).collect());
        }
        table
    }
}

fn busy() -> String {
    format!("the control thread did not answer within {} s; try again", PATIENCE.as_secs())
}

/// `aa:bb:cc:dd:ee:ff`
fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|b| format!("{b:02x}")).join(":")
}

/// `FastPackets` as `fast_packets`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

fn family<A: Ip>() -> Value {
    json!(if A::V6 { 6 } else { 4 })
}

fn add_rules<A: Ip>(table: &mut Table, rules: &Rules<A>, ifaces: &Ifaces) {
    for rule in rules.iter() {
        let (action, looked_up) = match rule.action {
            RuleAction::Table(id) => ("lookup".to_owned(), Some(id)),
            RuleAction::Goto(pref) => (format!("goto {pref}"), None),
            other => (format!("{other:?}").to_lowercase(), None),
        };
        let condition = condition(rule, ifaces);
        table.row([family::<A>(), json!(rule.pref), json!(condition), json!(action), json!(looked_up)]);
    }
}

/// In the words of `ip rule`.
fn condition<A: Ip>(rule: &Rule<A>, ifaces: &Ifaces) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut add = |name: &str, value: Option<String>| words.extend(value.map(|v| format!("{name} {v}")));
    let prefix = |p: Prefix<A>| (p != Prefix::ANY).then(|| p.to_string());
    let ports = |range: Option<(u16, u16)>| {
        range.map(|(low, high)| if low == high { low.to_string() } else { format!("{low}-{high}") })
    };
    let link = |index: Option<u32>| match index? {
        DETACHED => Some("[detached]".to_owned()),
        index => Some(mirror::name(index, ifaces)),
    };
    add("from", prefix(rule.from));
    add("to", prefix(rule.to));
    add("iif", link(rule.iif));
    add("oif", link(rule.oif));
    add("tos", (rule.tos != 0).then(|| rule.tos.to_string()));
    add("fwmark", (rule.mask != 0).then(|| format!("{:#x}/{:#x}", rule.mark, rule.mask)));
    add("ipproto", rule.ipproto.map(|p| p.to_string()));
    add("sport", ports(rule.sport));
    add("dport", ports(rule.dport));
    add("suppress_prefixlength", rule.suppress_prefixlen.map(|l| l.to_string()));
    match (rule.invert, words.is_empty()) {
        (true, _) => format!("not {}", words.join(" ")),
        (false, true) => "all".into(),
        (false, false) => words.join(" "),
    }
}
