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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PktType;
    use crate::port::testnet::{Net, transfer};
    use crate::port::wait::{Sleep, Waker};
    use std::net::UdpSocket;
    use std::time::Duration;

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 2];

    /// A TAP whose kernel end is up with `address` and knows who has 10.0.0.2.
    fn tap(net: &Net, name: &str, address: &str) -> (Rx, Tx) {
        let (rx, tx) = net.enter(|| open(name, OURS)).unwrap();
        net.run(&format!("ip link set {name} address 02:00:00:00:00:01 up"));
        net.run(&format!("ip addr add {address}/24 dev {name}"));
        (rx, tx)
    }

    #[test]
    fn echo_both_ways() {
        let net = Net::new();
        let (rx, mut tx) = tap(&net, "t0", "10.0.0.1");
        net.run("ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev t0");
        let socket = net.enter(|| UdpSocket::bind("10.0.0.1:7")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!((rx.name(), rx.index()), ("t0", net.index("t0")));
        let mut rx = crate::port::Rx::Tap(rx);
        let sleep = Sleep::new(Waker::new().unwrap()).unwrap();
        sleep.add(&rx).unwrap();
        for n in 0..100_u8 {
            let text = [&[n][..], &vec![b'x'; usize::from(n)]].concat();
            socket.send_to(&text, "10.0.0.2:9").unwrap();
            sleep.wait(Some(Duration::from_secs(10))).unwrap();
            let mut batch = Batch::new();
            assert_eq!(rx.receive(&mut batch).unwrap(), 1);
            let frame = &mut batch[0];
            assert_eq!((frame.meta.pkt_type, frame.meta.wire_len as usize), (PktType::Host, 42 + text.len()));
            assert_eq!(frame.bytes()[42..], text);
            // Back to where it came from: swap MAC addresses, IP addresses and ports; no sum changes by that.
            let b = frame.bytes_mut();
            for (x, y, n) in [(0, 6, 6), (26, 30, 4), (34, 36, 2)] {
                (0..n).for_each(|i| b.swap(x + i, y + i));
            }
            let sent = tx.send(batch.iter().map(|f| (f.bytes(), &f.meta.offload)));
            assert_eq!((sent.sent, sent.lost()), (1, 0));
            let mut back = [0; 200];
            let (len, from) = socket.recv_from(&mut back).unwrap();
            assert_eq!((&back[..len], from.to_string().as_str()), (&text[..], "10.0.0.2:9"));
        }
    }

    #[test]
    fn tcp_with_offloads_crosses_two_taps() {
        let (left, right) = (Net::new(), Net::new());
        let (rx0, tx0) = tap(&left, "t0", "10.0.0.1");
        let (rx1, tx1) = tap(&right, "t1", "10.0.0.2");
        right.run("ip link set t1 address 02:00:00:00:00:02");
        use crate::port::{Rx, Tx};
        transfer(&left, &right, [(Rx::Tap(rx0), Tx::Tap(tx0)), (Rx::Tap(rx1), Tx::Tap(tx1))]);
    }

    #[test]
    fn the_device_is_ours_has_queues_and_can_go_away() {
        let net = Net::new();
        let (mut first, mut tx) = net.enter(|| open("t%d", OURS)).unwrap();
        assert_eq!(first.name(), "t0", "numbered by the kernel");
        let (second, _) = net.enter(|| open("t0", OURS)).unwrap();
        assert_eq!(second.index(), first.index(), "another queue of the same device");
        let frame = [&OURS[..], &[0; 54]].concat();
        let one = |tx: &mut Tx| tx.send([(&*frame, &Offload::default())].into_iter());
        assert_eq!(one(&mut tx), Sent { down: 1, ..Sent::default() });
        net.run("ip link del t0");
        assert_eq!(one(&mut tx), Sent { gone: 1, ..Sent::default() });
        let e = first.receive(&mut Batch::new()).unwrap_err();
        assert!(matches!(&e, PortError::Gone { interface } if interface == "t0"), "{e}");

        let (rx, tx) = net.enter(|| open("t1", OURS)).unwrap();
        net.run("ip link show t1");
        drop((rx, tx));
        assert!(!net.run("ip -o link").contains("t1"), "it vanishes with its descriptors");
        net.run("ip tuntap add t2 mode tap");
        let e = net.enter(|| open("t2", OURS)).unwrap_err().to_string();
        assert!(e.contains("t2") && e.contains("multi_queue"), "{e}");
        let e = net.enter(|| open("a-name-that-is-too-long", OURS)).unwrap_err().to_string();
        assert!(e.contains("at most 15 bytes"), "{e}");
    }
}
