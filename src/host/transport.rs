//! Closed ports: no program listens here, so UDP is answered with an error and TCP with a reset. Read by both families.
//! RFC 1122 4.1.3.1, RFC 9293 3.10.7.1; Linux: __udp4_lib_rcv, __udp6_lib_rcv, tcp_v4_send_reset, tcp_v6_send_response.

use crate::wire::csum;
use crate::wire::l4::{TcpHdr, UdpHdr};
use crate::wire::proto;
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// A TCP header without options, in bytes.
pub const TCP_LEN: usize = size_of::<TcpHdr>();

/// Whether errors about packets of this protocol are for a socket, and there is none; or for none at all.
pub fn is_of_sockets(protocol: u8) -> bool {
    const RAW: u8 = 255;
    matches!(protocol, proto::TCP | proto::UDP | proto::UDPLITE | RAW)
}

/// Whether a message with its pseudo header (a partial sum) sums up as it should.
pub fn sum_is_right(pseudo: u32, message: &[u8]) -> bool {
    csum::fold(pseudo + csum::sum(message)) == 0xffff
}

/// The datagram at the start of a packet's data, cut to its own length, with its header. `None` if malformed. Over IPv6
/// a length of zero stands for all that came, as in a jumbogram (RFC 2675 4).
pub fn datagram(data: &[u8], v6: bool) -> Option<(&UdpHdr, &[u8])> {
    let (udp, _) = UdpHdr::ref_from_prefix(data).ok()?;
    let len = if v6 && udp.len.get() == 0 { data.len() } else { udp.len.get().into() };
    Some((udp, data.get(..len).filter(|d| d.len() >= size_of::<UdpHdr>())?))
}

/// Why a segment cannot be read.
pub enum Malformed {
    /// Shorter than its header: the kernel counts nothing.
    Short,
    /// Its header says that it is shorter than a header.
    Header,
}

/// The header of a segment that is as long as it says. Linux: tcp_v4_rcv.
pub fn segment(data: &[u8]) -> Result<&TcpHdr, Malformed> {
    let (tcp, _) = TcpHdr::ref_from_prefix(data).map_err(|_| Malformed::Short)?;
    let header = usize::from(tcp.data_offset >> 4) * 4;
    if header < TCP_LEN {
        return Err(Malformed::Header);
    }
    if data.len() < header { Err(Malformed::Short) } else { Ok(tcp) }
}

/// The reset that answers a segment, checksum set. `None` if the segment is malformed or itself a reset.
/// `pseudo` is the partial sum of the answer's pseudo header.
pub fn reset(bytes: &[u8], pseudo: u32) -> Option<[u8; TCP_LEN]> {
    let tcp = segment(bytes).ok()?;
    let data = bytes.get(usize::from(tcp.data_offset >> 4) * 4..)?;
    if tcp.flags & RST != 0 {
        return None;
    }
    let ends = u32::from(tcp.flags & SYN != 0) + u32::from(tcp.flags & FIN != 0);
    // With an acknowledgement the reset takes up where that points, else it acknowledges all that came.
    let (seq, ack, flags) = if tcp.flags & ACK != 0 {
        (tcp.ack, U32::ZERO, RST)
    } else {
        (U32::ZERO, U32::new(tcp.seq.get().wrapping_add(data.len() as u32 + ends)), RST | ACK)
    };
    let mut answer = TcpHdr {
        src_port: tcp.dst_port,
        dst_port: tcp.src_port,
        seq,
        ack,
        data_offset: ((TCP_LEN / 4) << 4) as u8,
        flags,
        window: U16::ZERO,
        csum: U16::ZERO,
        urgent: U16::ZERO,
    };
    answer.csum.set(!csum::fold(pseudo + csum::sum(answer.as_bytes())));
    answer.as_bytes().first_chunk().copied()
}
