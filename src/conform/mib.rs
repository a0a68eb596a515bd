//! The kernel's counters as `/proc/net` shows them, by the names that `nstat` prints.
//!
//! Invariants: all are kept that warren has (`stats::Mib`) or that are not known here, so a counter that only a newer
//! kernel has shows as a difference; those of [`uncounted`] are taken out by name. Only counters that are not zero are kept,
//! so two pictures are equal exactly if they print alike.

use super::masked::{REASSEMBLY, UNNAMED};
use super::{Masked, Result, system};
use crate::stats::Mib;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;

/// Where the calling thread's namespace shows its counters; `/proc/net` would be that of the main thread.
const PROC_NET: &str = "/proc/thread-self/net";

/// Counter values by name.
pub type Values = BTreeMap<String, u64>;

/// What was counted: for the whole namespace, and by interface where the kernel does so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Counters {
    /// Of the whole namespace.
    pub netns: Values,
    /// By interface name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dev: BTreeMap<String, Values>,
}

impl Counters {
    /// Reads the calling thread's namespace; `links` are the names of the interfaces.
    ///
    /// # Errors
    /// [`super::ConformError::System`] naming the file.
    pub fn read<'n>(links: impl Iterator<Item = &'n str>) -> Result<Counters> {
        let mut counters = Counters { netns: columns(&file("snmp6")?), dev: BTreeMap::new() };
        for paired in ["snmp", "netstat"] {
            counters.netns.extend(headed(&file(paired)?));
        }
        for name in links {
            // An interface without IPv6 has no file.
            if let Ok(text) = fs::read_to_string(format!("{PROC_NET}/dev_snmp6/{name}")) {
                counters.dev.insert(name.to_owned(), columns(&text));
            }
        }
        Ok(counters)
    }

    /// What was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Counters) -> Counters {
        let none = Values::new();
        let dev = self
            .dev
            .iter()
            .map(|(name, values)| (name.clone(), difference(values, before.dev.get(name).unwrap_or(&none))));
        let dev = dev.filter(|(_, values)| !values.is_empty()).collect();
        Counters { netns: difference(&self.netns, &before.netns), dev }
    }

    /// Takes `by` off a counter of the namespace and, where the kernel keeps one, of the interface.
    pub fn take_off(&mut self, name: &str, link: &str, by: u64) {
        take(&mut self.netns, name, by);
        if let Some(values) = self.dev.get_mut(link) {
            take(values, name, by);
        }
        self.dev.retain(|_, values| !values.is_empty());
    }

    /// Takes out what warren has no counters for, and notes how often they moved.
    pub fn take_uncounted(&mut self, masked: &mut Masked) {
        self.netns.retain(|name, value| {
            let mask = uncounted(name);
            mask.iter().for_each(|mask| masked.add(mask, *value as usize, 0));
            mask.is_none()
        });
        for values in self.dev.values_mut() {
            values.retain(|name, _| uncounted(name).is_none());
        }
        self.dev.retain(|_, values| !values.is_empty());
    }
}

fn take(values: &mut Values, name: &str, by: u64) {
    let Some(value) = values.get_mut(name) else { return };
    *value = value.saturating_sub(by);
    if *value == 0 {
        values.remove(name);
    }
}

fn difference(after: &Values, before: &Values) -> Values {
    let less = |(name, value): (&String, &u64)| {
        (name.clone(), value.saturating_sub(before.get(name).copied().unwrap_or(0)))
    };
    after.iter().map(less).filter(|(_, value)| *value != 0).collect()
}

fn file(name: &str) -> Result<String> {
    let path = format!("{PROC_NET}/{name}");
    fs::read_to_string(&path).map_err(system(format!("read {path}")))
}

/// The mask of a counter that warren lacks.
fn uncounted(name: &str) -> Option<&'static str> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    match name {
        _ if name.parse::<Mib>().is_ok() => None,
        _ if begins(&["Ip6Reasm", "IpReasm", "IpExtReasm"]) => Some(REASSEMBLY),
        _ if begins(&["Icmp6InType", "IcmpMsgInType"]) => Some(UNNAMED),
        _ => None,
    }
}

/// The form of snmp6: a name and a value on each line.
fn columns(text: &str) -> Values {
    let pairs = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    let counters = pairs.filter(|(name, _)| *name != "ifIndex");
    counters.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?))).collect()
}

/// The form of snmp and netstat: a line of names, then a line of values, both behind the same heading.
fn headed(text: &str) -> Values {
    let mut lines = text.lines();
    let mut values = Values::new();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let Some((heading, names)) = names.split_once(':') else { continue };
        let Some((_, numbers)) = numbers.split_once(':') else { continue };
        let both = names.split_whitespace().zip(numbers.split_whitespace());
        values.extend(
            both.filter_map(|(name, number)| Some((format!("{heading}{name}"), number.parse().ok()?))),
        );
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, u64)]) -> Values {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn both_forms_of_proc() {
        let six = "ifIndex                         \t2\nIp6InReceives                   \t17\nhalf\n";
        assert_eq!(columns(six), values(&[("Ip6InReceives", 17)]));
        let four = "Ip: InReceives\nIp: 9\nTcp: MaxConn\nTcp: -1\nIpExt: InNoRoutes New\nIpExt: 4 5\nhalf\n";
        assert_eq!(headed(four), values(&[("IpInReceives", 9), ("IpExtInNoRoutes", 4), ("IpExtNew", 5)]));
    }

    #[test]
    fn a_difference_keeps_what_moved() {
        let dev = |v| BTreeMap::from([("p0".to_owned(), v)]);
        let before = Counters { netns: values(&[("IpInReceives", 5)]), dev: dev(values(&[])) };
        let moved = values(&[("IpInReceives", 5), ("Ip6InReceives", 3), ("Ip6OutRequests", 1)]);
        let after = Counters { netns: moved, dev: dev(values(&[("Ip6InReceives", 3)])) };
        let mut delta = after.since(&before);
        assert_eq!(delta.netns, values(&[("Ip6InReceives", 3), ("Ip6OutRequests", 1)]));
        delta.take_off("Ip6OutRequests", "p0", 1);
        delta.take_off("Ip6InReceives", "p0", 1);
        assert_eq!(delta.netns, values(&[("Ip6InReceives", 2)]));
        assert_eq!(delta.dev, dev(values(&[("Ip6InReceives", 2)])));
        assert_eq!(after.since(&after), Counters::default());
    }

    #[test]
    fn what_warren_lacks_is_taken_out_by_name_and_all_else_stays() {
        let all = [("Ip6ReasmTimeout", 2), ("IpReasmOKs", 1), ("Icmp6InType200", 3), ("Ip6ReasmFails", 9)];
        let kept = [("IpReasmReqds", 2), ("Icmp6InType1", 5), ("IpExtNew", 1)];
        let dev = BTreeMap::from([("p0".to_owned(), values(&[("Icmp6InType200", 3)]))]);
        let mut counters = Counters { netns: values(&[&all[..], &kept].concat()), dev };
        let mut masked = Masked::default();
        counters.take_uncounted(&mut masked);
        assert_eq!(counters, Counters { netns: values(&kept), dev: BTreeMap::new() });
        let frames = |name: &str| masked.0.get(name).map(|hidden| hidden.frames);
        assert_eq!([REASSEMBLY, UNNAMED].map(frames), [Some(12), Some(3)]);
    }

    #[test]
    fn this_machine_counts() {
        let counters = Counters::read(["lo"].into_iter()).unwrap();
        for name in ["Ip6InReceives", "IpInReceives", "IpExtInOctets", "TcpExtIPReversePathFilter"] {
            assert!(counters.netns.contains_key(name), "{name} in {:?}", counters.netns);
        }
        assert!(counters.dev["lo"].contains_key("Ip6InReceives"));
    }
}
