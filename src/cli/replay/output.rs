//! What `--out DIR` writes: the frames that left, and the counters that moved.

use super::round::Round;
use crate::cli::counters::Counters;
use crate::iface::LinkKind;
use crate::port::capture::{Direction, Packet, Writer};
use crate::state::State;
use anyhow::Context;
use std::path::Path;

/// Writes `out.pcapng`, whose interfaces are the links by rising index, and `counters.toml`.
pub fn write(folder: &Path, round: &Round, counters: &Counters, state: &State) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot create it", folder.display()))?;
    let mut out = Writer::create(&folder.join("out.pcapng"))?;
    let links: Vec<_> = state.ifaces.iter().filter(|i| i.kind != LinkKind::Loopback).collect();
    for link in &links {
        out.add_interface(&link.name)?;
    }
    for sent in &round.departures {
        let Some(interface) = links.iter().position(|i| i.index == sent.link) else { continue };
        out.write(&Packet {
            interface,
            time: sent.time,
            wire_len: sent.bytes.len() as u32,
            bytes: &sent.bytes,
            direction: Some(Direction::Out),
            comment: "",
        })?;
    }
    out.finish()?;
    let file = folder.join("counters.toml");
    let text = toml::to_string(counters)?;
    std::fs::write(&file, text).with_context(|| format!("{}: cannot write it", file.display()))
}
