//! Names that both families give to what they do with next hops. Called by their `output` and `named`.

use super::super::ctx::Ctx;
use super::super::decision::{Egress, Wait};
use super::super::observe::Observer;
use warren_fib::{GroupKind, Nud};

/// What is known of the next hop. Linux: neigh_output.
pub fn neighbour<O: Observer>(cx: &mut Ctx<'_, '_, O>, way: &Result<Egress<'_>, Wait<'_>>) {
    cx.rule(match way {
        Err(_) => "neighbour: to be asked for",
        Ok(egress) => match egress.nud {
            Nud::NOARP => "neighbour: none needed",
            Nud::PERMANENT => "neighbour: permanent",
            Nud::REACHABLE => "neighbour: reachable",
            Nud::STALE => "neighbour: stale, used at once",
            _ => "neighbour: being verified, used meanwhile",
        },
    });
}

/// What a next hop was chosen from.
pub fn several<O: Observer>(cx: &mut Ctx<'_, '_, O>, kind: &GroupKind) {
    cx.rule(match kind {
        GroupKind::Plain => "next hop: of several of a route",
        GroupKind::Blackhole => "next hop: blackhole",
        GroupKind::Resilient { .. } => "next hop: bucket of a resilient group",
        GroupKind::Object { .. } => "next hop: member of a nexthop group",
    });
}
