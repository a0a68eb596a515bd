//! Sysctls of a live box that differ from what a scenario implies. Part of a snapshot.

use super::{Snapshot, SnapshotError};
use crate::scenario::Value;
use crate::state::State;
use crate::sysctl::{Conf4, Conf6, Global4, Global6, NeighConf, RateMask6};
use std::fs;

/// The calling thread's own, as `/proc/sys/net` always shows those of whoever reads.
const PROC: &str = "/proc/sys/net";
/// Set by link state and by address, which the scenario has elsewhere.
const NOT_WRITTEN: [&str; 2] = ["mc_forwarding", "addr_gen_mode"];

/// A sysctl's number; `None` where this kernel does not have it.
fn number(path: &str) -> Option<i64> {
    fs::read_to_string(format!("{PROC}/{path}")).ok()?.trim().parse().ok()
}

impl Snapshot {
    /// Writes down what differs: first what is global, as that may change devices, then the devices.
    pub(super) fn sysctls(&mut self) -> Result<(), SnapshotError> {
        let loaded = self.load()?;
        self.global(loaded.writer.draft());
        let loaded = self.load()?;
        self.devices(loaded.writer.draft());
        Ok(())
    }

    /// Notes a value if the state has another.
    fn note(&mut self, path: &str, name: String, has: Option<i64>) {
        if let Some(value) = number(path).filter(|value| has != Some(*value)) {
            self.scenario.sysctl.insert(name, Value::Number(value));
        }
    }

    fn global(&mut self, state: &State) {
        let s = &state.sysctl;
        for (leaf, _) in Global4::NAMES {
            self.note(&format!("ipv4/{leaf}"), format!("net.ipv4.{leaf}"), s.ip4.get(leaf));
        }
        for (leaf, _) in Global6::NAMES {
            let place = leaf.strip_prefix("icmp_").map_or((*leaf).to_owned(), |l| format!("icmp/{l}"));
            self.note(
                &format!("ipv6/{place}"),
                format!("net.ipv6.{}", place.replace('/', ".")),
                s.ip6.get(leaf),
            );
        }
        for (leaf, _) in Conf4::NAMES.iter().filter(|(leaf, _)| written(leaf)) {
            self.note(
                &format!("ipv4/conf/all/{leaf}"),
                format!("net.ipv4.conf.all.{leaf}"),
                s.all4.get(leaf),
            );
        }
        for (leaf, _) in Conf6::NAMES.iter().filter(|(leaf, _)| written(leaf) && *leaf != "mtu") {
            self.note(
                &format!("ipv6/conf/all/{leaf}"),
                format!("net.ipv6.conf.all.{leaf}"),
                s.all6.get(leaf),
            );
        }
        if let Ok(list) = fs::read_to_string(format!("{PROC}/ipv6/icmp/ratemask"))
            && RateMask6::parse(&list).is_some_and(|mask| mask != s.ratemask6)
        {
            let name = "net.ipv6.icmp.ratemask".to_owned();
            self.scenario.sysctl.insert(name, Value::Text(list.trim().to_owned()));
        }
    }

    fn devices(&mut self, state: &State) {
        for iface in state.ifaces.iter() {
            let (dev, said) = (&iface.name, iface.name.replace('.', "/"));
            for (leaf, _) in Conf4::NAMES.iter().filter(|(leaf, _)| written(leaf)) {
                let name = format!("net.ipv4.conf.{said}.{leaf}");
                self.note(&format!("ipv4/conf/{dev}/{leaf}"), name, iface.conf4.get(leaf));
            }
            for (leaf, _) in Conf6::NAMES.iter().filter(|(leaf, _)| written(leaf)) {
                let name = format!("net.ipv6.conf.{said}.{leaf}");
                self.note(&format!("ipv6/conf/{dev}/{leaf}"), name, iface.conf6.get(leaf));
            }
            for (leaf, _) in NeighConf::NAMES {
                for (family, conf) in [("ipv4", &iface.neigh4), ("ipv6", &iface.neigh6)] {
                    let name = format!("net.{family}.neigh.{said}.{leaf}");
                    self.note(&format!("{family}/neigh/{dev}/{leaf}"), name, conf.get(leaf));
                }
            }
        }
    }
}

fn written(leaf: &str) -> bool {
    !NOT_WRITTEN.contains(&leaf)
}
