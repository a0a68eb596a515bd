//! Generic netlink, as far as to ask whether a family of the kernel has any objects: IOAM namespaces, security labels.
//!
//! Families have names; the kernel gives them numbers when it starts. Called by the mirror.

use super::attr::{attrs, header};
use super::socket::Socket;
use super::{Error, Result};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};

/// `GENL_ID_CTRL`, the family that knows the others, and its attributes.
const CONTROL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// Objects of a generic netlink family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Objects {
    /// The family's name.
    pub family: &'static str,
    /// The command that dumps them.
    pub dump: u8,
}

/// IOAM namespaces of the network namespace (`IOAM6_CMD_DUMP_NAMESPACES`).
pub const IOAM_NAMESPACES: Objects = Objects { family: "IOAM6", dump: 3 };
/// Domains of CALIPSO labels (`NLBL_CALIPSO_C_LISTALL`). The kernel shows them in the first network namespace alone.
pub const CALIPSO_DOMAINS: Objects = Objects { family: "NLBL_CALIPSO", dump: 4 };
/// Domains of CIPSO labels (`NLBL_CIPSOV4_C_LISTALL`). The kernel shows them in the first network namespace alone.
pub const CIPSO_DOMAINS: Objects = Objects { family: "NLBL_CIPSOv4", dump: 4 };

/// `struct genlmsghdr`
fn command(command: u8) -> Vec<u8> {
    vec![command, 1, 0, 0]
}

/// Whether there are any such objects; none if the kernel does not have the family here.
///
/// # Errors
/// As any request.
pub fn any(objects: Objects) -> Result<bool> {
    let mut socket = Socket::open_generic()?;
    let Some(family) = number(&mut socket, objects.family)? else { return Ok(false) };
    let mut found = false;
    let dumped = socket.exchange("dump", family, NLM_F_DUMP, &command(objects.dump), |_| found = true);
    match dumped {
        // Without any, or where only the first namespace may ask.
        Err(error) if [libc::ENOENT, libc::EPERM, libc::EOPNOTSUPP].iter().any(|n| error.is(*n)) => Ok(false),
        done => done.map(|()| found),
    }
}

/// The number of a family.
fn number(socket: &mut Socket, name: &str) -> Result<Option<u16>> {
    let mut request = command(CTRL_CMD_GETFAMILY);
    let len = u16::try_from(4 + name.len() + 1).map_err(|_| Error::TooLong)?;
    request.extend([len.to_ne_bytes(), CTRL_ATTR_FAMILY_NAME.to_ne_bytes()].concat());
    request.extend(name.bytes());
    request.push(0);
    request.resize(request.len().next_multiple_of(4), 0);
    let mut number = None;
    let answered = socket.exchange("ask for a family", CONTROL, NLM_F_ACK, &request, |payload| {
        let Ok((&[_, _, _, _], rest)) = header::<4>(payload) else { return };
        let id = attrs(rest).find(|attr| attr.kind == CTRL_ATTR_FAMILY_ID);
        number = id.and_then(|attr| attr.u16().ok());
    });
    match answered {
        Err(error) if error.is(libc::ENOENT) => Ok(None),
        done => done.map(|()| number),
    }
}
