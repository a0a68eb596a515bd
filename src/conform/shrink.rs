//! From a box that differs to the least frames and the least scenario that still do.
//!
//! Invariant: what comes out was tried, and differs. What it costs is tries, each of them a new box: frames go by halves,
//! then one by one; then the scenario entry by entry and key by key. Called by `run`.

use super::Frame;
use crate::scenario::Scenario;
use std::path::Path;
use toml::{Table, Value};

/// The sections of a scenario, those first that rest on others.
const SECTIONS: [&str; 6] = ["rule", "route", "nexthop", "neighbour", "address", "link"];
/// Tries after which what is left is good enough.
const TRIES_MAX: usize = 400;
/// Sysctls without which two runs cannot be compared.
const KEPT: [&str; 8] = [
    "net.ipv4.icmp_ratemask",
    "net.ipv4.neigh.",
    "net.ipv6.icmp.ratemask",
    "net.ipv6.auto_flowlabels",
    "net.ipv4.fib_multipath_hash_seed",
    "net.ipv4.icmp_msgs_per_sec",
    "net.ipv4.icmp_msgs_burst",
    "net.ipv6.neigh.",
];

/// Shrinks both. `suspects` are frames that may be enough by themselves; `differs` builds a box and tells.
pub fn shrink(
    scenario: &Scenario,
    frames: &[Frame],
    suspects: &[Frame],
    differs: &mut impl FnMut(&Scenario, &[Frame]) -> bool,
) -> (Scenario, Vec<Frame>) {
    let mut tries = 0;
    let mut differs = |scenario: &Scenario, frames: &[Frame]| {
        tries += 1;
        tries <= TRIES_MAX && differs(scenario, frames)
    };
    let alone = suspects.iter().find(|frame| differs(scenario, std::slice::from_ref(*frame)));
    let frames = match alone {
        Some(frame) => vec![frame.clone()],
        None => least(frames.to_vec(), |some| differs(scenario, some)),
    };
    let Ok(mut table) = Table::try_from(scenario) else { return (scenario.clone(), frames) };
    let mut differs = |table: &Table| parse(table).is_some_and(|scenario| differs(&scenario, &frames));
    for section in SECTIONS {
        let Some(Value::Array(entries)) = table.get(section).cloned() else { continue };
        let kept = least(entries, |some| differs(&with(&table, section, some)));
        table = with(&table, section, &kept);
    }
    sysctls(&mut table, &mut differs);
    keys(&mut table, &mut differs);
    (parse(&table).unwrap_or_else(|| scenario.clone()), frames)
}

/// The least part of a list that still differs: halves are left out, then quarters, down to single items.
fn least<T: Clone>(mut items: Vec<T>, mut differs: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut chunk = items.len();
    while chunk > 0 {
        let mut at = 0;
        while at < items.len() {
            let without: Vec<T> =
                items.iter().take(at).chain(items.iter().skip(at + chunk)).cloned().collect();
            if differs(&without) {
                items = without;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
    items
}

fn parse(table: &Table) -> Option<Scenario> {
    Scenario::parse(&toml::to_string(table).ok()?, Path::new("shrunk")).ok()
}

fn name(link: &Value) -> Option<&str> {
    link.get("name")?.as_str()
}

/// Whether a sysctl is one of a link's own, as `net.ipv6.conf.p0.forwarding`.
fn is_of(sysctl: &str, link: &str) -> bool {
    [".conf.", ".neigh."].iter().any(|group| {
        let own = sysctl.split_once(group).and_then(|(_, own)| own.strip_prefix(link));
        own.is_some_and(|rest| rest.starts_with('.'))
    })
}

/// The table with these entries in a section. What is said of links that are not among them goes with them.
fn with(table: &Table, section: &str, entries: &[Value]) -> Table {
    let mut table = table.clone();
    let before = table.insert(section.to_owned(), Value::Array(entries.to_vec()));
    if section == "link" {
        let gone = before.as_ref().and_then(Value::as_array).into_iter().flatten();
        let gone: Vec<&str> = gone.filter(|link| !entries.contains(link)).filter_map(name).collect();
        if let Some(Value::Table(all)) = table.get_mut("sysctl") {
            all.retain(|sysctl, _| !gone.iter().any(|link| is_of(sysctl, link)));
        }
    }
    table
}

fn sysctls(table: &mut Table, differs: &mut impl FnMut(&Table) -> bool) {
    let Some(Value::Table(all)) = table.get("sysctl").cloned() else { return };
    let is_kept = |name: &String| KEPT.iter().any(|kept| name.starts_with(kept));
    let (kept, free): (Vec<_>, Vec<_>) = all.into_iter().partition(|(name, _)| is_kept(name));
    let build = |table: &Table, some: &[(String, Value)]| {
        let mut table = table.clone();
        let all = kept.iter().chain(some).cloned().collect();
        table.insert("sysctl".to_owned(), Value::Table(all));
        table
    };
    let needed = least(free, |some| differs(&build(table, some)));
    *table = build(table, &needed);
}

/// Leaves out single keys of entries.
fn keys(table: &mut Table, differs: &mut impl FnMut(&Table) -> bool) {
    for section in SECTIONS {
        let count = table.get(section).and_then(Value::as_array).map_or(0, Vec::len);
        for place in 0..count {
            let entry = |t: &Table| t.get(section)?.as_array()?.get(place)?.as_table().cloned();
            let names: Vec<String> = entry(table).into_iter().flatten().map(|(name, _)| name).collect();
            for name in names {
                let mut tried = table.clone();
                let all = tried.get_mut(section).and_then(Value::as_array_mut);
                let one = all.and_then(|a| a.get_mut(place)).and_then(Value::as_table_mut);
                if one.and_then(|entry| entry.remove(&name)).is_some() && differs(&tried) {
                    *table = tried;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: &str = r#"
        link = [{ name = "p0", index = 2 }, { name = "p1", index = 3, mtu = 1400 }]
        address = [{ dev = "p0", prefix = "2001:db8:1::fe/64" }, { dev = "p1", prefix = "2001:db8:2::fe/64" }]
        neighbour = [{ dev = "p1", to = "2001:db8:2::1", lladdr = "02:00:00:00:01:02" }]
        route = [
            { dst = "2001:db8:40::/48", via = "2001:db8:1::1", dev = "p0" },
            { dst = "2001:db8:41::/48", via = "2001:db8:2::1", dev = "p1", mtu = 1300, mtu_lock = true },
            { dst = "2001:db8:50::/48", type = "blackhole" },
        ]
        [sysctl]
        "net.ipv4.fib_multipath_hash_policy" = 1
        "net.ipv4.fib_multipath_hash_seed" = 1
        "net.ipv6.auto_flowlabels" = 0
        "net.ipv6.fib_multipath_hash_policy" = 1
    "#;

    fn frame(byte: u8) -> Frame {
        Frame { link: "p0".to_owned(), time: byte.into(), bytes: vec![byte] }
    }

    #[test]
    fn a_planted_fault_is_all_that_remains() {
        let scenario = Scenario::parse(ROUTER, Path::new("s")).unwrap();
        let frames: Vec<Frame> = (0..100).map(frame).collect();
        // Wrong are packets that follow packet 7 over a route whose MTU is locked, where the hash policy is 1.
        let mut tries = 0;
        let mut fault = |s: &Scenario, frames: &[Frame]| {
            tries += 1;
            let locked = s.route.iter().any(|r| r.mtu_lock == Some(true) && r.mtu.is_some());
            let policy = s.sysctl.contains_key("net.ipv6.fib_multipath_hash_policy");
            let seven = frames.iter().position(|f| f.bytes == [7]);
            locked && policy && seven.is_some_and(|at| frames.iter().skip(at).any(|f| f.bytes == [60]))
        };
        let (s, left) = shrink(&scenario, &frames, &[frame(60)], &mut fault);
        assert!(fault(&s, &left));
        assert_eq!(left, [frame(7), frame(60)]);
        assert_eq!((s.link.len(), s.address.len(), s.neighbour.len(), s.route.len()), (0, 0, 0, 1));
        assert_eq!((s.route[0].via, s.route[0].mtu), (None, Some(1300)));
        assert_eq!(s.sysctl.len(), 3, "the fault's, and two that are kept: {:?}", s.sysctl);
        assert!(tries < 300, "{tries}");
        let (_, alone) = shrink(&scenario, &frames, &[frame(60)], &mut |_, f| f.contains(&frame(60)));
        assert_eq!(alone, [frame(60)]);
    }

    #[test]
    fn sysctls_of_a_link_go_with_it() {
        let more = "\"net.ipv6.neigh.p0.mcast_solicit\" = 1\n\"net.ipv6.neigh.p1.mcast_solicit\" = 1\n";
        let scenario = Scenario::parse(&format!("{ROUTER}{more}"), Path::new("s")).unwrap();
        // As when it is loaded: a sysctl of a link that is not there is an error.
        let mut fault = |s: &Scenario, _: &[Frame]| {
            let links: Vec<&str> = s.link.iter().map(|l| l.name.as_str()).collect();
            let of_none = |link| !links.contains(&link) && s.sysctl.keys().any(|name| is_of(name, link));
            links.contains(&"p1") && !of_none("p0") && !of_none("p1")
        };
        let (s, _) = shrink(&scenario, &[frame(1)], &[], &mut fault);
        assert_eq!(s.link.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["p1"]);
        let kept = |link| s.sysctl.keys().any(|name| is_of(name, link));
        assert!(kept("p1") && !kept("p0"), "{:?}", s.sysctl);
        assert!(!is_of("net.ipv6.neigh.p10.mcast_solicit", "p1"));
    }

    #[test]
    fn the_least_part_of_a_list() {
        let all: Vec<u8> = (0..77).collect();
        let needs = |wanted: &'static [u8]| move |some: &[u8]| wanted.iter().all(|w| some.contains(w));
        for wanted in [&[][..], &[0], &[76], &[3, 4, 70]] {
            assert_eq!(least(all.clone(), needs(wanted)), wanted);
        }
    }
}
