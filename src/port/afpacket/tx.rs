//! Sending on an interface: `sendmmsg` straight from the bytes given, each behind a virtio_net header.
//!
//! Frames pass the interface's qdisc like the kernel's own, so traffic control and packet taps see them. The worker
//! calls this once per interface and batch.

use super::{Sent, failed, name};
use crate::frame::Offload;
use crate::port::PortError;
use crate::sys::packet;
use arrayvec::ArrayVec;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use std::io::IoSlice;

/// Frames per system call.
const CHUNK: usize = 64;
/// What skbs of ours may wait in queues; the default of 208 KiB holds three super-frames.
const SEND_BUFFER: usize = 16 << 20;

/// How frames reach the driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Queueing {
    /// Through the qdisc: shaped, shown to taps, super-frames cut for devices that cannot.
    #[default]
    Qdisc,
    /// Past the qdisc, somewhat faster. Only for devices that segment: others drop every super-frame.
    Driver,
}

/// Sending half: a socket that receives nothing.
#[derive(Debug)]
pub struct Tx {
    fd: OwnedFd,
    /// For interfaces without a link-layer header: where to send IPv4 and IPv6 packets.
    packets: Option<Box<[SocketAddrAny; 2]>>,
}

impl Tx {
    /// Opens the sending half of interface `index`. On an interface that has no Ethernet header (tunnels, TUN, PPP)
    /// frames start at the IP header.
    pub fn open(index: u32, queueing: Queueing) -> Result<Tx, PortError> {
        let fd = packet::socket().map_err(failed(&index.to_string(), "open a packet socket"))?;
        let interface = name(&fd, index);
        let prepare = || {
            packet::set_option(&fd, libc::PACKET_VNET_HDR, &[1])?;
            packet::set_option(&fd, libc::PACKET_QDISC_BYPASS, &[i32::from(queueing == Queueing::Driver)])?;
            rustix::net::sockopt::set_socket_send_buffer_size_force(&fd, SEND_BUFFER)?;
            packet::bind(&fd, index, 0)?;
            packet::bound(&fd)
        };
        let bound = prepare().map_err(failed(&interface, "prepare it for sending"))?;
        let to = |protocol: i32| packet::address(index, protocol as u16);
        let packets = match bound.hatype {
            libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => None,
            // Nothing in the bytes names the protocol, so each message does, rather than have the driver guess.
            _ => Some(Box::new([to(libc::ETH_P_IP), to(libc::ETH_P_IPV6)])),
        };
        Ok(Tx { fd, packets })
    }

    /// Whether frames start at the IP header.
    pub fn bare(&self) -> bool {
        self.packets.is_some()
    }

    /// See [`super::super::Tx::send`]. One system call for 64 frames; no copy in the process.
    pub fn send<'a>(&mut self, frames: impl Iterator<Item = (&'a [u8], &'a Offload)>) -> Sent {
        let mut sent = Sent::default();
        let mut chunk = ArrayVec::<_, CHUNK>::new();
        for (bytes, offload) in frames {
            chunk.push((offload.encode(), bytes));
            if chunk.is_full() {
                self.flush(&chunk, &mut sent);
                chunk.clear();
            }
        }
        self.flush(&chunk, &mut sent);
        sent
    }

    fn flush(&self, chunk: &[([u8; Offload::LEN], &[u8])], sent: &mut Sent) {
        let slices: ArrayVec<_, CHUNK> =
            chunk.iter().map(|(h, b)| [IoSlice::new(h), IoSlice::new(b)]).collect();
        let mut controls: [SendAncillaryBuffer<'_, '_, '_>; CHUNK] =
            std::array::from_fn(|_| SendAncillaryBuffer::default());
        let mut messages = ArrayVec::<_, CHUNK>::new();
        for ((slices, control), (_, bytes)) in slices.iter().zip(&mut controls).zip(chunk) {
            match self.packets.as_deref() {
                None => messages.push(MMsgHdr::new(slices, control)),
                Some([v4, v6]) => match bytes.first().map(|b| b >> 4) {
                    Some(4) => messages.push(MMsgHdr::new_with_addr(v4, slices, control)),
                    Some(6) => messages.push(MMsgHdr::new_with_addr(v6, slices, control)),
                    _ => sent.refused += 1,
                },
            }
        }
        let mut rest = messages.as_mut_slice();
        while !rest.is_empty() {
            // The kernel stops at the first frame that fails, and says why when that frame comes first.
            let done = match sendmmsg(&self.fd, rest, SendFlags::DONTWAIT) {
                Ok(n) if n > 0 => {
                    sent.sent += n as u32;
                    n
                }
                Ok(_) => sent.fail(Errno::INVAL, rest),
                Err(Errno::INTR) => 0,
                Err(e) => sent.fail(e, rest),
            };
            rest = rest.get_mut(done..).unwrap_or_default();
        }
    }
}
