//! The scenario format: a box's state as TOML, in the words of iproute2. Only the text; `load` makes it a state.
//!
//! Unknown keys are errors. Every error names the file, the line and the cause.

use super::value::{self, Value};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A scenario that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be opened.
    #[error("{path}: cannot open it: {source}", path = .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong form.
    #[error("{path}:{line}: {cause}", path = .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        cause: String,
    },
    /// Well formed, but it contradicts itself.
    #[error("{path}: {what}", path = .path.display())]
    Meaning {
        /// The file.
        path: PathBuf,
        /// Entry and cause.
        what: String,
    },
}

/// A whole scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Interfaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub link: Vec<Link>,
    /// Addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub address: Vec<Address>,
    /// Neighbours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub neighbour: Vec<Neighbour>,
    /// Nexthop objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nexthop: Vec<Nexthop>,
    /// Routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<Route>,
    /// Files of prefixes that share next hops.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route_list: Vec<RouteList>,
    /// Rules besides the kernel's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule: Vec<Rule>,
    /// Sysctls by name, such as "net.ipv6.conf.all.forwarding".
    #[serde(deserialize_with = "value::sysctls", skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<String, Value>,
}

/// `[[link]]`
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Name; all else has defaults.
    #[serde(deserialize_with = "value::name")]
    pub name: String,
    /// Hardware address; default 02:00:00:00:00:INDEX.
    #[serde(default, deserialize_with = "value::mac")]
    pub mac: Option<String>,
    /// MTU in bytes, 68 to 65535; default 1500.
    #[serde(default, deserialize_with = "value::mtu")]
    pub mtu: Option<u32>,
    /// Administratively up; default true.
    pub up: Option<bool>,
    /// Has a carrier; default true.
    pub carrier: Option<bool>,
    /// Interface index, from 2 (1 is lo); default the next free.
    pub index: Option<u32>,
}

/// `[[address]]`
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The link's name.
    pub dev: String,
    /// Address with the subnet's prefix length.
    #[serde(deserialize_with = "value::subnet")]
    pub prefix: ipnet::IpNet,
    /// "deprecated", "tentative", "optimistic", "temporary", "noprefixroute", "secondary".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// "global" (default), "link" or "host", IPv4 only.
    pub scope: Option<String>,
}

/// `[[neighbour]]`
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// The link's name.
    pub dev: String,
    /// Its address.
    #[serde(deserialize_with = "value::address")]
    pub to: IpAddr,
    /// Its hardware address.
    #[serde(default, deserialize_with = "value::lladdr")]
    pub lladdr: Option<String>,
    /// "permanent" (default with an lladdr), "reachable", "stale", "delay", "probe", "failed", "incomplete", "noarp".
    pub state: Option<String>,
    /// The host answers for this address on this link.
    pub proxy: Option<bool>,
}

/// One next hop of a route or list.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hop {
    /// Gateway, of either family.
    #[serde(default, deserialize_with = "value::address")]
    pub via: Option<IpAddr>,
    /// The link's name.
    pub dev: Option<String>,
    /// 1 to 256; default 1.
    pub weight: Option<u16>,
    /// The gateway is on the link though no prefix says so.
    pub onlink: Option<bool>,
}

/// `[[route]]`
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// Destination prefix, or "default" (whose family `via` or `family` tells).
    pub dst: String,
    /// 4 or 6, needed for "default" without a gateway only.
    pub family: Option<u8>,
    /// Gateway.
    #[serde(default, deserialize_with = "value::address")]
    pub via: Option<IpAddr>,
    /// The link's name.
    pub dev: Option<String>,
    /// Several next hops.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nexthop: Vec<Hop>,
    /// A nexthop object.
    pub nhid: Option<u32>,
    /// Source prefix, IPv6 only.
    pub from: Option<String>,
    /// Priority; default 0 for IPv4, 1024 for IPv6.
    pub metric: Option<u32>,
    /// Table; default main, local for types local, broadcast and anycast.
    pub table: Option<u32>,
    /// "unicast" (default), "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit", "throw".
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// TOS, IPv4 only.
    pub tos: Option<u8>,
    /// "global", "link" or "host", IPv4 only; default as iproute2 chooses.
    pub scope: Option<String>,
    /// MTU metric.
    pub mtu: Option<u32>,
    /// The MTU metric is locked.
    pub mtu_lock: Option<bool>,
    /// Hop limit metric.
    pub hoplimit: Option<u8>,
    /// Preferred source.
    #[serde(default, deserialize_with = "value::address")]
    pub src: Option<IpAddr>,
    /// "low", "medium" (default) or "high", IPv6 only.
    pub pref: Option<String>,
    /// The gateway is on the link though no prefix says so.
    pub onlink: Option<bool>,
    /// Seconds from the first frame on, IPv6 only.
    pub expires: Option<u32>,
}

/// `[[route_list]]`
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteList {
    /// One prefix a line, optionally with the number of its next hop; relative to the scenario.
    pub file: PathBuf,
    /// The next hops: a line without a number takes the line number modulo their count.
    pub nexthop: Vec<Hop>,
    /// Table; default main.
    pub table: Option<u32>,
}

/// A member of a nexthop group.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupMember {
    /// Its id.
    pub id: u32,
    /// Default 1.
    pub weight: Option<u16>,
}

/// `[[nexthop]]`
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nexthop {
    /// Its id.
    pub id: u32,
    /// Gateway.
    #[serde(default, deserialize_with = "value::address")]
    pub via: Option<IpAddr>,
    /// The link's name.
    pub dev: Option<String>,
    /// 4 or 6, for one without a gateway.
    pub family: Option<u8>,
    /// The gateway is on the link though no prefix says so.
    pub onlink: Option<bool>,
    /// Members of a group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<GroupMember>,
    /// "hash" (default) or "resilient".
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Buckets of a resilient group.
    pub buckets: Option<u16>,
    /// Discards.
    pub blackhole: Option<bool>,
}

/// `[[rule]]`
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Priority.
    pub pref: u32,
    /// 4 or 6, needed where no prefix tells.
    pub family: Option<u8>,
    /// Source prefix.
    pub from: Option<String>,
    /// Destination prefix.
    pub to: Option<String>,
    /// Ingress link.
    pub iif: Option<String>,
    /// Egress link.
    pub oif: Option<String>,
    /// TOS.
    pub tos: Option<u8>,
    /// Number or "tcp", "udp", "icmp", "ipv6-icmp".
    pub ipproto: Option<Value>,
    /// "80" or "1024-2047".
    pub sport: Option<Value>,
    /// "80" or "1024-2047".
    pub dport: Option<Value>,
    /// Table to look up.
    pub table: Option<u32>,
    /// "blackhole", "unreachable", "prohibit", "nop".
    pub action: Option<String>,
    /// Priority of the rule to go on with.
    pub goto: Option<u32>,
    /// Matches of this length or shorter do not count.
    pub suppress_prefixlen: Option<u8>,
    /// The rule applies where its selectors do not match.
    pub not: Option<bool>,
}

impl Scenario {
    /// Reads a scenario file.
    pub fn read(path: &Path) -> Result<Scenario, ScenarioError> {
        Scenario::parse(&read_text(path)?, path)
    }

    /// Parses a scenario; `path` is for errors.
    pub fn parse(text: &str, path: &Path) -> Result<Scenario, ScenarioError> {
        toml::from_str(text).map_err(|e| {
            let upto = e.span().map_or(0, |s| s.start);
            let line = 1 + text.get(..upto).map_or(0, |t| t.matches('\n').count());
            let cause = value::in_words(e.message().lines().next().unwrap_or("not TOML"));
            ScenarioError::Form { path: path.into(), line, cause }
        })
    }
}

/// The text of a scenario or of a list that it names.
pub(super) fn read_text(path: &Path) -> Result<String, ScenarioError> {
    let bytes = std::fs::read(path).map_err(|source| ScenarioError::Open { path: path.into(), source })?;
    String::from_utf8(bytes).map_err(|e| {
        let good = e.as_bytes().iter().take(e.utf8_error().valid_up_to());
        let line = 1 + good.filter(|byte| **byte == b'\n').count();
        ScenarioError::Form { path: path.into(), line, cause: "this is no text in UTF-8".to_owned() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Scenario, String> {
        Scenario::parse(text, Path::new("s.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn every_table_of_the_format() {
        let s = parse(
            r#"
            [[link]]
            name = "p0"
            mac = "02:00:00:00:00:02"
            [[address]]
            dev = "p0"
            prefix = "2001:db8:1::fe/64"
            flags = ["deprecated"]
            [[neighbour]]
            dev = "p0"
            to = "2001:db8:1::1"
            lladdr = "02:00:00:00:00:04"
            [[route]]
            dst = "10.5.0.0/16"
            nexthop = [ { via = "10.0.1.1", dev = "p0", weight = 1 }, { via = "10.0.2.1", dev = "p1", weight = 2 } ]
            [[route_list]]
            file = "table.txt"
            nexthop = [ { via = "10.0.2.1", dev = "p1" } ]
            [[nexthop]]
            id = 1
            via = "10.0.1.1"
            dev = "p0"
            [[rule]]
            pref = 100
            from = "10.66.0.0/16"
            table = 100
            dport = "1024-2047"
            [sysctl]
            "net.ipv6.conf.all.forwarding" = 1
            "net.ipv6.icmp.ratemask" = ""
            "#,
        )
        .unwrap();
        assert_eq!((s.link.len(), s.route[0].nexthop.len(), s.sysctl.len()), (1, 2, 2));
        let again = parse(&toml::to_string(&s).unwrap()).unwrap();
        assert_eq!(again, s, "what is written reads back");
    }

    #[test]
    fn errors_name_line_and_cause() {
        let unknown = parse("[[link]]\nname = \"p0\"\nspeed = 10\n").unwrap_err();
        assert!(unknown.starts_with("s.toml:3: unknown field `speed`"), "{unknown}");
        let value = parse("[[address]]\ndev = \"p0\"\nprefix = \"10.0.0.1/99\"\n").unwrap_err();
        assert!(value.starts_with("s.toml:3: "), "{value}");
        assert!(parse("[[link]\n").unwrap_err().starts_with("s.toml:1: "));
        let missing = Scenario::read(Path::new("/nonexistent/s.toml")).unwrap_err().to_string();
        assert!(missing.starts_with("/nonexistent/s.toml: cannot open it: No such file"), "{missing}");
    }
}
