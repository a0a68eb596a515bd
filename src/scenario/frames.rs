//! The frames of a capture file as arrivals at the links of a scenario.
//!
//! In pcapng each frame says by its interface's name where it entered; what says nothing enters by a link that the
//! caller names. Frames that the capture marks as sent are passed over. Called by replay and explain.

use super::player::Arrival;
use crate::iface::Ifaces;
use crate::port::capture::{CaptureError, Direction, Reader};
use std::path::Path;

/// Most bytes that are read of a capture.
const LIMIT: usize = 4 << 30;

/// Why frames cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum FramesError {
    /// The file.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// Larger than memory should be asked for.
    #[error("{file}: packet {packet}: over {LIMIT} bytes stand before it: cut the capture with `editcap -c`")]
    Full {
        /// The file's name.
        file: String,
        /// Number of the packet, from 1.
        packet: usize,
    },
    /// The capture names an interface that the scenario does not have.
    #[error(
        "{file}: packet {packet} came in by {name:?}, which is no link of the scenario: name one with --in"
    )]
    UnknownLink {
        /// The file's name.
        file: String,
        /// Number of the packet, from 1.
        packet: usize,
        /// The interface.
        name: String,
    },
    /// No link to enter by.
    #[error("no link named {name:?} in the scenario; there are: {known}")]
    NoLink {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

/// Where a frame came in, as its capture says.
struct Entered {
    interface: usize,
    time: u64,
    wire_len: u32,
    bytes: Vec<u8>,
}

/// A capture that was read.
pub struct Frames {
    file: String,
    names: Vec<Option<String>>,
    /// Each with its number in the file, from 1.
    entered: Vec<(usize, Entered)>,
}

impl Frames {
    /// Reads a pcap or pcapng file, and puts its frames in the order of time. O(n log n).
    pub fn read(path: &Path) -> Result<Frames, FramesError> {
        let file = path.display().to_string();
        let mut reader = Reader::open(path)?;
        let (mut entered, mut held, mut number) = (Vec::new(), 0, 0);
        while let Some(packet) = reader.next_packet() {
            let packet = packet?;
            number += 1;
            held += packet.bytes.len();
            if held > LIMIT {
                return Err(FramesError::Full { file, packet: number });
            }
            if packet.direction != Some(Direction::Out) {
                let (interface, time, wire_len) = (packet.interface, packet.time, packet.wire_len);
                entered.push((number, Entered { interface, time, wire_len, bytes: packet.bytes.to_vec() }));
            }
        }
        let names = reader.interfaces().iter().map(|i| i.name.clone()).collect();
        entered.sort_by_key(|(_, e)| e.time);
        Ok(Frames { file, names, entered })
    }

    /// Time of the first frame; 0 if there is none.
    pub fn start(&self) -> u64 {
        self.entered.first().map_or(0, |(_, e)| e.time)
    }

    /// The frames at the links of a box, each with its number in the file. `fallback` is where frames enter that do not
    /// say; `forced` says that even unknown names enter there.
    pub fn arrivals(
        self,
        ifaces: &Ifaces,
        fallback: &str,
        forced: bool,
    ) -> Result<Vec<(usize, Arrival)>, FramesError> {
        let known = || ifaces.iter().map(|i| i.name.clone()).collect::<Vec<_>>().join(", ");
        let none = || FramesError::NoLink { name: fallback.into(), known: known() };
        let fallback = ifaces.by_name(fallback).ok_or_else(none)?.index;
        let links: Vec<_> =
            self.names.iter().map(|name| name.as_deref().map(|n| (n, ifaces.by_name(n)))).collect();
        let arrival = |(number, e): (usize, Entered)| {
            let link = match links.get(e.interface) {
                Some(Some((_, Some(iface)))) => iface.index,
                Some(Some((name, None))) if !forced => {
                    let (file, name) = (self.file.clone(), (*name).to_owned());
                    return Err(FramesError::UnknownLink { file, packet: number, name });
                }
                _ => fallback,
            };
            Ok((number, Arrival { link, time: e.time, wire_len: e.wire_len, bytes: e.bytes }))
        };
        self.entered.into_iter().map(arrival).collect()
    }
}
