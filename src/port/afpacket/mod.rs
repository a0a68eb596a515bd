//! AF_PACKET: frames of a real interface, with the kernel's unfinished checksums and super-frames.
//!
//! Reception is a TPACKET_V2 ring in memory shared with the kernel ([`Rx`]), transmission is `sendmmsg` through the
//! interface's qdisc ([`Tx`]). V3 rings are no choice for a router: they hold a lone frame back until a timer fires.
//! Both halves carry a virtio_net header, without which TCP from a sender with offloads does not arrive at all.
//!
//! # Large frames
//!
//! A slot of [`Profile::LARGE`] holds what GRO and TSO make by default: 65,536 bytes and headers. BIG TCP makes more,
//! once the administrator raises `gso_max_size` or `gro_max_size` (IPv6, with a jumbo hop-by-hop header) or
//! `gso_ipv4_max_size` or `gro_ipv4_max_size` (IPv4, total length 0). The kernel cuts such a frame at the end of its
//! slot: [`Meta::wire_len`] is then more than the length, forwarding must drop it and count it as truncated, and the
//! connection crawls. To see it: `ip -d link show IF`. To cure it, at the sender (a veth peer) and here:
//! `ip link set IF gso_max_size 65536 gro_max_size 65536`, and the same for the two `ipv4` limits.
//! Super-frames inside a tunnel (`tx-udp_tnl-segmentation`) lose the tunnel's part of the description on the way
//! through a virtio_net header; the kernel may refuse to send them on ([`Sent::refused`]).

mod ring;
#[cfg(test)]
mod tests;
mod tx;

pub use tx::{Queueing, Tx};

use super::{PortError, Sent, Statistics};
use crate::frame::{Batch, Frame, Meta, Offload, PktType};
use crate::sys::packet;
use ring::{Ring, Slot};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::ffi::c_int;
use std::io;

const ETH_P_ALL: u16 = libc::ETH_P_ALL as u16;
/// With ring header, alignment and virtio_net header before it, an IP header starts at a multiple of 16 bytes.
const RESERVE: c_int = 6;

/// Empty looks in a row after which the socket is asked whether the interface is gone: a system call at each would double the
/// time of a spinning round. An error ends every sleep at once, so the looks follow each other closely then.
const SILENCE: u32 = 64;

/// Size and number of the slots of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Profile {
    /// Bytes of a slot: the longest frame and about 90 bytes; a multiple of 16.
    pub slot: u32,
    /// Bytes of a block, in which slots lie whole; a power of two of pages.
    pub block: u32,
    /// Number of blocks.
    pub blocks: u32,
}

impl Profile {
    /// 480 slots that hold every super-frame of up to 65,536 bytes: 32 MiB.
    pub const LARGE: Profile = Profile { slot: 69_632, block: 2 << 20, blocks: 16 };
    /// 2,048 slots for links without super-frames and an MTU of at most 1,900 bytes: 4 MiB, and up to a fifth
    /// faster because the slots share pages. Longer frames arrive truncated.
    pub const SMALL: Profile = Profile { slot: 2048, block: 256 << 10, blocks: 16 };

    /// Number of slots; 0 if no slot fits a block.
    pub const fn slots(self) -> u32 {
        match self.block.checked_div(self.slot) {
            Some(in_a_block) => in_a_block * self.blocks,
            None => 0,
        }
    }
}

/// Which frames an open gate lets in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admit {
    /// Those addressed to this host at layer 2: all that a router forwards. Multicast and broadcast stay with the
    /// kernel, which counts them.
    Host,
    /// All that the interface receives: bridging, watching, tests.
    All,
}

/// The socket filter of a receiving half, to be changed from another thread. Keeps the socket alive: drop it with
/// the port.
#[derive(Debug)]
pub struct Gate {
    fd: OwnedFd,
    interface: String,
}

impl Gate {
    /// Lets frames in from now on. The filter is exchanged atomically; frames already in the ring stay.
    pub fn open(&self, admit: Admit) -> Result<(), PortError> {
        admit_only(&self.fd, Some(admit)).map_err(failed(&self.interface, "open the socket filter"))
    }

    /// Lets nothing in from now on; frames already in the ring stay.
    pub fn close(&self) -> Result<(), PortError> {
        admit_only(&self.fd, None).map_err(failed(&self.interface, "close the socket filter"))
    }
}

/// Receiving half: a ring of slots that the kernel fills.
#[derive(Debug)]
pub struct Rx {
    ring: Ring,
    fd: OwnedFd,
    index: u32,
    mac: [u8; 6],
    interface: String,
    seen: Statistics,
    /// Empty looks in a row since the socket was asked why.
    silent: u32,
}

/// Opens `queues` receiving halves of interface `index`, with closed gates. Several share the interface by a flow
/// hash that is the same in both directions (fanout); for that the interface must be up.
pub fn open(index: u32, profile: Profile, queues: usize) -> Result<Vec<Rx>, PortError> {
    let mut open = Vec::with_capacity(queues);
    let mut group = None;
    for _ in 0..queues {
        let rx = Rx::open(index, profile)?;
        if queues > 1 {
            group = Some(
                join(&rx.fd, group).map_err(failed(&rx.interface, "share it between workers (is it up?)"))?,
            );
        }
        open.push(rx);
    }
    Ok(open)
}

impl Rx {
    fn open(index: u32, profile: Profile) -> Result<Rx, PortError> {
        // Protocol 0 until the ring stands: nothing can be queued beside it.
        let fd = packet::socket().map_err(failed(&index.to_string(), "open a packet socket"))?;
        let interface = name(&fd, index);
        admit_only(&fd, None).map_err(failed(&interface, "attach a socket filter"))?;
        // Outgoing frames come by another flag in a fanout group; the virtio_net header must precede the ring.
        for (option, value) in [
            (libc::PACKET_IGNORE_OUTGOING, 1),
            (libc::PACKET_VNET_HDR, 1),
            (libc::PACKET_VERSION, libc::tpacket_versions::TPACKET_V2 as c_int),
            (libc::PACKET_RESERVE, RESERVE),
        ] {
            packet::set_option(&fd, option, &[value])
                .map_err(failed(&interface, "prepare a packet socket"))?;
        }
        let ring = Ring::map(&fd, profile).map_err(failed(&interface, "map a receive ring"))?;
        packet::bind(&fd, index, ETH_P_ALL).map_err(failed(&interface, "bind a packet socket"))?;
        let bound = packet::bound(&fd).map_err(failed(&interface, "ask for its type"))?;
        match bound.mac {
            Some(mac) if bound.hatype == libc::ARPHRD_ETHER => {
                Ok(Rx { ring, fd, index, mac, interface, seen: Statistics::default(), silent: 0 })
            }
            _ => Err(PortError::NotEthernet { interface, hatype: bound.hatype }),
        }
    }

    /// See [`super::Rx::receive`]. O(frames); no system call, except at each 64th empty look in a row.
    pub fn receive<'m>(&'m mut self, batch: &mut Batch<'m>) -> Result<usize, PortError> {
        let before = batch.len();
        if self.ring.ready() {
            self.silent = 0;
        } else {
            self.silent += 1;
            if self.silent >= SILENCE {
                self.silent = 0;
                self.check()?;
            }
            return Ok(0);
        }
        let Rx { ring, index, seen, .. } = self;
        ring.lend(batch.remaining_capacity(), |slot| match frame(slot, *index) {
            Some(frame) => batch.push(frame),
            None => seen.unreadable += 1,
        });
        Ok(batch.len() - before)
    }

    /// See [`super::Rx::release`].
    pub fn release(&mut self) {
        self.ring.release();
    }

    /// Asks the socket why it is silent: the kernel leaves an error there when the interface goes down.
    fn check(&self) -> Result<(), PortError> {
        let error = rustix::net::sockopt::socket_error(&self.fd);
        let interface = || self.interface.clone();
        match error {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Errno::NETDOWN)) => match packet::bound(&self.fd) {
                Ok(bound) if bound.index.is_some() => Err(PortError::Down { interface: interface() }),
                _ => Err(PortError::Gone { interface: interface() }),
            },
            Ok(Err(e)) | Err(e) => {
                Err(PortError::System { interface: interface(), doing: "receive", source: e.into() })
            }
        }
    }

    /// The socket, for poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Interface index.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Hardware address when the port was opened.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The filter of this half, which starts closed.
    pub fn gate(&self) -> Result<Gate, PortError> {
        let fd = self.fd.try_clone().map_err(failed(&self.interface, "duplicate its socket"))?;
        Ok(Gate { fd, interface: self.interface.clone() })
    }

    /// Counts since the port was opened. Frames that a closed gate kept out are in none of them.
    pub fn statistics(&mut self) -> Result<Statistics, PortError> {
        // The kernel starts again from 0 at each reading and counts dropped frames as received, too.
        let [packets, drops] = packet::get_option(&self.fd, libc::PACKET_STATISTICS)
            .map_err(failed(&self.interface, "read ring statistics"))?;
        self.seen.received += u64::from(packets.saturating_sub(drops));
        self.seen.dropped += u64::from(drops);
        Ok(self.seen)
    }
}

/// The frame in a slot; `None` for what only the kernel's own side may see and for unknown super-frames.
fn frame(slot: Slot<'_>, iif: u32) -> Option<Frame<'_>> {
    let Slot { memory, start, wire_len, pkt_type, vlan } = slot;
    let pkt_type = match pkt_type {
        libc::PACKET_HOST => PktType::Host,
        libc::PACKET_BROADCAST => PktType::Broadcast,
        libc::PACKET_MULTICAST => PktType::Multicast,
        libc::PACKET_OTHERHOST => PktType::OtherHost,
        _ => return None,
    };
    let header = memory.get(start.checked_sub(Offload::LEN)?..)?.first_chunk()?;
    let offload = Offload::decode(header)?;
    Frame::new(memory, start, Meta { iif, pkt_type, vlan, offload, wire_len, way: None })
}

/// Sets the socket filter: nothing, or what `admit` says. The filter answers how many bytes to keep.
fn admit_only(fd: &OwnedFd, admit: Option<Admit>) -> io::Result<()> {
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const PKT_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
    match admit {
        None => packet::set_filter(fd, &[(RETURN, 0, 0, 0)]),
        Some(Admit::All) => packet::set_filter(fd, &[(RETURN, 0, 0, u32::MAX)]),
        Some(Admit::Host) => packet::set_filter(
            fd,
            &[
                (LOAD_BYTE, 0, 0, PKT_TYPE),
                (JUMP_EQUAL, 0, 1, libc::PACKET_HOST.into()),
                (RETURN, 0, 0, u32::MAX),
                (RETURN, 0, 0, 0),
            ],
        ),
    }
}

/// Joins the fanout group `group`, or founds one, and returns its id. HASH keeps a flow with one member; the DEFRAG
/// flag must stay off, because it would put transit fragments together.
fn join(fd: &OwnedFd, group: Option<u32>) -> io::Result<u32> {
    let mode = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING;
    let founding = if group.is_none() { libc::PACKET_FANOUT_FLAG_UNIQUEID } else { 0 };
    let value = group.unwrap_or(0) | (mode | founding) << 16;
    packet::set_option(fd, libc::PACKET_FANOUT, &[value.cast_signed()])?;
    let [value] = packet::get_option(fd, libc::PACKET_FANOUT)?;
    Ok(value & 0xffff)
}

/// The interface's name for messages, or its index.
fn name(fd: &OwnedFd, index: u32) -> String {
    rustix::net::netdevice::index_to_name(fd, index).unwrap_or_else(|_| format!("interface {index}"))
}

fn failed(interface: &str, doing: &'static str) -> impl FnOnce(io::Error) -> PortError {
    move |source| PortError::System { interface: interface.to_owned(), doing, source }
}
