//! Writing pcapng: one section, one interface block a link, nanoseconds, always the same bytes for the same packets.
//!
//! Nothing of the machine (clock, names, byte order) gets into the file, so two replays can be compared with `cmp`.

use super::{CaptureError, Direction, Fault, MAX_INTERFACES, MAX_PACKET, Packet};
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness, PcapError};
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

/// `if_tsresol`: times are in 10^-9 seconds.
const NANOSECONDS: u8 = 9;
/// Longest comment; an option's length has 16 bits.
const MAX_COMMENT: usize = 65_532;

/// A capture file being written. It is complete only after [`Writer::finish`].
pub struct Writer<W: Write> {
    file: String,
    out: PcapNgWriter<W>,
    interfaces: usize,
    packets: u64,
}

impl Writer<BufWriter<File>> {
    /// Creates the file, or empties it.
    pub fn create(path: &Path) -> Result<Self, CaptureError> {
        let file = path.display().to_string();
        match File::create(path) {
            Ok(out) => Writer::new(&file, BufWriter::new(out)),
            Err(source) => Err(CaptureError::Io { file, doing: "create it", source }),
        }
    }
}

impl<W: Write> Writer<W> {
    /// Writes a capture to anything; `file` is its name in errors.
    pub fn new(file: &str, out: W) -> Result<Self, CaptureError> {
        let file = file.to_owned();
        match PcapNgWriter::with_endianness(out, Endianness::Little) {
            Ok(out) => Ok(Writer { file, out, interfaces: 0, packets: 0 }),
            Err(e) => Err(CaptureError::Io { file, doing: "write to it", source: system(e) }),
        }
    }

    /// Adds an interface and returns its number, to be named by packets.
    pub fn add_interface(&mut self, name: &str) -> Result<usize, CaptureError> {
        if self.interfaces == MAX_INTERFACES {
            return Err(self.fault(Fault::TooManyInterfaces));
        }
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(name.into()),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        };
        self.put(block)?;
        self.interfaces += 1;
        Ok(self.interfaces - 1)
    }

    /// Adds a packet. A comment over 65,532 bytes is cut at its end.
    pub fn write(&mut self, packet: &Packet<'_>) -> Result<(), CaptureError> {
        self.packets += 1;
        let interface_id = packet.interface as u32;
        if packet.interface >= self.interfaces {
            return Err(self.fault(Fault::NoInterface(interface_id)));
        }
        if packet.bytes.len() > MAX_PACKET {
            return Err(self.fault(Fault::TooLong));
        }
        let mut options = Vec::new();
        match packet.direction {
            Some(Direction::In) => options.push(EnhancedPacketOption::Flags(1)),
            Some(Direction::Out) => options.push(EnhancedPacketOption::Flags(2)),
            None => {}
        }
        if !packet.comment.is_empty() {
            let (kept, _) = packet.comment.split_at(packet.comment.floor_char_boundary(MAX_COMMENT));
            options.push(EnhancedPacketOption::Comment(kept.into()));
        }
        self.put(EnhancedPacketBlock {
            interface_id,
            timestamp: Duration::from_nanos(packet.time),
            original_len: packet.wire_len.max(packet.bytes.len() as u32),
            data: Cow::Borrowed(packet.bytes),
            options,
        })
    }

    /// Hands on what was written so far.
    pub fn flush(&mut self) -> Result<(), CaptureError> {
        let done = self.out.get_mut().flush();
        done.map_err(|source| CaptureError::Io { file: self.file.clone(), doing: "write to it", source })
    }

    /// Completes the file and hands back what it was written to.
    pub fn finish(self) -> Result<W, CaptureError> {
        let mut out = self.out.into_inner();
        match out.flush() {
            Ok(()) => Ok(out),
            Err(source) => Err(CaptureError::Io { file: self.file, doing: "write to it", source }),
        }
    }

    fn put<'a>(&mut self, block: impl PcapNgBlock<'a>) -> Result<(), CaptureError> {
        match self.out.write_pcapng_block(block) {
            Ok(_) => Ok(()),
            Err(e) => {
                let file = self.file.clone();
                Err(CaptureError::Io { file, doing: "write to it", source: system(e) })
            }
        }
    }

    fn fault(&self, fault: Fault) -> CaptureError {
        CaptureError::Packet { file: self.file.clone(), packet: self.packets, fault }
    }
}

fn system(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(e) => e,
        e => io::Error::other(e),
    }
}
