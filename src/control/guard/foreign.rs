//! Finds what the kernel would do to forwarded packets and warren does not: firewalls, traffic control, IPsec.
//!
//! Nothing that filters is bypassed silently: what is found keeps its interface or family with the kernel, unless the
//! user overrides it. The control thread calls [`find`] before it takes an interface and whenever [`Watcher`] speaks.
//! Warren's own guards do not count. All work is on the network namespace of the calling thread.
//!
//! Announced by nobody, so seen only when `find` runs: iptables-legacy tables, tcx programs, br_netfilter's switches.
//! Not seen: BPF programs at netfilter hooks, IPVS, and children of an `mq` queueing discipline.

mod nftables;
mod tc;
mod watch;
mod xfrm;

use std::fmt;
use std::fs;
use std::io;

use crate::sys::bpf::BpfError;
pub use watch::Watcher;

/// The words of `run --bypass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Netfilter: nftables, iptables-legacy, br_netfilter.
    Firewall,
    /// Traffic control, and the BPF programs at tcx and XDP.
    Tc,
    /// XFRM policies.
    Ipsec,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Firewall => "firewall",
            Self::Tc => "tc",
            Self::Ipsec => "ipsec",
        })
    }
}

/// A protocol family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One thing that the kernel would apply to forwarded packets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Which word of `--bypass` overrides it.
    pub what: What,
    /// The only family concerned, or both.
    pub family: Option<Family>,
    /// The only interface concerned (it may be one that warren only sends on), or all.
    pub interface: Option<String>,
    /// It, by name, in one line for the user.
    pub line: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// What [`find`] has to know of an interface. All of it is in a link message.
#[derive(Debug, Clone, Copy)]
pub struct Interface<'a> {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: &'a str,
    /// Whether it is a bridge (IFLA_INFO_KIND).
    pub bridge: bool,
    /// The name of its root queueing discipline (IFLA_QDISC).
    pub qdisc: &'a str,
    /// The number of the XDP program on it, if any (IFLA_XDP_PROG_ID).
    pub xdp: Option<u32>,
}

/// Why it cannot be told what filters there are. To be on the safe side, forward nothing then.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// The kernel refused a list.
    #[error("cannot list {what}: {source} (CAP_NET_ADMIN is needed)")]
    Netlink {
        /// Of what.
        what: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel refused to tell about BPF programs.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// A file in /proc is there, but cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Its path.
        path: String,
        /// The reason.
        source: io::Error,
    },
}

/// Everything in this namespace that would be bypassed if warren forwarded between `interfaces`, sorted, each once.
/// About six requests to the kernel and four more for each interface.
pub fn find(interfaces: &[Interface<'_>]) -> Result<Vec<Finding>, ForeignError> {
    let mut found = nftables::chains()?;
    found.extend(legacy_tables()?);
    found.extend(xfrm::policies()?);
    for interface in interfaces {
        found.extend(tc::on(interface)?);
        if interface.bridge {
            found.extend(bridge_netfilter(interface)?);
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Tables of iptables-legacy; the kernel makes one when somebody first looks at it.
/// Not /proc/net, which shows the namespace of the process and not of the thread.
fn legacy_tables() -> Result<Vec<Finding>, ForeignError> {
    let mut found = Vec::new();
    for (family, command, file) in
        [(Family::V4, "iptables", "ip_tables_names"), (Family::V6, "ip6tables", "ip6_tables_names")]
    {
        let names = read(&format!("/proc/thread-self/net/{file}"))?;
        found.extend(names.lines().map(|table| Finding {
            what: What::Firewall,
            family: Some(family),
            interface: None,
            line: format!("{command}-legacy table {table}"),
        }));
    }
    Ok(found)
}

/// With these switches on, a bridge shows its frames to the IP hooks of netfilter before the interface gets them.
fn bridge_netfilter(bridge: &Interface<'_>) -> Result<Vec<Finding>, ForeignError> {
    let mut found = Vec::new();
    for (family, switch) in
        [(Family::V4, "bridge-nf-call-iptables"), (Family::V6, "bridge-nf-call-ip6tables")]
    {
        if read(&format!("/proc/sys/net/bridge/{switch}"))?.trim() == "1" {
            found.push(Finding {
                what: What::Firewall,
                family: Some(family),
                interface: Some(bridge.name.to_owned()),
                line: format!("br_netfilter on bridge {} (net.bridge.{switch} = 1)", bridge.name),
            });
        }
    }
    Ok(found)
}

/// A file that is not there belongs to a part that the kernel does not have.
fn read(path: &str) -> Result<String, ForeignError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(ForeignError::File { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::{nftables, tc, xfrm};
    use crate::control::guard::message::{self, bytes, nest};

    fn read_all(body: &[u8]) {
        let _ = nftables::chain(body);
        let _ = xfrm::policy(body);
        let _ = tc::filter(body);
    }

    /// Whatever a message holds, it is read without panic: bare bytes, and bytes where attributes nest as they should.
    #[test]
    fn readers_are_total() {
        bolero::check!().with_type::<Vec<u8>>().for_each(|datagram| {
            message::messages(datagram);
            read_all(datagram);
        });
        bolero::check!().with_type::<(u8, u8, Vec<u8>, Vec<u8>, u8)>().for_each(
            |(family, hook, name, tail, cut)| {
                let hook = [
                    bytes(1, [0, 0, 0, hook % 8]),
                    bytes(3, name.clone()),
                    nest(4, &[bytes(1, tail.clone())]),
                ];
                let attributes =
                    [bytes(1, name.clone()), bytes(3, tail.clone()), nest(4, &hook), bytes(5, [0; 4])];
                for header in [4, 20] {
                    let header = [&[family % 16], vec![0; header - 1].as_slice()].concat();
                    let message = message::message(0, 0, &header, &attributes);
                    let body = &message[16..];
                    read_all(body);
                    read_all(&body[..body.len().saturating_sub(usize::from(*cut))]);
                }
            },
        );
    }

    /// Names come from strangers; they must not reach a terminal as they are.
    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(message::name(b"a\x1b[2Jb\0rest"), "a\\u{1b}[2Jb");
    }
}
