//! Echo requests with a chosen hop limit and size, and what comes back: ping, traceroute and path-MTU discovery in one.
//!
//! Invariant: only an answer to the last request is taken, known by identifier and sequence number, also where an ICMP
//! error quotes it. Raw sockets, so that no tool and no sysctl is needed. Called by the demo's steps.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_ip_ttl, set_ipv6_unicast_hops, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use zerocopy::{FromBytes, IntoBytes};

use crate::control::netlink::Family;
use crate::sys::netns::Namespace;
use crate::wire::icmp::{IcmpHdr, set_csum4, v4, v6};
use crate::wire::ip4::Ip4Hdr;
use crate::wire::ip6::Ip6Hdr;

/// How long to wait for an answer. Over veths it takes less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(1);

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// Echo reply.
    Reply,
    /// The hop limit ran out on the way.
    TimeExceeded,
    /// Too big for the next hop, which takes this many bytes.
    TooBig(u32),
    /// Unreachable, with the code of the family.
    Unreachable(u8),
}

/// An answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// What it says.
    pub says: Says,
    /// Who sent it.
    pub from: IpAddr,
    /// Time since the request.
    pub after: Duration,
}

/// Sends echo requests from one namespace to one address.
pub struct Prober {
    socket: OwnedFd,
    to: IpAddr,
    /// Identifier and sequence number of the last request, as on the wire.
    mark: [u8; 4],
    sequence: u16,
}

impl Prober {
    /// A prober in `from`.
    ///
    /// # Errors
    /// If the kernel refuses the raw socket.
    pub fn open(from: &Namespace, to: IpAddr) -> Result<Self> {
        let (domain, protocol) = match to {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let open = || rustix::net::socket_with(domain, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol));
        let socket = from.enter(open)?.context("cannot open a raw ICMP socket; run it as root")?;
        Ok(Self { socket, to, mark: [0; 4], sequence: 0 })
    }

    /// Sends one request in an IP packet of `size` bytes, which may not be fragmented on the way, and waits for its
    /// answer; `None` after a second without one.
    ///
    /// # Errors
    /// If the packet cannot be sent from here.
    pub fn probe(&mut self, hop_limit: u8, size: usize) -> Result<Option<Answer>> {
        let header = match self.to {
            IpAddr::V4(_) => {
                set_ip_ttl(&self.socket, hop_limit.into())?;
                Ip4Hdr::LEN
            }
            IpAddr::V6(_) => {
                set_ipv6_unicast_hops(&self.socket, Some(hop_limit))?;
                Ip6Hdr::LEN
            }
        };
        let request = self.request(size.saturating_sub(header));
        let begin = Instant::now();
        rustix::net::sendto(&self.socket, &request, SendFlags::empty(), &SocketAddr::new(self.to, 0))
            .with_context(|| format!("cannot send an echo request of {size} bytes to {}", self.to))?;
        let mut buffer = [0; 2048];
        while let Some(left) = PATIENCE.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
            set_socket_timeout(&self.socket, Timeout::Recv, Some(left.max(Duration::from_millis(1))))?;
            let (len, from) = match rustix::net::recvfrom(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok((len, _, from)) => (len, from.and_then(|from| SocketAddr::try_from(from).ok())),
                Err(Errno::AGAIN | Errno::INTR) => continue,
                Err(error) => return Err(error).context("cannot receive from the raw ICMP socket"),
            };
            let says = buffer.get(..len).and_then(|packet| read(packet, Family::of(self.to), self.mark));
            if let (Some(says), Some(from)) = (says, from) {
                return Ok(Some(Answer { says, from: from.ip(), after: begin.elapsed() }));
            }
        }
        Ok(None)
    }

    /// The next echo request, `len` bytes long from the ICMP header on.
    fn request(&mut self, len: usize) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let [i0, i1] = (std::process::id() as u16).to_be_bytes();
        let [s0, s1] = self.sequence.to_be_bytes();
        self.mark = [i0, i1, s0, s1];
        let kind = if self.to.is_ipv4() { v4::ECHO } else { v6::ECHO_REQUEST };
        let mut message = IcmpHdr::new(kind, 0, self.mark).as_bytes().to_vec();
        message.resize(len.max(IcmpHdr::LEN), b'w');
        if self.to.is_ipv4() {
            let _ = set_csum4(&mut message); // that of ICMPv6 is the kernel's work (RFC 3542 3.1)
        }
        message
    }
}

/// What a received packet says about the request with this identifier and sequence number; `None` if nothing.
fn read(packet: &[u8], family: Family, mark: [u8; 4]) -> Option<Says> {
    // Raw IPv4 sockets give the IP header too (raw(7)), raw IPv6 sockets do not (RFC 3542 3).
    let message = if family == Family::V4 { payload(packet, family)? } else { packet };
    let (header, quoted) = IcmpHdr::read_from_prefix(message).ok()?;
    let number = u32::from_be_bytes(header.rest);
    let says = match (family, header.kind, header.code) {
        (Family::V4, v4::ECHO_REPLY, _) | (Family::V6, v6::ECHO_REPLY, _) => {
            return (header.rest == mark).then_some(Says::Reply);
        }
        (Family::V4, v4::TIME_EXCEEDED, _) | (Family::V6, v6::TIME_EXCEEDED, _) => Says::TimeExceeded,
        (Family::V4, v4::DEST_UNREACH, v4::FRAG_NEEDED) => Says::TooBig(number & 0xffff),
        (Family::V6, v6::PKT_TOOBIG, _) => Says::TooBig(number),
        (Family::V4, v4::DEST_UNREACH, code) | (Family::V6, v6::DEST_UNREACH, code) => {
            Says::Unreachable(code)
        }
        _ => return None,
    };
    (payload(quoted, family)?.get(4..8)? == mark).then_some(says)
}

/// What stands behind the IP header; the demo sends no extension headers.
fn payload(packet: &[u8], family: Family) -> Option<&[u8]> {
    match family {
        Family::V4 => packet.get(Ip4Hdr::ref_from_prefix(packet).ok()?.0.ihl()..),
        Family::V6 => packet.get(Ip6Hdr::LEN..),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: [u8; 4] = [1, 2, 3, 4];

    /// An error of this type and code, `rest` behind the checksum, that quotes an echo request with `mark`.
    fn error(family: Family, kind: u8, code: u8, rest: [u8; 4], mark: [u8; 4]) -> Vec<u8> {
        let address = std::net::Ipv4Addr::LOCALHOST;
        let ip4 = Ip4Hdr::new(28, 1, 1, address, address).as_bytes().to_vec();
        let ip6 =
            Ip6Hdr::new(8, 58, 1, address.to_ipv6_mapped(), address.to_ipv6_mapped()).as_bytes().to_vec();
        let header = IcmpHdr::new(kind, code, rest).as_bytes().to_vec();
        let request = IcmpHdr::new(8, 0, mark).as_bytes().to_vec();
        match family {
            Family::V4 => [ip4.clone(), header, ip4, request].concat(),
            Family::V6 => [header, ip6, request].concat(),
        }
    }

    #[test]
    fn errors_are_read_if_they_quote_the_request() {
        let mtu = 1400_u32.to_be_bytes();
        for (family, kind, code, says) in [
            (Family::V4, v4::TIME_EXCEEDED, 0, Says::TimeExceeded),
            (Family::V4, v4::DEST_UNREACH, v4::FRAG_NEEDED, Says::TooBig(1400)),
            (Family::V4, v4::DEST_UNREACH, 1, Says::Unreachable(1)),
            (Family::V6, v6::TIME_EXCEEDED, 0, Says::TimeExceeded),
            (Family::V6, v6::PKT_TOOBIG, 0, Says::TooBig(1400)),
            (Family::V6, v6::DEST_UNREACH, 3, Says::Unreachable(3)),
        ] {
            assert_eq!(read(&error(family, kind, code, mtu, MARK), family, MARK), Some(says));
            assert_eq!(read(&error(family, kind, code, mtu, [0; 4]), family, MARK), None, "another's");
        }
        let reply = IcmpHdr::new(v6::ECHO_REPLY, 0, MARK);
        assert_eq!(read(reply.as_bytes(), Family::V6, MARK), Some(Says::Reply));
        assert_eq!(read(reply.as_bytes(), Family::V6, [0; 4]), None);
    }

    #[test]
    fn hostile_bytes_harm_nothing() {
        bolero::check!().with_type::<(Vec<u8>, bool)>().for_each(|(bytes, six)| {
            let family = if *six { Family::V6 } else { Family::V4 };
            if let Some(says) = read(bytes, family, MARK) {
                // Whatever is believed names the request, in the reply's header or in the quotation.
                assert!(bytes.windows(4).any(|window| window == MARK), "{says:?}");
            }
        });
    }
}
