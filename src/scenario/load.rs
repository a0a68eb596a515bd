//! A scenario as the state of a box: what a kernel namespace would hold after the same configuration.
//!
//! The order is that of a start script: `default` sysctls, links (up, with carrier), all other sysctls, addresses,
//! neighbours, nexthop objects, routes, rules. What is down or lacks carrier goes down at the very end, with all that a
//! kernel removes then. Forwarding is on unless the scenario says otherwise. Called by replay, tests and `run`.

use super::sysctl::{self, NeighDefaults, Stage};
use super::{Neighbour, Scenario, ScenarioError, Value, derive, routes, rules};
use crate::iface::SCOPE_LINK;
use crate::state::{Shared, Writer};
use crate::wire::eth::parse_mac;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use warren_fib::Nud;

/// Written first of all, so that a box forwards by default as a router does.
const IMPLIED: [&str; 2] = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];
/// The multipath seed while `net.ipv4.fib_multipath_hash_seed` is 0. A kernel draws it by lot; a replay must not.
const SEED: u32 = 1;

/// A scenario that was loaded. All is published.
#[derive(Debug)]
pub struct Loaded {
    /// To change it further.
    pub writer: Writer,
    /// What workers read.
    pub shared: Arc<Shared>,
}

/// A scenario on its way into the state.
pub(super) struct Loader<'s> {
    pub(super) path: &'s Path,
    pub(super) writer: Writer,
    pub(super) shared: Arc<Shared>,
    /// When the first frame comes, for routes that expire.
    pub(super) start: u64,
}

impl Scenario {
    /// Makes the state for up to `workers` readers. `path` is the file's, for errors and for the files it names;
    /// `start` is the time of the first frame in nanoseconds of the player's clock. O(routes).
    pub fn load(&self, path: &Path, workers: usize, start: u64) -> Result<Loaded, ScenarioError> {
        // One more, to look up gateways while loading.
        let (writer, shared) = Writer::new(workers + 1, SEED).map_err(|e| meaning(path, e.to_string()))?;
        let mut loader = Loader { path, writer, shared, start };
        loader.all(self)?;
        let Loader { mut writer, shared, .. } = loader;
        writer.publish();
        Ok(Loaded { writer, shared })
    }
}

/// An error about what a scenario says.
pub(super) fn meaning(path: &Path, what: String) -> ScenarioError {
    ScenarioError::Meaning { path: path.into(), what }
}

/// Loads each entry of a table; an error names the entry by its number, from 1, and by what it is about.
fn each<'e, E>(
    path: &Path,
    table: &str,
    entries: &'e [E],
    name: impl Fn(&'e E) -> String,
    mut load: impl FnMut(&'e E) -> Result<(), String>,
) -> Result<(), ScenarioError> {
    for (entry, number) in entries.iter().zip(1..) {
        load(entry).map_err(|why| meaning(path, format!("{table} {number} ({}): {why}", name(entry))))?;
    }
    Ok(())
}

impl Loader<'_> {
    fn all(&mut self, s: &Scenario) -> Result<(), ScenarioError> {
        let path = self.path;
        let mut neigh = NeighDefaults::default();
        self.sysctls(s, &mut neigh, |stage| stage == Stage::Default)?;
        self.lo(neigh);
        each(path, "link", &s.link, |e| e.name.clone(), |e| self.link(s, e, neigh))?;
        for name in IMPLIED {
            let on = sysctl::write(&mut self.writer, &mut neigh, name, &Value::Number(1));
            on.map_err(|why| meaning(path, why))?;
        }
        self.sysctls(s, &mut neigh, |stage| stage != Stage::Default)?;
        self.unasked().map_err(|why| meaning(path, why))?;
        each(path, "address", &s.address, |e| e.prefix.to_string(), |e| self.address(e))?;
        self.groups();
        each(path, "neighbour", &s.neighbour, |e| e.to.to_string(), |e| self.neighbour(e))?;
        each(path, "nexthop", &s.nexthop, |e| e.id.to_string(), |e| routes::nexthop(self, e))?;
        each(path, "route", &s.route, |e| e.dst.clone(), |e| routes::route(self, s, e))?;
        for (list, number) in s.route_list.iter().zip(1..) {
            routes::list(self, number, list)?;
        }
        rules::load(self, &s.rule)?;
        for link in &s.link {
            self.last(s, link);
        }
        Ok(())
    }

    fn sysctls(
        &mut self,
        s: &Scenario,
        neigh: &mut NeighDefaults,
        now: impl Fn(Stage) -> bool,
    ) -> Result<(), ScenarioError> {
        let mut list: Vec<_> = s.sysctl.iter().filter(|(name, _)| now(sysctl::stage(name))).collect();
        list.sort_by_key(|(name, _)| sysctl::stage(name));
        for (name, value) in list {
            let written = sysctl::write(&mut self.writer, neigh, name, value);
            written.map_err(|why| meaning(self.path, why))?;
        }
        Ok(())
    }

    fn neighbour(&mut self, entry: &Neighbour) -> Result<(), String> {
        let index = self.index(&entry.dev)?;
        if entry.proxy == Some(true) {
            self.writer.update_iface(index, |i| match entry.to {
                IpAddr::V4(to) => i.proxies4.push(to),
                IpAddr::V6(to) => i.proxies6.push(to),
            });
            return Ok(());
        }
        let lladdr = entry.lladdr.as_deref().map(parse_mac).transpose().map_err(|e| e.to_string())?;
        let state = match entry.state.as_deref() {
            Some(name) => state(name)?,
            None => Nud::PERMANENT,
        };
        if state.is_valid() && lladdr.is_none() {
            return Err("without an lladdr its state is \"failed\" or \"incomplete\"".into());
        }
        let neighbour = warren_fib::Neighbour { lladdr: lladdr.unwrap_or_default(), state };
        self.writer.set_neighbour(index, entry.to, Some(neighbour));
        Ok(())
    }

    /// The index of the link with this name.
    pub(super) fn index(&self, name: &str) -> Result<u32, String> {
        let found = self.writer.draft().ifaces.by_name(name).map(|i| i.index);
        found.ok_or_else(|| format!("no link named {name:?}"))
    }
}

/// A scope by its name in iproute2.
pub(super) fn scope(name: &str) -> Result<u8, String> {
    match name {
        "global" => Ok(0),
        "link" => Ok(SCOPE_LINK),
        "host" => Ok(derive::SCOPE_HOST),
        _ => Err(format!("unknown scope {name:?}; there are global, link, host")),
    }
}

/// Names of neighbour states, as iproute2 prints them but in lower case.
pub(super) const STATES: [(&str, Nud); 8] = [
    ("permanent", Nud::PERMANENT),
    ("reachable", Nud::REACHABLE),
    ("stale", Nud::STALE),
    ("delay", Nud::DELAY),
    ("probe", Nud::PROBE),
    ("failed", Nud::FAILED),
    ("incomplete", Nud::INCOMPLETE),
    ("noarp", Nud::NOARP),
];

fn state(name: &str) -> Result<Nud, String> {
    let names = || STATES.map(|(n, _)| n).join(", ");
    let found = STATES.iter().find(|(n, _)| *n == name).map(|(_, state)| *state);
    found.ok_or_else(|| format!("unknown state {name:?}; there are {}", names()))
}
