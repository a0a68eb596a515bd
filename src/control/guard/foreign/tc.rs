//! Traffic control on one interface: filters, tcx and XDP programs, the root queueing discipline. Called by [`super::find`].

use super::{Finding, ForeignError, Interface, What};
use crate::control::guard::message::{self, NLM_F_DUMP, find, name};
use crate::control::guard::tcx;
use crate::sys::bpf::{BpfError, Hook, program_name, programs_at};

pub(super) const NETLINK_ROUTE: isize = 0;

const NEW_FILTER: u16 = 44;
const GET_FILTER: u16 = 46;

/// Parents of filters: the older queueing discipline `ingress`, and the two sides of `clsact`.
const INGRESS: u32 = 0xffff_0000;
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const CLSACT_EGRESS: u32 = 0xffff_fff3;

/// Queueing disciplines that only queue: what the kernel sets up by itself, on whatever distribution.
const PLAIN_QDISCS: [&str; 6] = ["noop", "noqueue", "pfifo_fast", "mq", "fq_codel", "fq"];

pub(super) fn on(interface: &Interface<'_>) -> Result<Vec<Finding>, ForeignError> {
    let mut lines = filters(interface)?;
    for (hook, side) in [(Hook::TcxIngress, "ingress"), (Hook::TcxEgress, "egress")] {
        for id in programs(hook, interface.index)? {
            lines.extend(foreign_program(id).map(|name| format!("tcx program {name} (id {id}) at {side}")));
        }
    }
    lines
        .extend(interface.xdp.and_then(|id| Some(format!("XDP program {} (id {id})", foreign_program(id)?))));
    if !PLAIN_QDISCS.contains(&interface.qdisc) && !interface.qdisc.is_empty() {
        lines.push(format!("queueing discipline {}", interface.qdisc));
    }
    let finding = |line| Finding {
        what: What::Tc,
        family: None,
        interface: Some(interface.name.to_owned()),
        line: format!("{line} of {}", interface.name),
    };
    Ok(lines.into_iter().map(finding).collect())
}

/// The programs at a hook; none if the kernel has no tcx or the interface is gone.
fn programs(hook: Hook, ifindex: u32) -> Result<Vec<u32>, BpfError> {
    match programs_at(hook, ifindex) {
        Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::ENODEV)) => Ok(Vec::new()),
        result => result,
    }
}

/// The name of a program unless it is a guard's. One that has gone meanwhile is foreign; the next look will not find it.
fn foreign_program(id: u32) -> Option<String> {
    let name = program_name(id).unwrap_or_default();
    (name != tcx::PROGRAM).then(|| message::name(name.as_bytes()))
}

fn filters(interface: &Interface<'_>) -> Result<Vec<String>, ForeignError> {
    // `ingress` answers to all three parents, `clsact` only to its own two.
    let ingress = filters_of(interface, INGRESS, "ingress")?;
    if !ingress.is_empty() {
        return Ok(ingress);
    }
    let sides =
        [filters_of(interface, CLSACT_INGRESS, "ingress")?, filters_of(interface, CLSACT_EGRESS, "egress")?];
    Ok(sides.concat())
}

fn filters_of(interface: &Interface<'_>, parent: u32, side: &str) -> Result<Vec<String>, ForeignError> {
    let failed =
        |source| ForeignError::Netlink { what: format!("the tc filters of {}", interface.name), source };
    let socket = message::open(NETLINK_ROUTE).map_err(failed)?;
    let zero = [0; 4]; // struct tcmsg: family, interface, handle, parent, info
    let fixed = [zero, interface.index.to_ne_bytes(), zero, parent.to_ne_bytes(), zero].concat();
    let request = message::message(GET_FILTER, NLM_F_DUMP, &fixed, &[]);
    let filters = message::dump(&socket, &request, NEW_FILTER).map_err(failed)?;
    Ok(filters.iter().filter_map(|body| Some(format!("tc filter {} at {side}", filter(body)?))).collect())
}

/// Kind and preference. A filter comes in several messages (tables, entries), which look the same here.
pub(super) fn filter(body: &[u8]) -> Option<String> {
    let (fixed, attributes) = body.split_first_chunk::<20>()?;
    let info = u32::from_ne_bytes(*fixed.last_chunk()?);
    Some(format!("{} (pref {})", name(find(attributes, 1)?), info >> 16))
}
