//! What `--annotate FILE` writes: the frames that came in, each with a comment that says what became of it. Wireshark
//! shows it above the packet.

use crate::cli::explain::notes::{Notes, sentence};
use crate::cli::offline::Input;
use crate::iface::LinkKind;
use crate::port::capture::{Direction, Packet, Writer};
use crate::scenario::player::Arrival;
use std::path::Path;

/// Plays the capture once more, on the full path, and writes it with comments.
pub fn write(file: &Path, input: &Input) -> anyhow::Result<()> {
    let (made, arrivals) = input.open(1)?;
    let mut player = made.player()?;
    player.full_only(true);
    let state = player.state();
    let mut out = Writer::create(file)?;
    let links: Vec<_> = state.ifaces.iter().filter(|i| i.kind != LinkKind::Loopback).collect();
    for link in &links {
        out.add_interface(&link.name)?;
    }
    for (_, arrival) in &arrivals {
        let mut notes = Notes::default();
        player.play(arrival, &mut notes, &mut |_| ());
        let Arrival { link, time, wire_len, bytes } = arrival;
        let Some(interface) = links.iter().position(|i| i.index == *link) else { continue };
        let comment = sentence(&notes);
        out.write(&Packet {
            interface,
            time: *time,
            wire_len: *wire_len,
            bytes,
            direction: Some(Direction::In),
            comment: &comment,
        })?;
    }
    out.finish()?;
    Ok(())
}
