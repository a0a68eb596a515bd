//! Reading pcap and pcapng, both byte orders, all time resolutions.
//!
//! Records are cut out of the file here, with their sizes bounded, and decoded by the library; blocks that are not
//! needed are skipped unread. Invariant: after the first error or the end of the file nothing more is read.

use super::{CaptureError, Direction, Fault, MAX_INTERFACES, MAX_PACKET, Packet};
use pcap_file::pcap::PcapParser;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgParser, blocks};
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

const NANOS: u128 = 1_000_000_000;
/// First bytes of a pcapng file, the same in both byte orders.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// Bytes of a pcapng block that tell its type, length and, in a section header, its byte order.
const BLOCK_START: usize = 12;
/// Headers of a classic file and of a packet in it.
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
/// Longest block that is looked into: a packet with its options.
const MAX_BLOCK: usize = MAX_PACKET + 128 * 1024;

/// An interface of a capture file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// The name in its block; classic pcap has none.
    pub name: Option<String>,
    link: DataLink,
    snap_len: usize,
    /// Time units per second.
    units: u128,
    /// Seconds to add to each time.
    offset: i64,
}

enum Format {
    Classic(PcapParser),
    Next(PcapNgParser),
}

/// A capture file, read packet by packet.
pub struct Reader {
    file: String,
    input: BufReader<Box<dyn Read>>,
    format: Format,
    /// The record at hand, as it stands in the file.
    record: Vec<u8>,
    interfaces: Vec<Interface>,
    /// Number of interfaces in the sections before this one.
    base: usize,
    packets: u64,
    done: bool,
    bytes: Vec<u8>,
    comment: String,
}

/// All of a [`Packet`] but the bytes that it borrows.
struct Head {
    interface: usize,
    time: u64,
    wire_len: u32,
    direction: Option<Direction>,
}

impl Reader {
    /// Opens a capture file, or a pipe.
    pub fn open(path: &Path) -> Result<Reader, CaptureError> {
        let file = path.display().to_string();
        match File::open(path) {
            Ok(from) => Reader::new(&file, from),
            Err(source) => Err(CaptureError::Io { file, doing: "open it", source }),
        }
    }

    /// Reads a capture from anything; `file` is its name in errors.
    pub fn new(file: &str, from: impl Read + 'static) -> Result<Reader, CaptureError> {
        let mut input: BufReader<Box<dyn Read>> = BufReader::with_capacity(1 << 16, Box::new(from));
        let mut record = Vec::new();
        match start(&mut input, &mut record) {
            Ok((format, interfaces)) => Ok(Reader {
                file: file.to_owned(),
                input,
                format,
                record,
                interfaces,
                base: 0,
                packets: 0,
                done: false,
                bytes: Vec::new(),
                comment: String::new(),
            }),
            Err(Fault::Io(source)) => {
                Err(CaptureError::Io { file: file.to_owned(), doing: "read it", source })
            }
            Err(fault) => Err(CaptureError::Format { file: file.to_owned(), fault }),
        }
    }

    /// The interfaces described so far; in pcapng more may come between packets.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The next packet, `None` at the end of the file.
    pub fn next_packet(&mut self) -> Option<Result<Packet<'_>, CaptureError>> {
        if self.done {
            return None;
        }
        self.packets += 1;
        let head = match self.format {
            Format::Classic(_) => self.next_classic(),
            Format::Next(_) => self.next_block_packet(),
        };
        self.done = !matches!(head, Ok(Some(_)));
        match head {
            Ok(None) => None,
            Ok(Some(Head { interface, time, wire_len, direction })) => {
                let (bytes, comment) = (&*self.bytes, &*self.comment);
                Some(Ok(Packet { interface, time, wire_len, bytes, direction, comment }))
            }
            Err(fault) => {
                Some(Err(CaptureError::Packet { file: self.file.clone(), packet: self.packets, fault }))
            }
        }
    }

    fn next_classic(&mut self) -> Result<Option<Head>, Fault> {
        let Reader { input, record, format: Format::Classic(parser), .. } = self else { return Ok(None) };
        record.clear();
        if !fill(input, record, PACKET_HEADER)? {
            return Ok(None);
        }
        let len = word(record, 8, parser.header().endianness)? as usize;
        if len > MAX_PACKET {
            return Err(Fault::TooLong);
        }
        fill(input, record, PACKET_HEADER + len)?;
        let (_, raw) = parser.next_raw_packet(record)?;
        let of = ethernet(self.interfaces.first(), 0)?;
        self.bytes.clear();
        self.bytes.extend_from_slice(&raw.data);
        let units = u128::from(raw.ts_sec) * of.units + u128::from(raw.ts_frac);
        Ok(Some(Head { interface: 0, time: of.time(units)?, wire_len: raw.orig_len, direction: None }))
    }

    /// Reads blocks up to the next packet.
    fn next_block_packet(&mut self) -> Result<Option<Head>, Fault> {
        loop {
            let Reader { input, record, format: Format::Next(parser), .. } = self else { return Ok(None) };
            if !read_block(input, record, parser.section().endianness)? {
                return Ok(None);
            }
            if record.is_empty() {
                continue;
            }
            match parser.next_block(record)?.1 {
                Block::SectionHeader(_) => self.base = self.interfaces.len(),
                Block::InterfaceDescription(block) => {
                    if self.interfaces.len() == MAX_INTERFACES {
                        return Err(Fault::TooManyInterfaces);
                    }
                    self.interfaces.push(Interface::new(&block)?);
                }
                Block::EnhancedPacket(block) => {
                    let at = self.base.saturating_add(block.interface_id as usize);
                    let of = ethernet(self.interfaces.get(at), block.interface_id)?;
                    // The library leaves the file's own units in what it calls nanoseconds.
                    let time = of.time(block.timestamp.as_nanos())?;
                    if block.data.len() > MAX_PACKET {
                        return Err(Fault::TooLong);
                    }
                    self.bytes.clear();
                    self.bytes.extend_from_slice(&block.data);
                    let direction = notes(&block, &mut self.comment);
                    return Ok(Some(Head { interface: at, time, wire_len: block.original_len, direction }));
                }
                Block::SimplePacket(block) => {
                    let of = ethernet(self.interfaces.get(self.base), 0)?;
                    // It has no length of its own; behind the bytes kept stands padding.
                    let kept = of.snap_len.min(block.original_len as usize).min(block.data.len());
                    self.bytes.clear();
                    self.bytes.extend(block.data.iter().take(kept));
                    self.comment.clear();
                    let interface = self.base;
                    return Ok(Some(Head {
                        interface,
                        time: 0,
                        wire_len: block.original_len,
                        direction: None,
                    }));
                }
                _ => return Err(Fault::Obsolete),
            }
        }
    }
}

/// Reads the start of a file: its format, and the interface of a classic one.
fn start(input: &mut impl Read, record: &mut Vec<u8>) -> Result<(Format, Vec<Interface>), Fault> {
    if !fill(input, record, PCAPNG.len())? {
        return Err(Fault::Malformed("it is empty".into()));
    }
    if *record == PCAPNG {
        read_block_rest(input, record, Endianness::Little)?;
        let damaged = |_| Fault::Malformed("its section header is damaged".into());
        return Ok((Format::Next(PcapNgParser::new(record).map_err(damaged)?.1), Vec::new()));
    }
    fill(input, record, FILE_HEADER)?;
    let start = || record.iter().take(4).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
    let other = |_| Fault::Malformed(format!("it begins with {}", start()));
    let (_, parser) = PcapParser::new(record).map_err(other)?;
    let header = parser.header();
    let units = if header.ts_resolution == TsResolution::NanoSecond { NANOS } else { 1_000_000 };
    let of = Interface { name: None, link: header.datalink, snap_len: MAX_PACKET, units, offset: 0 };
    Ok((Format::Classic(parser), vec![of]))
}

/// Reads the next block into `record`, or leaves it empty if the block is of no use here. False at the end.
fn read_block(input: &mut impl Read, record: &mut Vec<u8>, order: Endianness) -> Result<bool, Fault> {
    record.clear();
    Ok(fill(input, record, BLOCK_START)? && read_block_rest(input, record, order).map(|()| true)?)
}

/// The same from a block of which some bytes, at most [`BLOCK_START`], are in `record`.
fn read_block_rest(input: &mut impl Read, record: &mut Vec<u8>, order: Endianness) -> Result<(), Fault> {
    fill(input, record, BLOCK_START)?;
    let order = match record.get(..4) == Some(&PCAPNG[..]) {
        true if record.get(8..12) == Some(&[0x1a, 0x2b, 0x3c, 0x4d]) => Endianness::Big,
        true => Endianness::Little,
        false => order,
    };
    let len = word(record, 4, order)? as usize;
    if len < BLOCK_START || !len.is_multiple_of(4) {
        return Err(Fault::Malformed(format!("a block before it claims to be {len} bytes long")));
    }
    match word(record, 0, order)? {
        blocks::SECTION_HEADER_BLOCK
        | blocks::INTERFACE_DESCRIPTION_BLOCK
        | blocks::PACKET_BLOCK
        | blocks::SIMPLE_PACKET_BLOCK
        | blocks::ENHANCED_PACKET_BLOCK => {
            if len > MAX_BLOCK {
                return Err(Fault::TooLong);
            }
            fill(input, record, len)?;
        }
        _ => {
            let rest = (len - BLOCK_START) as u64;
            if std::io::copy(&mut input.take(rest), &mut std::io::sink())? < rest {
                return Err(Fault::Cut);
            }
            record.clear();
        }
    }
    Ok(())
}

/// Reads until `record` has `len` bytes. False at the end of the file, if nothing was there before.
fn fill(input: &mut impl Read, record: &mut Vec<u8>, len: usize) -> Result<bool, Fault> {
    let missing = len.saturating_sub(record.len()) as u64;
    input.take(missing).read_to_end(record)?;
    if record.len() < len && !record.is_empty() { Err(Fault::Cut) } else { Ok(!record.is_empty()) }
}

/// The 32-bit word at `at`.
fn word(record: &[u8], at: usize, order: Endianness) -> Result<u32, Fault> {
    let bytes = record.get(at..).and_then(<[u8]>::first_chunk).ok_or(Fault::Cut)?;
    Ok(if order.is_big() { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) })
}

/// The interface that a packet names, if there is one and it is Ethernet.
fn ethernet(interface: Option<&Interface>, id: u32) -> Result<&Interface, Fault> {
    match interface {
        None => Err(Fault::NoInterface(id)),
        Some(i) if i.link != DataLink::ETHERNET => Err(Fault::LinkType(i.link)),
        Some(i) => Ok(i),
    }
}

impl Interface {
    fn new(block: &InterfaceDescriptionBlock<'_>) -> Result<Interface, Fault> {
        let snap_len = if block.snaplen == 0 { MAX_PACKET } else { block.snaplen as usize };
        let mut new = Interface { name: None, link: block.linktype, snap_len, units: 1_000_000, offset: 0 };
        for option in &block.options {
            match option {
                InterfaceDescriptionOption::IfName(name) => new.name = Some(name.to_string()),
                // A power of two where the highest bit is set, else a negative power of ten.
                InterfaceDescriptionOption::IfTsResol(r) => {
                    let base: u128 = if r & 0x80 == 0 { 10 } else { 2 };
                    new.units = base.checked_pow((r & 0x7f).into()).ok_or(Fault::Time)?;
                }
                InterfaceDescriptionOption::IfTsOffset(seconds) => new.offset = seconds.cast_signed(),
                _ => {}
            }
        }
        Ok(new)
    }

    /// Nanoseconds since 1970 for a time in the interface's own units.
    fn time(&self, units: u128) -> Result<u64, Fault> {
        let (seconds, rest) = (units / self.units, units % self.units);
        // `rest < units <= 2^127`: where the product would overflow, the last digits do not reach a nanosecond.
        let nanos = rest.checked_mul(NANOS).map_or_else(|| rest / (self.units / NANOS), |n| n / self.units);
        i128::try_from(seconds)
            .ok()
            .and_then(|s| s.checked_add(self.offset.into())?.checked_mul(NANOS.cast_signed()))
            .and_then(|t| u64::try_from(t.checked_add(nanos.cast_signed())?).ok())
            .ok_or(Fault::Time)
    }
}

/// Collects a packet's comments and tells its direction.
fn notes(block: &EnhancedPacketBlock<'_>, comment: &mut String) -> Option<Direction> {
    comment.clear();
    let mut direction = None;
    for option in &block.options {
        match option {
            EnhancedPacketOption::Comment(text) => {
                if !comment.is_empty() {
                    comment.push('\n');
                }
                comment.push_str(text);
            }
            EnhancedPacketOption::Flags(flags) => {
                direction = match flags & 3 {
                    1 => Some(Direction::In),
                    2 => Some(Direction::Out),
                    _ => None,
                };
            }
            _ => {}
        }
    }
    direction
}

impl From<PcapError> for Fault {
    fn from(error: PcapError) -> Fault {
        // Records are handed over whole: what the library finds missing is missing in them.
        Fault::Malformed(match error {
            PcapError::IncompleteBuffer => "a field reaches over the end of its block".into(),
            PcapError::Utf8Error(e) => format!("a text is not UTF-8: {e}"),
            e => e.to_string(),
        })
    }
}
