//! Frames in and out: AF_PACKET, TAP, capture files, memory. Floor 3, knows nothing of `forward/`.
//!
//! A port lends the frames of a batch from its own memory and sends bytes from wherever they lie.
//!
//! A port has two halves, so that a batch can stay borrowed from [`Rx`] while its frames leave through [`Tx`], also
//! of the same interface. The kinds are an enum, not a trait object: one predictable branch a batch. Workers drive
//! them live, replay and tests through [`memory`].

pub mod afpacket;
pub mod capture;
pub mod memory;
pub mod post;
pub mod tap;
#[cfg(test)]
mod testnet;
pub mod wait;
pub mod watch;

use crate::frame::{Batch, Meta, Offload, PktType};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::io;

/// The receiving half of a port.
#[derive(Debug)]
pub enum Rx {
    /// An AF_PACKET ring on an interface.
    Packet(afpacket::Rx),
    /// A queue of a TAP device.
    Tap(tap::Rx),
    /// Frames loaded before.
    Memory(memory::Rx),
}

/// The sending half of a port.
#[derive(Debug)]
pub enum Tx {
    /// An AF_PACKET socket on an interface.
    Packet(afpacket::Tx),
    /// A queue of a TAP device.
    Tap(tap::Tx),
    /// Frames kept for the caller.
    Memory(memory::Tx),
}

impl Rx {
    /// Adds the frames that wait to `batch`, up to its capacity, and returns how many. Takes back what was lent
    /// before. Never blocks: 0 means that none waits. An error does not end the port: after [`PortError::Down`]
    /// frames come again when the interface is up.
    pub fn receive<'m>(&'m mut self, batch: &mut Batch<'m>) -> Result<usize, PortError> {
        match self {
            Rx::Packet(p) => p.receive(batch),
            Rx::Tap(p) => p.receive(batch),
            Rx::Memory(p) => Ok(p.receive(batch)),
        }
    }

    /// Takes back the frames lent last, so that their memory can be filled again. Call it before sleeping:
    /// a ring with frames lent looks readable.
    pub fn release(&mut self) {
        if let Rx::Packet(p) = self {
            p.release();
        }
    }

    /// What to sleep on, if the port can wait for frames.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Rx::Packet(p) => Some(p.fd()),
            Rx::Tap(p) => Some(p.fd()),
            Rx::Memory(_) => None,
        }
    }

    /// Counts since the port was opened.
    pub fn statistics(&mut self) -> Result<Statistics, PortError> {
        match self {
            Rx::Packet(p) => p.statistics(),
            Rx::Tap(p) => Ok(p.statistics()),
            Rx::Memory(p) => Ok(p.statistics()),
        }
    }
}

impl Tx {
    /// Sends frames in order, each with the work left to do on it. Offsets in the [`Offload`] count from the first
    /// byte given. On an interface without a link-layer header the bytes start at the IP header. Never blocks;
    /// what cannot be sent is dropped and counted, as a full queue of the kernel would do.
    pub fn send<'a>(&mut self, frames: impl Iterator<Item = (&'a [u8], &'a Offload)>) -> Sent {
        match self {
            Tx::Packet(p) => p.send(frames),
            Tx::Tap(p) => p.send(frames),
            Tx::Memory(p) => p.send(frames),
        }
    }
}

/// What a receiving half counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Frames that the port took.
    pub received: u64,
    /// Frames lost because no memory was free when they came.
    pub dropped: u64,
    /// Frames whose description the port could not read: an unknown kind of super-frame.
    pub unreadable: u64,
}

/// What became of the frames given to [`Tx::send`]; each is counted once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// Taken by the kernel.
    pub sent: u32,
    /// Longer than the interface's MTU allows (EMSGSIZE).
    pub too_long: u32,
    /// The queue of the interface or the send buffer was full (ENOBUFS, EAGAIN).
    pub no_room: u32,
    /// The interface is down (ENETDOWN).
    pub down: u32,
    /// The interface is no more (ENXIO, ENODEV, EBADFD).
    pub gone: u32,
    /// The kernel finds the frame malformed (EINVAL and the rest).
    pub refused: u32,
}

impl Sent {
    /// Frames that were not sent.
    pub fn lost(&self) -> u32 {
        self.too_long + self.no_room + self.down + self.gone + self.refused
    }

    /// Counts why the first of `frames` failed, or all of them if all would fail in the same way; returns how many.
    fn fail<T>(&mut self, error: Errno, frames: &[T]) -> usize {
        let (count, n) = match error {
            Errno::MSGSIZE => (&mut self.too_long, 1),
            Errno::NOBUFS | Errno::AGAIN | Errno::NOMEM => (&mut self.no_room, 1),
            Errno::NETDOWN => (&mut self.down, frames.len()),
            Errno::NXIO | Errno::NODEV | Errno::BADFD => (&mut self.gone, frames.len()),
            _ => (&mut self.refused, 1),
        };
        *count += n as u32;
        n
    }
}

/// Why a port cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// A system call failed.
    #[error("{interface}: cannot {doing}: {source}{}", cure(source))]
    System {
        /// Name of the interface, or its index where it has no name.
        interface: String,
        /// What was attempted.
        doing: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Frames without an Ethernet header cannot be taken in.
    #[error(
        "{interface}: not an Ethernet interface (ARPHRD type {hatype}): routes may send on it, but frames cannot be taken from it"
    )]
    NotEthernet {
        /// Name of the interface.
        interface: String,
        /// Its `ARPHRD_*` type.
        hatype: u16,
    },
    /// The interface is down; the port works again when it is up.
    #[error("{interface}: is down: `ip link set {interface} up`")]
    Down {
        /// Name of the interface.
        interface: String,
    },
    /// The interface was deleted or moved to another namespace; the port is of no more use.
    #[error("{interface}: has been deleted or moved to another namespace")]
    Gone {
        /// Name the interface had.
        interface: String,
    },
    /// More was loaded into a [`memory`] port than it may hold.
    #[error(
        "frame {frames} would exceed the {limit} bytes that are held in memory: cut the capture with `editcap -c`"
    )]
    Full {
        /// Frames loaded.
        frames: usize,
        /// Most bytes.
        limit: usize,
    },
}

/// What to do about an error, where the number says it.
fn cure(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => " (run as root, or with CAP_NET_ADMIN and CAP_NET_RAW)",
        Some(libc::ENOMEM) => " (not enough memory for the ring: use the small profile)",
        Some(libc::ENODEV | libc::ENXIO) => " (`ip link` lists the interfaces of this namespace)",
        Some(libc::EBUSY) => " (another program holds it)",
        _ => "",
    }
}

/// For whom a frame is, by its destination address. Linux: eth_type_trans.
fn pkt_type(bytes: &[u8], mac: [u8; 6]) -> PktType {
    match bytes.first_chunk::<6>() {
        Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => PktType::Broadcast,
        Some([first, ..]) if first & 1 != 0 => PktType::Multicast,
        Some(to) if *to == mac => PktType::Host,
        _ => PktType::OtherHost,
    }
}

/// The tag control word of a VLAN tag in the frame (802.1Q or 802.1ad).
fn vlan(bytes: &[u8]) -> Option<u16> {
    match bytes.get(12..16)? {
        &[0x81, 0x00, hi, lo] | &[0x88, 0xa8, hi, lo] => Some(u16::from_be_bytes([hi, lo])),
        _ => None,
    }
}

/// The metadata of a frame whose link-layer facts stand in its own bytes.
pub fn meta(iif: u32, mac: [u8; 6], bytes: &[u8], offload: Offload, wire_len: u32) -> Meta {
    Meta { iif, pkt_type: pkt_type(bytes, mac), vlan: vlan(bytes), offload, wire_len, way: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_layer_says_for_whom_a_frame_is() {
        let mac = [2, 0, 0, 0, 0, 1];
        for (to, kind) in [
            (mac, PktType::Host),
            ([2, 0, 0, 0, 0, 2], PktType::OtherHost),
            ([0xff; 6], PktType::Broadcast),
            ([0x33, 0x33, 0, 0, 0, 1], PktType::Multicast),
        ] {
            assert_eq!(pkt_type(&to, mac), kind);
        }
        assert_eq!(pkt_type(&[2, 0], mac), PktType::OtherHost, "too short to be ours");
    }

    #[test]
    fn both_kinds_of_tag_are_seen() {
        let tagged = |tpid: [u8; 2]| [&[0; 12][..], &tpid, &[0x20, 7, 8, 0]].concat();
        assert_eq!(vlan(&tagged([0x81, 0])), Some(0x2007));
        assert_eq!(vlan(&tagged([0x88, 0xa8])), Some(0x2007));
        assert_eq!(vlan(&tagged([8, 0])), None);
        assert_eq!(vlan(&[0x81; 15]), None);
    }

    #[test]
    fn every_lost_frame_is_counted_once() {
        let mut sent = Sent::default();
        for e in [Errno::MSGSIZE, Errno::NOBUFS, Errno::AGAIN, Errno::INVAL] {
            assert_eq!(sent.fail(e, &[0; 4]), 1, "the others may still go");
        }
        assert_eq!(sent.fail(Errno::NETDOWN, &[0; 3]), 3);
        assert_eq!(sent.fail(Errno::NXIO, &[0; 2]), 2);
        assert_eq!(sent, Sent { sent: 0, too_long: 1, no_room: 2, down: 3, gone: 2, refused: 1 });
        assert_eq!(sent.lost(), 9);
    }
}
