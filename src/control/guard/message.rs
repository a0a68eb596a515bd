//! Netlink messages for the subsystems that no library here knows: nf_tables, XFRM policies, tc filters.
//!
//! Writing: nested attributes become one byte string. Reading is total: bytes that make no sense end the list. Called by
//! [`super::nft`] and [`super::foreign`] only. The kernel answers before `send` returns, so nothing here waits.

use std::io;

use netlink_packet_core::{DefaultNla, Emitable, NetlinkBuffer, NlasIterator};
use netlink_sys::{Socket, SocketAddr};

const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;
pub(super) const NLM_F_APPEND: u16 = 0x800;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Dumps that the kernel marks as interrupted by a change are asked again this often.
const DUMP_TRIES: usize = 10;

/// One attribute with its value in the byte order of the message.
pub(super) type Attribute = DefaultNla;

pub(super) fn bytes(kind: u16, value: impl Into<Vec<u8>>) -> Attribute {
    DefaultNla::new(kind, value.into())
}

/// A name, with the closing zero that the kernel wants.
pub(super) fn text(kind: u16, value: &str) -> Attribute {
    bytes(kind, [value.as_bytes(), &[0]].concat())
}

/// A number as nf_tables has them: big-endian.
pub(super) fn number(kind: u16, value: u32) -> Attribute {
    bytes(kind, value.to_be_bytes())
}

pub(super) fn nest(kind: u16, attributes: &[Attribute]) -> Attribute {
    const NLA_F_NESTED: u16 = 0x8000;
    bytes(kind | NLA_F_NESTED, pack(attributes))
}

fn pack(attributes: &[Attribute]) -> Vec<u8> {
    let mut packed = vec![0; attributes.buffer_len()];
    attributes.emit(&mut packed);
    packed
}

/// A message: header, the subsystem's own fixed header, attributes.
pub(super) fn message(kind: u16, flags: u16, fixed: &[u8], attributes: &[Attribute]) -> Vec<u8> {
    const HEADER: usize = 16;
    let body = [fixed, &pack(attributes)].concat();
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
    message.extend_from_slice(&[0; 8]); // sequence number: one request at a time; port: the kernel fills it in
    message.extend_from_slice(&body);
    message
}

/// Opens a socket of a netlink family (`NETLINK_ROUTE` 0, `NETLINK_XFRM` 6, `NETLINK_NETFILTER` 12), never blocking.
pub(super) fn open(family: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(family)?;
    socket.bind_auto()?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// A received message: its type, and what follows its header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) body: Vec<u8>,
}

/// All messages that wait on the socket now, or the error that ended reading (ENOBUFS: some were lost).
pub(super) fn waiting(socket: &Socket) -> io::Result<Vec<Received>> {
    let mut all = Vec::new();
    loop {
        match socket.recv_from_full() {
            Ok((datagram, from)) if from.port_number() == 0 => all.extend(messages(&datagram)),
            Ok(_) => {} // only the kernel, whose port is 0, is believed
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(all),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The messages of one datagram.
pub(super) fn messages(mut datagram: &[u8]) -> Vec<Received> {
    let mut all = Vec::new();
    while let Ok(buffer) = NetlinkBuffer::new_checked(&datagram) {
        all.push(Received {
            kind: buffer.message_type(),
            flags: buffer.flags(),
            body: buffer.payload().to_vec(),
        });
        let aligned = (buffer.length() as usize).next_multiple_of(4);
        datagram = datagram.get(aligned..).unwrap_or_default();
    }
    all
}

/// The error that a message of type NLMSG_ERROR or NLMSG_DONE reports; `None` for an acknowledgement.
fn error_in(message: &Received) -> Option<io::Error> {
    let code = message.body.first_chunk().map_or(-libc::EBADMSG, |code| i32::from_ne_bytes(*code));
    (code != 0).then(|| io::Error::from_raw_os_error(code.saturating_neg()))
}

/// Sends requests and gives the bodies of the answers of type `answer`, or the first error. The kernel has dealt with all
/// requests when the sending call returns, and what it cannot report it turns into an error of the next read; so no
/// acknowledgement is needed.
pub(super) fn ask(socket: &Socket, requests: &[u8], answer: u16) -> io::Result<Vec<Vec<u8>>> {
    socket.send_to(requests, &SocketAddr::new(0, 0), 0)?;
    let mut answers = Vec::new();
    for message in waiting(socket)? {
        match error_in(&message) {
            Some(error) if message.kind == NLMSG_ERROR => return Err(error),
            _ if message.kind == answer => answers.push(message.body),
            _ => {}
        }
    }
    Ok(answers)
}

/// Sends requests that have no answer but an error.
pub(super) fn order(socket: &Socket, requests: &[u8]) -> io::Result<()> {
    ask(socket, requests, NLMSG_ERROR).map(drop)
}

/// Asks for a list and gives the bodies of the messages of type `answer`.
pub(super) fn dump(socket: &Socket, request: &[u8], answer: u16) -> io::Result<Vec<Vec<u8>>> {
    for _ in 0..DUMP_TRIES {
        socket.send_to(request, &SocketAddr::new(0, 0), 0)?;
        if let Some(all) = read_dump(socket, answer)? {
            return Ok(all);
        }
    }
    Err(io::Error::other("the list changed at every try to read it"))
}

/// One try; `None` if the kernel says that the list changed under it.
fn read_dump(socket: &Socket, answer: u16) -> io::Result<Option<Vec<Vec<u8>>>> {
    let (mut all, mut interrupted) = (Vec::new(), false);
    loop {
        // Each read makes the kernel produce the next part, so an empty queue means that there is no end to come.
        let received = waiting(socket)?;
        if received.is_empty() {
            return Err(io::Error::other("the kernel broke off a list"));
        }
        for message in received {
            interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
            match message.kind {
                NLMSG_DONE | NLMSG_ERROR => {
                    return match error_in(&message) {
                        Some(error) => Err(error),
                        None => Ok((!interrupted).then_some(all)),
                    };
                }
                kind if kind == answer => all.push(message.body),
                _ => {}
            }
        }
    }
}

/// The value of the first attribute of this kind.
pub(super) fn find(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    NlasIterator::new(attributes).map_while(Result::ok).find(|nla| nla.kind() == kind).map(|nla| value(&nla))
}

/// All attributes, as (kind, value).
pub(super) fn list(attributes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(attributes).map_while(Result::ok).map(|nla| (nla.kind(), value(&nla)))
}

fn value<'a>(nla: &netlink_packet_core::NlaBuffer<&'a [u8]>) -> &'a [u8] {
    nla.into_inner().get(4..usize::from(nla.length())).unwrap_or_default()
}

/// A name without its closing zero. Bytes that are not UTF-8 are shown as U+FFFD, control characters escaped, so that
/// what a stranger chose cannot spoil a terminal.
pub(super) fn name(value: &[u8]) -> String {
    let name = value.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name)
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// A big-endian number.
pub(super) fn big_endian(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}
