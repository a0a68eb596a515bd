//! Which interfaces and families warren takes, and why not the others: one pure rule over links and findings.
//!
//! Invariant: nothing that the kernel applies to forwarded packets is bypassed unless the user said so; an interface is
//! taken whole or stays with the kernel. Called by `control::live` at start and on every change.

use super::guard::foreign::{self, Finding, What};
use super::netlink::{Family, LinkMsg};
use std::collections::{BTreeMap, BTreeSet};

/// `ARPHRD_ETHER`.
const ETHERNET: u16 = 1;

/// What ring slots are made for: `GRO_LEGACY_MAX_SIZE`.
const SUPER_FRAME_MAX: u32 = 65_536;

/// Kinds of links whose frames come in by the link below.
const STACKED: [&str; 6] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"];

/// What the user wants.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Names of interfaces; none stands for every Ethernet interface with an address.
    pub interfaces: Vec<String>,
    /// What may be bypassed.
    pub bypass: Vec<What>,
}

/// What becomes of the wish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Interfaces to take, index and name.
    pub take: BTreeMap<u32, String>,
    /// What stays with the kernel for now (it is taken when the reason goes away), and what will go wrong. A line each.
    pub lines: Vec<String>,
    /// Families that stay with the kernel on all interfaces.
    pub kept_families: BTreeSet<Family>,
}

/// A wish that cannot be fulfilled as long as the links are what they are. One line, with the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No link of this name.
    #[error("{0}: no such interface; `ip link` lists those of this network namespace")]
    Missing(String),
    /// A port of a bridge, a bond or a VRF.
    #[error("{interface}: is a port of {master} ({kind}), which has its frames; name {master} instead")]
    Enslaved {
        /// The port.
        interface: String,
        /// What it belongs to.
        master: String,
        /// `bridge`, `bond`, `vrf`.
        kind: String,
    },
    /// Frames do not start with an Ethernet header.
    #[error(
        "{interface}: is not an Ethernet interface (ARPHRD type {arphrd}); warren sends on it when a route says so, \
         but cannot take frames from it"
    )]
    NotEthernet {
        /// The interface.
        interface: String,
        /// Its type.
        arphrd: u16,
    },
    /// Both see the same frames.
    #[error("{upper}: lies on {lower}, which is named too; name one of them")]
    Stacked {
        /// The interface above.
        upper: String,
        /// The interface below.
        lower: String,
    },
}

impl Refusal {
    /// Why `link` cannot be taken by itself.
    fn of(link: &LinkMsg, links: &[LinkMsg]) -> Option<Refusal> {
        let interface = link.name.clone();
        if link.arphrd != ETHERNET {
            return Some(Refusal::NotEthernet { interface, arphrd: link.arphrd });
        }
        let master = link.master?;
        let name = links.iter().find(|l| l.index == master).map(|l| l.name.clone());
        let kind = link.master_kind.clone().unwrap_or_else(|| "master".to_owned());
        Some(Refusal::Enslaved { interface, master: name.unwrap_or_else(|| master.to_string()), kind })
    }
}

/// The links that the user means and that can be taken, and the named ones that cannot.
pub fn candidates<'l>(
    wish: &Wish,
    links: &'l [LinkMsg],
    has_address: impl Fn(u32) -> bool,
) -> (Vec<&'l LinkMsg>, Vec<Refusal>) {
    let (mut chosen, mut refused): (Vec<&LinkMsg>, _) = (Vec::new(), Vec::new());
    if wish.interfaces.is_empty() {
        chosen = links.iter().filter(|l| has_address(l.index) && Refusal::of(l, links).is_none()).collect();
        // Of a stack the lower one is taken: tagged frames stay with the kernel, which hands them up.
        let indexes: Vec<u32> = chosen.iter().map(|l| l.index).collect();
        chosen.retain(|l| below(l).is_none_or(|lower| !indexes.contains(&lower)));
        return (chosen, refused);
    }
    for name in &wish.interfaces {
        let Some(link) = links.iter().find(|l| l.name == *name) else {
            refused.push(Refusal::Missing(name.clone()));
            continue;
        };
        match Refusal::of(link, links) {
            Some(refusal) => refused.push(refusal),
            None if chosen.iter().any(|c| c.index == link.index) => {}
            None => chosen.push(link),
        }
    }
    let named = chosen.clone();
    chosen.retain(|upper| {
        let lower = below(upper).and_then(|index| named.iter().find(|l| l.index == index));
        let stacked =
            lower.map(|lower| Refusal::Stacked { upper: upper.name.clone(), lower: lower.name.clone() });
        refused.extend(stacked.clone());
        stacked.is_none()
    });
    (chosen, refused)
}

/// The link whose frames are this one's as well.
fn below(link: &LinkMsg) -> Option<u32> {
    let stacked = link.kind.as_deref().is_some_and(|kind| STACKED.contains(&kind));
    link.link.filter(|_| stacked && link.link_netns.is_none())
}

/// What to take of `candidates` with these findings.
pub fn choose(wish: &Wish, candidates: &[&LinkMsg], findings: &[Finding]) -> Choice {
    let mut choice = Choice::default();
    let counts = |f: &&Finding| !wish.bypass.contains(&f.what);
    let mut all_kept = false;
    for finding in findings.iter().filter(counts).filter(|f| f.interface.is_none()) {
        let whose = match finding.family {
            Some(foreign::Family::V4) => {
                choice.kept_families.insert(Family::V4);
                "IPv4"
            }
            Some(foreign::Family::V6) => {
                choice.kept_families.insert(Family::V6);
                "IPv6"
            }
            None => {
                all_kept = true;
                "everything"
            }
        };
        choice.lines.push(kept_line(whose, finding));
    }
    all_kept |= choice.kept_families.len() == 2;
    for link in candidates {
        let mut mine = findings.iter().filter(counts).filter(|f| f.interface.as_ref() == Some(&link.name));
        if let Some(finding) = mine.next() {
            choice.lines.push(kept_line(&link.name, finding));
        } else if !link.is_up() {
            choice.lines.push(format!("{}: is down; taken when it is up: `ip link set {0} up`", link.name));
        } else if !all_kept {
            choice.take.insert(link.index, link.name.clone());
            choice.lines.extend(too_large(link));
        }
    }
    choice
}

/// BIG TCP: super-frames that no ring slot holds, and that cannot be described to who sends them on.
fn too_large(link: &LinkMsg) -> Option<String> {
    let name = &link.name;
    (link.gro_max > SUPER_FRAME_MAX).then(|| {
        format!(
            "{name}: received super-frames of up to {} bytes will be lost above {SUPER_FRAME_MAX}; \
             cure: `ip link set {name} gro_max_size {SUPER_FRAME_MAX} gro_ipv4_max_size {SUPER_FRAME_MAX}`",
            link.gro_max
        )
    })
}

fn kept_line(whose: &str, finding: &Finding) -> String {
    format!(
        "{whose} stays with the kernel: {finding} would be bypassed (`--bypass {}` overrides)",
        finding.what
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str) -> LinkMsg {
        LinkMsg { index, name: name.into(), arphrd: ETHERNET, flags: 1, ..LinkMsg::default() }
    }

    fn links() -> Vec<LinkMsg> {
        let lo = LinkMsg { arphrd: 772, ..link(1, "lo") };
        let port = LinkMsg { master: Some(5), master_kind: Some("bridge".into()), ..link(4, "port") };
        let vlan = LinkMsg { kind: Some("vlan".into()), link: Some(2), ..link(6, "r0.7") };
        // The peer of a veth is no link below.
        let veth = LinkMsg { kind: Some("veth".into()), link: Some(2), ..link(3, "r1") };
        vec![lo, link(2, "r0"), veth, port, link(5, "br0"), vlan]
    }

    fn wish(names: &[&str]) -> Wish {
        Wish { interfaces: names.iter().map(ToString::to_string).collect(), bypass: Vec::new() }
    }

    fn names(links: &[&LinkMsg]) -> Vec<String> {
        links.iter().map(|l| l.name.clone()).collect()
    }

    #[test]
    fn named_interfaces_are_taken_or_refused_in_one_line() {
        let all = links();
        let candidates = |names: &[&str]| candidates(&wish(names), &all, |_| true);
        assert_eq!(names(&candidates(&["r1", "r0", "r1"]).0), ["r1", "r0"]);
        for (wanted, line) in [
            (&["r9"][..], "r9: no such interface"),
            (&["port"], "port: is a port of br0 (bridge)"),
            (&["lo"], "lo: is not an Ethernet interface (ARPHRD type 772)"),
            (&["r0.7", "r0"], "r0.7: lies on r0"),
        ] {
            let refusal = candidates(wanted).1[0].to_string();
            assert!(refusal.starts_with(line) && !refusal.contains('\n'), "{refusal}");
        }
    }

    #[test]
    fn the_default_is_every_ethernet_interface_with_an_address() {
        let all = links();
        let (chosen, _) = candidates(&wish(&[]), &all, |index| index != 5);
        assert_eq!(names(&chosen), ["r0", "r1"]);
        let (chosen, _) = candidates(&wish(&[]), &all, |index| index != 2);
        assert_eq!(names(&chosen), ["r1", "br0", "r0.7"], "the upper one alone");
    }

    fn finding(what: What, family: Option<foreign::Family>, interface: Option<&str>) -> Finding {
        Finding { what, family, interface: interface.map(Into::into), line: "nftables chain x".into() }
    }

    #[test]
    fn super_frames_that_no_slot_holds_are_announced_with_the_cure() {
        let lines =
            |gro_max| choose(&wish(&[]), &[&LinkMsg { gro_max, ..link(2, "r0") }], &[]).lines.join("\n");
        assert_eq!(lines(65_536), "");
        assert!(lines(524_280).contains("`ip link set r0 gro_max_size 65536 gro_ipv4_max_size 65536`"));
    }

    #[test]
    fn what_filters_keeps_its_part_with_the_kernel() {
        let all = links();
        let (r0, down) = (&all[1], LinkMsg { flags: 0, ..link(7, "r7") });
        let pick = |bypass: &[What], findings: &[Finding]| {
            let choice =
                choose(&Wish { bypass: bypass.to_vec(), ..wish(&[]) }, &[r0, &all[2], &down], findings);
            (
                choice.take.into_values().collect::<Vec<_>>().join(" "),
                Vec::from_iter(choice.kept_families),
                choice.lines.len(),
            )
        };
        let v4 = finding(What::Firewall, Some(foreign::Family::V4), None);
        let v6 = finding(What::Ipsec, Some(foreign::Family::V6), None);
        let on_r0 = finding(What::Tc, None, Some("r0"));
        assert_eq!(pick(&[], &[]), ("r0 r1".into(), vec![], 1), "r7 is down");
        assert_eq!(pick(&[], std::slice::from_ref(&v4)), ("r0 r1".into(), vec![Family::V4], 2));
        assert_eq!(pick(&[], &[v4.clone(), v6.clone()]).0, "", "both families");
        assert_eq!(pick(&[What::Ipsec], &[v4, v6]), ("r0 r1".into(), vec![Family::V4], 2));
        assert_eq!(pick(&[], std::slice::from_ref(&on_r0)).0, "r1");
        assert_eq!(pick(&[What::Tc], &[on_r0]).0, "r0 r1");
        assert_eq!(pick(&[], &[finding(What::Firewall, None, None)]).0, "");
        assert_eq!(pick(&[], &[finding(What::Tc, None, Some("elsewhere"))]).0, "r0 r1");
    }
}
