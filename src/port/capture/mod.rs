//! Capture files: pcap and pcapng in, pcapng out. Replay reads and writes them, `capture` and tests write them.
//!
//! Times are nanoseconds since 1970, whatever the file's resolution. Only Ethernet is understood. Sizes are bounded;
//! a damaged file ends in one error that names the packet.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{Interface, Reader};
pub use writer::Writer;

use pcap_file::DataLink;
use std::io;

/// Longest packet that is read or written: more than the largest BIG TCP frame that a capture holds by default.
pub const MAX_PACKET: usize = 1 << 20;
/// Most interface blocks of one file.
pub const MAX_INTERFACES: usize = 4096;

/// Which way a packet went through its interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// A packet of a capture file, lent by [`Reader::next_packet`] and given to [`Writer::write`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// Which of the file's interfaces, counted from 0 over the whole file.
    pub interface: usize,
    /// Nanoseconds since 1970; 0 for the simple packet blocks of pcapng, which have no time.
    pub time: u64,
    /// Bytes on the wire; more than `bytes` holds when the capture was cut to a snap length.
    pub wire_len: u32,
    /// From the link-layer header on.
    pub bytes: &'a [u8],
    /// Which way it went, if the file says so.
    pub direction: Option<Direction>,
    /// A note for people; several are joined by line ends. Empty if there is none.
    pub comment: &'a str,
}

/// Why a capture file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The system refused.
    #[error("{file}: cannot {doing}: {source}")]
    Io {
        /// The file's name.
        file: String,
        /// What was attempted.
        doing: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// No capture file.
    #[error("{file}: neither pcap nor pcapng: {fault}")]
    Format {
        /// The file's name.
        file: String,
        /// What is wrong with its start.
        fault: Fault,
    },
    /// A capture file that is damaged or out of scope from this packet on.
    #[error("{file}: packet {packet}: {fault}")]
    Packet {
        /// The file's name.
        file: String,
        /// Number of the packet, counted from 1 as Wireshark does.
        packet: u64,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with a packet.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// End of file within a block.
    #[error("the file ends in the middle of a record (was the capture cut short?)")]
    Cut,
    /// Not Ethernet.
    #[error(
        "its link type is {0:?}, only ETHERNET can be read: capture on one Ethernet interface, not on `any`"
    )]
    LinkType(DataLink),
    /// A number that no interface block has.
    #[error("it names interface {0}, which no interface block before it describes")]
    NoInterface(u32),
    /// Over [`MAX_PACKET`] or the parser's buffer.
    #[error("it is longer than {MAX_PACKET} bytes")]
    TooLong,
    /// Over [`MAX_INTERFACES`].
    #[error("more than {MAX_INTERFACES} interface blocks stand before it")]
    TooManyInterfaces,
    /// Before 1970, after 2554, or of a resolution that 64 bits cannot carry.
    #[error("its time is out of range")]
    Time,
    /// The packet block that pcapng gave up in 2009.
    #[error("it is in an obsolete packet block: rewrite the file with `editcap -F pcapng`")]
    Obsolete,
    /// What the parser says.
    #[error("{0}")]
    Malformed(String),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
