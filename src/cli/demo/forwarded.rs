//! Who forwarded how much: the kernel's counters from `/proc`, warren's from `warren show counters`.
//!
//! Invariant: both count what was sent on to another host, under the kernel's names IpForwDatagrams and
//! Ip6OutForwDatagrams. Called by the demo and by the tests with real tools.

use std::fmt;
use std::fs;
use std::ops::Sub;

use anyhow::{Context, Result};

use super::child::Child;
use crate::stats::Mib;
use crate::sys::netns::Namespace;

/// Packets forwarded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// IpForwDatagrams.
    pub v4: u64,
    /// Ip6OutForwDatagrams.
    pub v6: u64,
}

impl Forwarded {
    /// By the kernel of a namespace, since that was made.
    ///
    /// # Errors
    /// If `/proc` lacks a counter.
    pub fn by_kernel(space: &Namespace) -> Result<Self> {
        // Of the thread: /proc/net would be the main thread's namespace.
        let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
        let (v4, v6) = space.enter(|| (read("snmp"), read("snmp6")))?;
        Ok(Self {
            v4: column(&v4?, "Ip:", "ForwDatagrams").context("/proc/net/snmp has no Ip ForwDatagrams")?,
            v6: row(&v6?, Mib::Ip6OutForwDatagrams.name())
                .context("/proc/net/snmp6 has no Ip6OutForwDatagrams")?,
        })
    }

    /// By warren, since it was started in `space`.
    ///
    /// # Errors
    /// If it does not answer or its answer lacks a counter.
    pub fn by_warren(warren: &Child, space: &Namespace) -> Result<Self> {
        let shown = warren.show(space, "counters")?;
        let count = |mib: Mib| {
            let value = shown.pointer(&format!("/counters/{mib}/warren")).and_then(|value| value.as_u64());
            value.with_context(|| format!("warren show counters --json lacks {mib}"))
        };
        Ok(Self { v4: count(Mib::IpForwDatagrams)?, v6: count(Mib::Ip6OutForwDatagrams)? })
    }
}

impl Sub for Forwarded {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { v4: self.v4.saturating_sub(before.v4), v6: self.v6.saturating_sub(before.v6) }
    }
}

impl fmt::Display for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} IPv4 and {} IPv6", self.v4, self.v6)
    }
}

/// From `/proc/net/snmp`: a line of names and a line of values, both behind `heading`.
fn column(text: &str, heading: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(heading));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|n| n == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

/// From `/proc/net/snmp6`: a name and a value on each line.
fn row(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    lines.find(|(n, _)| *n == name)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_proc() {
        let snmp = "Ip: Forwarding ForwDatagrams\nIp: 1 17\nIcmp: InMsgs\nIcmp: 4\n";
        assert_eq!(column(snmp, "Ip:", "ForwDatagrams"), Some(17));
        assert_eq!(column(snmp, "Ip:", "InMsgs"), None);
        let snmp6 = "Ip6InReceives                   \t9\nIp6OutForwDatagrams             \t5\n";
        assert_eq!(row(snmp6, "Ip6OutForwDatagrams"), Some(5));
        assert_eq!(row(snmp6, "Ip6Out"), None);
    }
}
