//! Sysctls written by name with the kernel's side effects: what `all` copies to devices and what it leaves alone.
//!
//! They are written in four steps, whatever their order in the file: `default`, then (once the links are made)
//! forwarding, then all else that is global, then devices. So each says the last word on what it names. Called by
//! `load`; `limits` says what values they take.

use super::Value;
use crate::iface::Iface;
use crate::state::Writer;
use crate::sysctl::{NeighConf, RateMask6, SysctlError};

/// The one sysctl whose value is a list.
pub(super) const RATEMASK6: &str = "net.ipv6.icmp.ratemask";

/// When a sysctl is written; see the module.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// Start values of links to come.
    Default,
    /// `ip_forward` and `conf.all.forwarding`, which reset others.
    Forwarding,
    /// Everything else that names no device.
    Global,
    /// A device's own.
    Device,
}

/// Start values of new links that the published state has no place for.
#[derive(Clone, Copy, Debug, Default)]
pub struct NeighDefaults {
    /// `net.ipv4.neigh.default.*`
    pub v4: NeighConf,
    /// `net.ipv6.neigh.default.*`
    pub v6: NeighConf,
}

/// A name taken apart.
pub(super) enum Name<'n> {
    Conf { v6: bool, dev: String, leaf: &'n str },
    Neigh { v6: bool, dev: String, leaf: &'n str },
    Global { v6: bool, leaf: String },
}

/// `net.ipv6.conf.DEV.LEAF` and so on; a dot in a device's name is written as a slash.
pub(super) fn parse(name: &str) -> Option<Name<'_>> {
    let (v6, rest) = match name.strip_prefix("net.ipv6.") {
        Some(rest) => (true, rest),
        None => (false, name.strip_prefix("net.ipv4.")?),
    };
    if let Some((dev, leaf)) = rest.strip_prefix("conf.").and_then(|r| r.rsplit_once('.')) {
        return Some(Name::Conf { v6, dev: dev.replace('/', "."), leaf });
    }
    if let Some((dev, leaf)) = rest.strip_prefix("neigh.").and_then(|r| r.rsplit_once('.')) {
        return Some(Name::Neigh { v6, dev: dev.replace('/', "."), leaf });
    }
    // Those of ICMPv6 have a folder of their own.
    if v6 && rest.starts_with("icmp_") {
        return None;
    }
    let leaf = rest.strip_prefix("icmp.").filter(|_| v6).map_or(rest.to_owned(), |l| format!("icmp_{l}"));
    Some(Name::Global { v6, leaf })
}

/// The stage at which a sysctl is written. Names that nobody knows count as global.
pub fn stage(name: &str) -> Stage {
    match parse(name) {
        Some(Name::Conf { dev, .. } | Name::Neigh { dev, .. }) if dev == "default" => Stage::Default,
        Some(Name::Conf { dev, leaf: "forwarding", .. }) if dev == "all" => Stage::Forwarding,
        Some(Name::Conf { dev, .. }) if dev != "all" => Stage::Device,
        Some(Name::Neigh { .. }) => Stage::Device,
        _ if name == "net.ipv4.ip_forward" => Stage::Forwarding,
        _ => Stage::Global,
    }
}

/// The value as a number.
pub(super) fn number(name: &str, value: &Value) -> Result<i64, String> {
    match value {
        Value::Number(number) => Ok(*number),
        Value::Text(text) => {
            text.trim().parse().map_err(|_| format!("sysctl {name}: {text:?} where a number is wanted"))
        }
    }
}

/// The value as a set of ICMPv6 types.
pub(super) fn ratemask6(value: &Value) -> Result<RateMask6, String> {
    let list = match value {
        Value::Number(bit) => &bit.to_string(),
        Value::Text(text) => text,
    };
    let bad = || format!("sysctl {RATEMASK6}: {list:?} is no list of ICMPv6 types such as \"0-1,3-127\"");
    RateMask6::parse(list).ok_or_else(bad)
}

/// Writes one sysctl to the draft.
pub fn write(
    writer: &mut Writer,
    neigh: &mut NeighDefaults,
    name: &str,
    value: &Value,
) -> Result<(), String> {
    let unknown = || SysctlError::Unknown(name.to_owned()).to_string();
    if name == RATEMASK6 {
        writer.draft_mut().sysctl.ratemask6 = ratemask6(value)?;
        return Ok(());
    }
    let number = number(name, value)?;
    match parse(name).ok_or_else(unknown)? {
        Name::Conf { v6: false, dev, leaf } => conf4(writer, &dev, leaf, number),
        Name::Conf { v6: true, dev, leaf } => conf6(writer, &dev, leaf, number),
        Name::Neigh { v6, dev, leaf } if dev == "default" => {
            if v6 { &mut neigh.v6 } else { &mut neigh.v4 }.set(leaf, number).ok_or(Unwritten::Name)
        }
        Name::Neigh { v6, dev, leaf } => {
            on_device(writer, &dev, |i| if v6 { &mut i.neigh6 } else { &mut i.neigh4 }.set(leaf, number))
        }
        Name::Global { v6: false, leaf } if leaf == "ip_forward" => {
            conf4(writer, "all", "forwarding", number)
        }
        Name::Global { v6: false, leaf } => {
            writer.draft_mut().sysctl.ip4.set(&leaf, number).ok_or(Unwritten::Name)
        }
        Name::Global { v6: true, leaf } => {
            writer.draft_mut().sysctl.ip6.set(&leaf, number).ok_or(Unwritten::Name)
        }
    }
    .map_err(|why| match why {
        Unwritten::Name => unknown(),
        Unwritten::Device => SysctlError::NoInterface(name.to_owned()).to_string(),
        Unwritten::Mtu(most) => format!("sysctl {name}: {number} is over the link's own, {most}"),
    })
}

/// Why nothing was written.
enum Unwritten {
    Name,
    Device,
    Mtu(u32),
}

fn on_device(
    writer: &mut Writer,
    dev: &str,
    change: impl FnOnce(&mut Iface) -> Option<()>,
) -> Result<(), Unwritten> {
    let index = writer.draft().ifaces.by_name(dev).map(|i| i.index).ok_or(Unwritten::Device)?;
    let mut done = None;
    writer.update_iface(index, |i| done = change(i));
    done.ok_or(Unwritten::Name)
}

/// Changes every link, and tells the FIB of what it reads of them.
fn on_all(writer: &mut Writer, change: impl Fn(&mut Iface)) {
    let indexes: Vec<u32> = writer.draft().ifaces.iter().map(|i| i.index).collect();
    for index in indexes {
        writer.update_iface(index, &change);
    }
}

/// Linux: devinet_sysctl_forward, inet_forward_change, devinet_conf_proc.
fn conf4(writer: &mut Writer, dev: &str, leaf: &str, value: i64) -> Result<(), Unwritten> {
    let sysctl = &mut writer.draft_mut().sysctl;
    match dev {
        "all" => {
            sysctl.all4.set(leaf, value).ok_or(Unwritten::Name)?;
            if leaf == "forwarding" {
                (sysctl.ip4.ip_forward, sysctl.default4.forwarding) = (value, value);
                sysctl.all4.accept_redirects = i64::from(value == 0);
                on_all(writer, |i| i.conf4.forwarding = value);
            } else {
                on_all(writer, |_| ()); // next hops depend on all.ignore_routes_with_linkdown
            }
            Ok(())
        }
        "default" => sysctl.default4.set(leaf, value).ok_or(Unwritten::Name),
        _ => on_device(writer, dev, |i| i.conf4.set(leaf, value)),
    }
}

/// Linux: addrconf_fixup_forwarding, addrconf_disable_ipv6, addrconf_fixup_linkdown, addrconf_sysctl_force_forwarding,
/// addrconf_sysctl_addr_gen_mode. Those copy `all` to the devices; any other `all` stands for itself alone.
fn conf6(writer: &mut Writer, dev: &str, leaf: &str, value: i64) -> Result<(), Unwritten> {
    let sysctl = &mut writer.draft_mut().sysctl;
    match dev {
        "all" => {
            sysctl.all6.set(leaf, value).ok_or(Unwritten::Name)?;
            let copies = ["forwarding", "disable_ipv6", "ignore_routes_with_linkdown", "addr_gen_mode"];
            if copies.contains(&leaf) {
                sysctl.default6.set(leaf, value);
            }
            if copies.contains(&leaf) || leaf == "force_forwarding" {
                on_all(writer, |i| {
                    i.conf6.set(leaf, value);
                });
            }
            if (leaf, value) == ("forwarding", 0) {
                on_all(writer, |i| i.conf6.force_forwarding = 0);
            }
            Ok(())
        }
        "default" => sysctl.default6.set(leaf, value).ok_or(Unwritten::Name),
        // Linux: addrconf_sysctl_mtu.
        _ => match writer.draft().ifaces.by_name(dev).map(|i| i.mtu) {
            Some(mtu) if leaf == "mtu" && value > mtu.into() => Err(Unwritten::Mtu(mtu)),
            _ => on_device(writer, dev, |i| i.conf6.set(leaf, value)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iface::LinkKind;
    use crate::state::LinkInfo;

    fn box_with(names: &[&str]) -> Writer {
        let (mut writer, _) = Writer::new(1, 1).unwrap();
        for (name, index) in names.iter().zip(2..) {
            let name = (*name).to_owned();
            let (mac, mtu, up, carrier) = ([0; 6], 1500, true, true);
            writer.set_link(LinkInfo { index, name, kind: LinkKind::Ethernet, mac, mtu, up, carrier });
        }
        writer
    }

    fn set(writer: &mut Writer, name: &str, value: i64) -> Result<(), String> {
        write(writer, &mut NeighDefaults::default(), name, &Value::Number(value))
    }

    fn read(writer: &Writer, dev: &str) -> Iface {
        writer.draft().ifaces.by_name(dev).unwrap().clone()
    }

    #[test]
    fn forwarding_of_all_reaches_every_device_and_a_devices_own_only_itself() {
        let mut w = box_with(&["p0", "p1"]);
        set(&mut w, "net.ipv4.ip_forward", 1).unwrap();
        set(&mut w, "net.ipv6.conf.all.forwarding", 1).unwrap();
        set(&mut w, "net.ipv6.conf.p1.forwarding", 0).unwrap();
        set(&mut w, "net.ipv4.conf.p1.forwarding", 0).unwrap();
        let both = |dev: &str| (read(&w, dev).conf4.forwarding, read(&w, dev).conf6.forwarding);
        assert_eq!((both("p0"), both("p1")), ((1, 1), (0, 0)));
        let s = &w.draft().sysctl;
        assert_eq!((s.all4.forwarding, s.default4.forwarding, s.ip4.ip_forward), (1, 1, 1));
        assert_eq!((s.all6.forwarding, s.default6.forwarding), (1, 1));
    }

    #[test]
    fn what_all_copies_and_what_not() {
        let mut w = box_with(&["p0"]);
        for leaf in ["disable_ipv6", "ignore_routes_with_linkdown", "force_forwarding"] {
            set(&mut w, &format!("net.ipv6.conf.all.{leaf}"), 1).unwrap();
            assert_eq!(read(&w, "p0").conf6.get(leaf), Some(1), "{leaf}");
        }
        for name in ["net.ipv6.conf.all.hop_limit", "net.ipv4.conf.all.rp_filter"] {
            set(&mut w, name, 9).unwrap();
        }
        assert_eq!((read(&w, "p0").conf6.hop_limit, read(&w, "p0").conf4.rp_filter), (64, 0));
        set(&mut w, "net.ipv6.conf.all.forwarding", 0).unwrap();
        assert_eq!(read(&w, "p0").conf6.force_forwarding, 0, "switching forwarding off clears it");
    }

    #[test]
    fn names_in_all_their_forms() {
        let mut w = box_with(&["eth0.5"]);
        set(&mut w, "net.ipv6.conf.eth0/5.hop_limit", 7).unwrap();
        set(&mut w, "net.ipv6.neigh.eth0/5.retrans_time_ms", 100).unwrap();
        set(&mut w, "net.ipv6.icmp.ratelimit", 0).unwrap();
        assert_eq!(read(&w, "eth0.5").conf6.hop_limit, 7);
        assert_eq!(read(&w, "eth0.5").neigh6.retrans_time_ms, 100);
        assert_eq!(w.draft().sysctl.ip6.icmp_ratelimit, 0);
        let text = Value::Text("0-1,3".into());
        write(&mut w, &mut NeighDefaults::default(), "net.ipv6.icmp.ratemask", &text).unwrap();
        assert!(w.draft().sysctl.ratemask6.contains(3) && !w.draft().sysctl.ratemask6.contains(4));
        let no_such = set(&mut w, "net.ipv6.conf.p9.mtu", 1).unwrap_err();
        assert_eq!(no_such, "sysctl net.ipv6.conf.p9.mtu: no such interface");
        assert!(set(&mut w, "net.core.rmem_max", 1).unwrap_err().contains("not one that forwarding reads"));
        assert_eq!(stage("net.ipv4.conf.default.rp_filter"), Stage::Default);
        assert!(stage("net.ipv6.conf.all.mtu") < stage("net.ipv6.conf.p0.mtu"));
    }
}
