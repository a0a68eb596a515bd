//! The far ends of the router's links: where frames are put in and come out. Invariant: a frame sent here reaches the
//! router as it is and alone (a plain veth hands the kernel one frame at a time), and what the router sends is taken
//! in the order in which it left. Called by `kernel`.

use super::{ConformError, Frame, Result, system};
use crate::sys::packet;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, sockopt};
use std::time::Duration;

/// Longer than any frame of a link.
const FRAME_MAX: usize = 70_000;
/// Bytes that may wait to be taken, the kernel's own overhead included.
const PILE: usize = 64 << 20;
/// How often a frame is sent again that found no room: a second in all.
const AGAIN: usize = 200;

/// The far end of one link.
#[derive(Debug)]
pub struct End {
    /// The link's name.
    pub link: String,
    socket: OwnedFd,
}

impl End {
    /// Opens the far end that has this interface index in the calling thread's namespace.
    pub fn open(link: &str, index: u32) -> Result<End> {
        let prepare = || {
            let socket = packet::socket()?;
            packet::set_option(&socket, libc::PACKET_IGNORE_OUTGOING, &[1])?;
            // In a user namespace only as much as any user may have.
            if sockopt::set_socket_recv_buffer_size_force(&socket, PILE).is_err() {
                sockopt::set_socket_recv_buffer_size(&socket, PILE)?;
            }
            packet::bind(&socket, index, libc::ETH_P_ALL as u16)?;
            Ok::<_, std::io::Error>(socket)
        };
        let socket = prepare().map_err(system(format!("open the far end of {link}")))?;
        Ok(End { link: link.to_owned(), socket })
    }

    /// Sends a frame to the router, the one of this number. One that the router's queue has no room for is lost and sent
    /// again a little later: a machine with other work may be slow to take them. Linux: veth_xmit, netif_rx.
    pub fn send(&self, number: usize, frame: &[u8]) -> Result<()> {
        let mut sent = rustix::net::send(&self.socket, frame, SendFlags::empty());
        for _ in 0..AGAIN {
            if sent != Err(Errno::NOBUFS) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
            sent = rustix::net::send(&self.socket, frame, SendFlags::empty());
        }
        let doing = || format!("send frame {number}, of {} bytes, into {}", frame.len(), self.link);
        sent.map(|_| ()).map_err(|e| system(doing())(e))
    }

    /// Takes all frames that the router sent, and notes `time` with each. Never blocks.
    ///
    /// # Errors
    /// Frames that found no room: what was taken is not all that the router sent.
    pub fn take(&self, time: u64, into: &mut Vec<Frame>) -> Result<()> {
        let mut buffer = vec![0; FRAME_MAX];
        loop {
            match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, len)) => {
                    let bytes = buffer.get(..len).unwrap_or(&buffer).to_vec();
                    into.push(Frame { link: self.link.clone(), time, bytes });
                }
                Err(Errno::WOULDBLOCK) => return self.lost(),
                // Told once, of a link that was made to lose its carrier.
                Err(Errno::INTR | Errno::NETDOWN) => {}
                Err(e) => return Err(system(format!("receive from {}", self.link))(e)),
            }
        }
    }

    /// Whether frames were lost here since the last question.
    fn lost(&self) -> Result<()> {
        let statistics = packet::get_option::<2>(&self.socket, libc::PACKET_STATISTICS);
        let [_, lost] = statistics.map_err(system(format!("ask what was lost on {}", self.link)))?;
        if lost == 0 { Ok(()) } else { Err(ConformError::Lost(lost, self.link.clone())) }
    }
}
