//! TAP: a network device whose other end is this process. One frame per system call, super-frames included.
//!
//! The device belongs to the descriptor and vanishes with the process, unless it was made persistent before. Its
//! address, state and MTU are set through netlink, not here. Standalone routers and tests use it.

use super::{PortError, Sent, Statistics, meta};
use crate::frame::{Batch, Frame, Offload};
use crate::sys::tun;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read, writev};
use std::io::{self, IoSlice};

/// Frames that can be lent at once.
const SLOTS: usize = 64;
/// Bytes for one frame: the largest super-frame with headers, and headroom.
const SLOT: usize = 69_632;
/// Where a frame starts in its slot: room for headers to grow, and an IP header at a multiple of 16.
const START: usize = 66;
const HEADER: usize = START - Offload::LEN;

/// Receiving half of one queue.
#[derive(Debug)]
pub struct Rx {
    fd: OwnedFd,
    pool: Box<[u8]>,
    name: String,
    index: u32,
    mac: [u8; 6],
    seen: Statistics,
}

/// Sending half of one queue.
#[derive(Debug)]
pub struct Tx {
    fd: OwnedFd,
}

/// Opens one queue of the TAP device `name` and creates the device if there is none (`%d` in the name asks the
/// kernel to number). `mac` is the address that warren answers to on it: the kernel's end has another. Each further
/// call with the same name adds a queue; a device made before must have been made with `multi_queue`.
pub fn open(name: &str, mac: [u8; 6]) -> Result<(Rx, Tx), PortError> {
    let failed = |doing| move |source| PortError::System { interface: name.to_owned(), doing, source };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;
    let (fd, name) = tun::open(name, flags)
        .map_err(failed("open a TAP queue (an existing device needs `multi_queue`)"))?;
    tun::set_header_len(&fd, Offload::LEN as i32).map_err(failed("set its virtio_net header"))?;
    // What is set here may be received, and the ports behind must be able to send it on.
    tun::set_offload(&fd, libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6)
        .map_err(failed("set its offloads"))?;
    let index = index_of(&name).map_err(failed("find its index"))?;
    let tx = Tx { fd: fd.try_clone().map_err(failed("duplicate its queue"))? };
    let pool = vec![0; SLOTS * SLOT].into_boxed_slice();
    Ok((Rx { fd, pool, name, index, mac, seen: Statistics::default() }, tx))
}

fn index_of(name: &str) -> io::Result<u32> {
    use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};
    Ok(name_to_index(socket(AddressFamily::INET, SocketType::DGRAM, None)?, name)?)
}

impl Rx {
    /// See [`super::Rx::receive`]. One system call a frame, and one to learn that none waits.
    pub fn receive<'m>(&'m mut self, batch: &mut Batch<'m>) -> Result<usize, PortError> {
        let before = batch.len();
        for slot in self.pool.chunks_exact_mut(SLOT).take(batch.remaining_capacity()) {
            let Some(room) = slot.get_mut(HEADER..) else { break };
            let n = match read(&self.fd, room) {
                Ok(n) => n,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                // Frames already in the batch must not be lost: the error comes again at the next call.
                Err(_) if batch.len() > before => break,
                Err(Errno::BADFD) => return Err(PortError::Gone { interface: self.name.clone() }),
                Err(e) => {
                    let interface = self.name.clone();
                    return Err(PortError::System { interface, doing: "receive", source: e.into() });
                }
            };
            match frame(slot, n, self.index, self.mac) {
                Some(frame) => {
                    self.seen.received += 1;
                    batch.push(frame);
                }
                None => self.seen.unreadable += 1,
            }
        }
        Ok(batch.len() - before)
    }

    /// The queue, for poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Name of the device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Interface index of the device.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Counts since the queue was opened; frames that found it full are in the device's own `tx_dropped`.
    pub fn statistics(&self) -> Statistics {
        self.seen
    }
}

/// The frame that a read of `n` bytes, header included, left in `slot`.
fn frame(slot: &mut [u8], n: usize, iif: u32, mac: [u8; 6]) -> Option<Frame<'_>> {
    let memory = slot.get_mut(..HEADER + n)?;
    let (header, bytes) = memory.get(HEADER..)?.split_first_chunk()?;
    let meta = meta(iif, mac, bytes, Offload::decode(header)?, bytes.len() as u32);
    Frame::new(memory, START, meta)
}

impl Tx {
    /// See [`super::Tx::send`]. One system call a frame.
    pub fn send<'a>(&mut self, frames: impl Iterator<Item = (&'a [u8], &'a Offload)>) -> Sent {
        let mut sent = Sent::default();
        for (bytes, offload) in frames {
            match writev(&self.fd, &[IoSlice::new(&offload.encode()), IoSlice::new(bytes)]) {
                Ok(_) => sent.sent += 1,
                // tun_get_user: a device that is down answers EIO.
                Err(Errno::IO) => sent.down += 1,
                Err(e) => {
                    sent.fail(e, &[bytes]);
                }
            }
        }
        sent
    }
}
