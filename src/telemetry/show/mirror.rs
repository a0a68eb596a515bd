//! The tables that only the mirror can fill. Runs on the control thread, so each is a bounded piece of work.

use super::mac;
use crate::control::sync::Mirror;
use crate::iface::Ifaces;
use crate::telemetry::table::Table;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};
use warren_fib::{Hop, Hops, Ip, NexthopBody, Nud, Prefix, Route};

/// Rows of a page: a few milliseconds of the control thread's time, whatever the size of the table.
const PAGE: usize = 4096;

pub(super) fn routes(mirror: &mut Mirror, from: usize) -> Table {
    let mut table = Table::new(&[
        "dst", "from", "table", "type", "nexthops", "metric", "proto", "scope", "src", "mtu", "tos",
    ]);
    let writer = &*mirror.writer();
    let ifaces = &writer.draft().ifaces;
    let four = writer.routes::<Ipv4Addr>().map(|r| route(&r, ifaces));
    let six = writer.routes::<Ipv6Addr>().map(|r| route(&r, ifaces));
    let mut rows = four.chain(six).skip(from);
    table.rows.extend(rows.by_ref().take(PAGE).map(Vec::from));
    table.next = rows.next().map(|_| from + PAGE);
    table
}

fn route<A: Ip>(route: &Route<A>, ifaces: &Ifaces) -> [Value; 11] {
    let hops = match &route.hops {
        Hops::None => Vec::new(),
        Hops::Object(id) => vec![format!("nhid {id}")],
        Hops::List(hops) => hops.iter().map(|h| hop(h, hops.len() > 1, ifaces)).collect(),
    };
    let set = |number: u32| (number != 0).then_some(number);
    [
        json!(route.dst.to_string()),
        json!((route.src != Prefix::ANY).then(|| route.src.to_string())),
        json!(route.table),
        json!(format!("{:?}", route.kind).to_lowercase()),
        json!(hops),
        json!(route.metric),
        json!(route.protocol),
        json!(route.scope),
        json!(route.prefsrc.map(|a| a.to_string())),
        json!(set(route.mtu)),
        json!(set(route.tos.into())),
    ]
}

/// In the words of `ip route`.
fn hop(hop: &Hop, several: bool, ifaces: &Ifaces) -> String {
    let via = hop.via.map(|via| format!("via {via} ")).unwrap_or_default();
    let weight = if several { format!(" weight {}", hop.weight) } else { String::new() };
    format!("{via}dev {}{weight}", name(hop.oif, ifaces))
}

/// A link's name, or its index where it is none of the known.
pub(super) fn name(index: u32, ifaces: &Ifaces) -> String {
    ifaces.get(index).map_or_else(|| format!("if{index}"), |i| i.name.clone())
}

pub(super) fn neighbours(mirror: &mut Mirror) -> Table {
    let mut table = Table::new(&["dev", "to", "lladdr", "state"]);
    let writer = &*mirror.writer();
    let ifaces = &writer.draft().ifaces;
    for (oif, to, neighbour) in writer.neighbours() {
        let lladdr = neighbour.state.is_valid().then(|| mac(neighbour.lladdr));
        let row = [name(oif, ifaces), to.to_string()].map(Value::from);
        let [dev, to] = row;
        table.row([dev, to, json!(lladdr), json!(state(neighbour.state))]);
    }
    table.rows.sort_by_cached_key(|row| row.iter().map(Value::to_string).collect::<Vec<_>>());
    table
}

fn state(state: Nud) -> String {
    let names = [
        (Nud::INCOMPLETE, "incomplete"),
        (Nud::REACHABLE, "reachable"),
        (Nud::STALE, "stale"),
        (Nud::DELAY, "delay"),
        (Nud::PROBE, "probe"),
        (Nud::FAILED, "failed"),
        (Nud::NOARP, "noarp"),
        (Nud::PERMANENT, "permanent"),
    ];
    let named = names.iter().find(|(nud, _)| *nud == state);
    named.map_or_else(|| format!("{:#x}", state.0), |(_, name)| (*name).to_owned())
}

pub(super) fn nexthops(mirror: &mut Mirror) -> Table {
    let mut table = Table::new(&["id", "type", "what"]);
    let writer = &*mirror.writer();
    let ifaces = &writer.draft().ifaces;
    let members = |list: &[(u32, u16)]| {
        list.iter().map(|(id, weight)| format!("id {id} weight {weight}")).collect::<Vec<_>>()
    };
    for object in writer.nexthops() {
        let (kind, what) = match &object.body {
            NexthopBody::Single(single) => ("single", vec![hop(single, false, ifaces)]),
            NexthopBody::Blackhole => ("blackhole", Vec::new()),
            NexthopBody::Group(list) => ("group", members(list)),
            NexthopBody::Resilient { members: list, .. } => ("resilient", members(list)),
        };
        table.row([json!(object.id), json!(kind), json!(what)]);
    }
    table
}

pub(super) fn sync(mirror: &mut Mirror) -> Table {
    let mut table = Table::new(&["what", "value"]);
    let status = mirror.status();
    for (what, value) in [
        ("synced", json!(status.synced)),
        ("generation", json!(status.generation)),
        ("routes4", json!(status.routes4)),
        ("routes6", json!(status.routes6)),
        ("neighbours", json!(status.neighbours)),
        ("events", json!(status.events)),
        ("last_event_ms", json!(status.last_event.map(|t| t.as_millis() as u64))),
        ("resyncs", json!(status.resyncs)),
        ("overruns", json!(status.overruns)),
        ("audits", json!(status.audits)),
        ("fib_divergence", json!(status.divergence)),
        ("not_carried", status.refusals.iter().map(|r| json!(r.reason)).collect()),
    ] {
        table.row([json!(what), value]);
    }
    table
}
