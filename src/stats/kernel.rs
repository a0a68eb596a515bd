//! The kernel's own forwarding counters of this namespace, under the names that `nstat` prints.
//!
//! Source: `/proc/net/snmp`, `/proc/net/netstat` (pairs of lines: names, values) and `/proc/net/snmp6` (name and value).

use crate::stats::Mib;
use std::collections::BTreeMap;

/// The value of each counter that the kernel shows. A file that is not there (no IPv6) shows none.
pub fn counters() -> BTreeMap<Mib, u64> {
    let mut all = datagrams();
    all.append(&mut pairs_of_lines(&read("netstat")));
    all
}

/// Those of them that every IP host has, ICMP's among them: all but `netstat`'s.
pub fn datagrams() -> BTreeMap<Mib, u64> {
    let mut all = pairs_of_lines(&read("snmp"));
    all.append(&mut lines_of_pairs(&read("snmp6")));
    all
}

fn read(file: &str) -> String {
    // Not /proc/net: that is the namespace of the process, not of this thread.
    std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default()
}

fn pairs_of_lines(text: &str) -> BTreeMap<Mib, u64> {
    let mut found = BTreeMap::new();
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let Some((section, names)) = names.split_once(": ") else { continue };
        let values = values.split_whitespace().skip(1);
        for (name, value) in names.split_whitespace().zip(values) {
            if let (Ok(counter), Ok(value)) = (format!("{section}{name}").parse(), value.parse()) {
                found.insert(counter, value);
            }
        }
    }
    found
}

fn lines_of_pairs(text: &str) -> BTreeMap<Mib, u64> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        Some((name.parse().ok()?, value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let snmp = "Ip: Forwarding InReceives ForwDatagrams\nIp: 1 10 7\nTcp: MaxConn\nTcp: -1\n";
        assert_eq!(pairs_of_lines(snmp), [(Mib::IpInReceives, 10), (Mib::IpForwDatagrams, 7)].into());
        let snmp6 = "Ip6InReceives                   \t12\nIp6Reasm\t1\nnonsense\n";
        assert_eq!(lines_of_pairs(snmp6), [(Mib::Ip6InReceives, 12)].into());
    }

    #[test]
    fn this_kernel_shows_them() {
        let all = counters();
        for counter in [Mib::IpForwDatagrams, Mib::IpExtInNoRoutes, Mib::Ip6OutForwDatagrams] {
            assert!(all.contains_key(&counter), "{counter}");
        }
    }
}
