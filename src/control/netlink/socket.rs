//! A blocking rtnetlink socket: requests with their answers, and the stream of events.
//!
//! Invariants: a socket serves the namespace of the thread that opened it, for good; only datagrams from the kernel are read; a
//! [`Socket`] makes requests and dumps, an [`Events`] only listens, so neither can swallow what the other waits for.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader,
};
use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_ROUTE};
use netlink_sys::{Socket as RawSocket, SocketAddr};

use super::attr::{attrs, header};
use super::{Error, Event, Malformed, Result};

/// Length of a netlink header.
const HEADER: usize = 16;
/// Longer than any message: attributes end at 64 KiB, and the kernel fills at most 32 KiB with a dump.
const BUFFER: usize = 256 * 1024;
/// What a burst of events may pile up to, in bytes (the kernel counts its own overhead too): some 100,000 route changes.
const PILE: usize = 64 * 1024 * 1024;
/// `NLMSGERR_ATTR_MSG`: the kernel's explanation.
const EXPLANATION: u16 = 1;

/// A socket for requests and dumps, with strict checking and extended acknowledgements.
#[derive(Debug)]
pub struct Socket {
    raw: RawSocket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

/// What became of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dumped {
    /// All of it is one state.
    Whole,
    /// Something changed meanwhile (NLM_F_DUMP_INTR).
    Interrupted,
}

impl Socket {
    /// Opens a socket in the calling thread's namespace.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn open() -> Result<Self> {
        Self::open_for(NETLINK_ROUTE)
    }

    /// Opens one for generic netlink.
    pub(super) fn open_generic() -> Result<Self> {
        Self::open_for(NETLINK_GENERIC)
    }

    fn open_for(protocol: isize) -> Result<Self> {
        let failed = |doing| move |source| Error::System { doing, source };
        let mut raw = RawSocket::new(protocol).map_err(failed("open a socket"))?;
        let port = raw.bind_auto().map_err(failed("bind a socket"))?.port_number();
        raw.set_ext_ack(true).map_err(failed("ask for extended acknowledgements"))?;
        raw.set_cap_ack(true).map_err(failed("ask for short acknowledgements"))?;
        raw.set_netlink_get_strict_chk(true).map_err(failed("ask for strict checking"))?;
        Ok(Self { raw, port, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Turns the socket into a listener to multicast groups (`RTNLGRP_*`), usually [`super::GROUPS`]. Dump after this, not before.
    ///
    /// # Errors
    /// [`Error::System`] if a group does not exist.
    pub fn subscribe(self, groups: &[u32]) -> Result<Events> {
        self.subscribe_with_buffer(groups, PILE)
    }

    /// As [`Socket::subscribe`], with a receive buffer of about `bytes` (the kernel has a minimum of 2 KiB and doubles the number).
    ///
    /// # Errors
    /// As [`Socket::subscribe`].
    pub fn subscribe_with_buffer(self, groups: &[u32], bytes: usize) -> Result<Events> {
        let failed = |doing| move |source| Error::System { doing, source };
        // Forcing passes the limit net.core.rmem_max and needs CAP_NET_ADMIN; without it a smaller buffer must do.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&self.raw, bytes).is_err() {
            rustix::net::sockopt::set_socket_recv_buffer_size(&self.raw, bytes)
                .map_err(|e| failed("size the receive buffer")(e.into()))?;
        }
        for group in groups {
            // By option, not by bind: the bitmap of bind(2) ends before the group of next hops.
            self.raw.add_membership(*group).map_err(failed("join a group"))?;
        }
        Ok(Events { socket: self })
    }

    /// Sends a request and waits for its acknowledgement; `each` gets the messages that come before it.
    pub(super) fn request(
        &mut self,
        what: &dyn Fn() -> String,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut each: impl FnMut(Event),
    ) -> Result<()> {
        self.send(kind, flags | NLM_F_ACK, body)?;
        self.answers(what, &mut each).map(|_| ())
    }

    /// Sends a dump request and hands every object to `each`.
    pub(super) fn dump_once(
        &mut self,
        what: &'static str,
        kind: u16,
        body: &[u8],
        mut each: impl FnMut(Event),
    ) -> Result<Dumped> {
        self.send(kind, NLM_F_DUMP, body)?;
        self.answers(&|| what.to_owned(), &mut each)
    }

    fn send(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut head = NetlinkHeader::default();
        head.length = u32::try_from(HEADER + body.len()).map_err(|_| Error::TooLong)?;
        head.message_type = kind;
        head.flags = flags | NLM_F_REQUEST;
        head.sequence_number = self.sequence;
        let mut bytes = vec![0; HEADER];
        head.emit(&mut bytes);
        bytes.extend_from_slice(body);
        self.raw.send_to(&bytes, &SocketAddr::new(0, 0), 0).map(|_| ()).map_err(|source| {
            if source.raw_os_error() == Some(libc::EMSGSIZE) {
                return Error::TooLong;
            }
            Error::System { doing: "send a request", source }
        })
    }

    /// Sends a request that is none of rtnetlink's, and hands what each answer carries to `each`.
    pub(super) fn exchange(
        &mut self,
        what: &'static str,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<()> {
        self.send(kind, flags, body)?;
        loop {
            self.receive(0)?;
            for message in messages(&self.buffer) {
                if message.sequence_number() != self.sequence || message.port_number() != self.port {
                    continue;
                }
                match message.message_type() {
                    NLMSG_NOOP => {}
                    NLMSG_OVERRUN => return Err(Error::Overrun),
                    NLMSG_ERROR | NLMSG_DONE => return verdict(&|| what.to_owned(), &message),
                    _ => each(message.payload()),
                }
            }
        }
    }

    /// Begins a dump; its objects come piece by piece from [`Socket::dump_more`].
    pub(super) fn dump_begin(&mut self, kind: u16, body: &[u8]) -> Result<()> {
        self.send(kind, NLM_F_DUMP, body)
    }

    /// Hands the next piece of a dump, some hundred objects, to `each`; `false` at the end.
    pub(super) fn dump_more(&mut self, what: &'static str, mut each: impl FnMut(Event)) -> Result<bool> {
        let mut outcome = Ok(Dumped::Whole);
        let ended = self.answer(&|| what.to_owned(), &mut each, &mut outcome)?;
        outcome.map(|_| !ended)
    }

    /// Reads answers to the last request up to its end. A malformed object does not stop the reading: the rest must not be
    /// left in the socket, and the error is returned at the end.
    fn answers(&mut self, what: &dyn Fn() -> String, each: &mut dyn FnMut(Event)) -> Result<Dumped> {
        let mut outcome = Ok(Dumped::Whole);
        while !self.answer(what, each, &mut outcome)? {}
        outcome
    }

    /// Reads one datagram of answers; `true` if the last one is in it.
    fn answer(
        &mut self,
        what: &dyn Fn() -> String,
        each: &mut dyn FnMut(Event),
        outcome: &mut Result<Dumped>,
    ) -> Result<bool> {
        self.receive(0)?;
        for message in messages(&self.buffer) {
            // Answers to an earlier request that was given up.
            if message.sequence_number() != self.sequence || message.port_number() != self.port {
                continue;
            }
            if message.flags() & NLM_F_DUMP_INTR != 0 && outcome.is_ok() {
                *outcome = Ok(Dumped::Interrupted);
            }
            match message.message_type() {
                NLMSG_NOOP => {}
                NLMSG_OVERRUN => return Err(Error::Overrun),
                NLMSG_ERROR | NLMSG_DONE => return verdict(what, &message).map(|()| true),
                kind => match Event::decode(kind, message.flags(), message.payload()) {
                    Ok(event) => each(event),
                    Err(source) => *outcome = Err(Error::Malformed { kind, source }),
                },
            }
        }
        Ok(false)
    }

    /// Reads one datagram from the kernel into the buffer.
    fn receive(&mut self, flags: i32) -> Result<()> {
        loop {
            self.buffer.clear();
            // With MSG_TRUNC the length is the datagram's own, even if it did not fit.
            match self.raw.recv_from(&mut self.buffer, flags | libc::MSG_TRUNC) {
                Ok((len, _)) if len > self.buffer.len() => return Err(Error::Truncated(len)),
                // Any process may send to our port; only port 0 is the kernel.
                Ok((_, from)) if from.port_number() == 0 => return Ok(()),
                Ok(_) => {}
                Err(source) if source.kind() == ErrorKind::Interrupted => {}
                Err(source) if source.raw_os_error() == Some(libc::ENOBUFS) => return Err(Error::Overrun),
                Err(source) => return Err(Error::System { doing: "receive", source }),
            }
        }
    }
}

/// A listener to events. Poll its descriptor to wait for several things at once.
#[derive(Debug)]
pub struct Events {
    socket: Socket,
}

impl Events {
    /// Waits for events and appends them to `events`, in the kernel's order; at least one, [`Event::Ignored`] included.
    ///
    /// # Errors
    /// [`Error::Overrun`] if events were lost; the socket goes on working. [`Error::Malformed`] if an event could not be read; the
    /// others received with it are in `events`.
    pub fn recv(&mut self, events: &mut Vec<Event>) -> Result<()> {
        self.socket.receive(0)?;
        self.decode(events)
    }

    /// As [`Events::recv`], but returns `false` at once if nothing is there.
    ///
    /// # Errors
    /// As [`Events::recv`].
    pub fn try_recv(&mut self, events: &mut Vec<Event>) -> Result<bool> {
        match self.socket.receive(libc::MSG_DONTWAIT) {
            Err(Error::System { source, .. }) if source.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
            Ok(()) => self.decode(events).map(|()| true),
        }
    }

    fn decode(&self, events: &mut Vec<Event>) -> Result<()> {
        let mut outcome = Ok(());
        for message in messages(&self.socket.buffer) {
            let kind = message.message_type();
            match Event::decode(kind, message.flags(), message.payload()) {
                Ok(event) => events.push(event),
                Err(source) => outcome = Err(Error::Malformed { kind, source }),
            }
        }
        outcome
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.raw.as_fd()
    }
}

/// The messages in a datagram, up to the first that makes no sense.
fn messages(datagram: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        let len = usize::try_from(message.length()).ok()?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// Reads the error number of an NLMSG_ERROR or NLMSG_DONE, and the kernel's explanation behind it.
fn verdict(what: &dyn Fn() -> String, message: &NetlinkBuffer<&[u8]>) -> Result<()> {
    let (kind, payload) = (message.message_type(), message.payload());
    let malformed = |source: Malformed| Error::Malformed { kind, source };
    let (code, mut rest) = header::<4>(payload).map_err(malformed)?;
    let code = i32::from_ne_bytes(*code);
    if code == 0 {
        return Ok(());
    }
    if kind == NLMSG_ERROR {
        // The request's header comes first, and unless the answer is capped the request's body too.
        let echo = NetlinkBuffer::new_checked(rest).map_or(HEADER, |request| request.length() as usize);
        let echo = if message.flags() & NLM_F_CAPPED != 0 { HEADER } else { echo };
        rest = rest.get(echo.next_multiple_of(4)..).unwrap_or_default();
    }
    let explained = message.flags() & NLM_F_ACK_TLVS != 0;
    let text = attrs(rest).find(|attr| explained && attr.kind == EXPLANATION).map(|attr| attr.text());
    Err(Error::Refused {
        what: what(),
        source: io::Error::from_raw_os_error(code.saturating_neg()),
        text: text.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests;
