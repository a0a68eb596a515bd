//! IPsec policies that concern forwarded packets. Called by [`super::find`].
//! Source: `include/uapi/linux/xfrm.h`; which directions: `xfrm_route_forward` looks up OUT, `xfrm4_policy_check` FWD.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Family, Finding, ForeignError, What};
use crate::control::guard::message::{self, NLM_F_DUMP};

pub(super) const NETLINK_XFRM: isize = 6;

const NEW_POLICY: u16 = 0x13;
const GET_POLICY: u16 = 0x15;
const GET_DEFAULT: u16 = 0x28;

const OUT: u8 = 1;
const FWD: u8 = 2;

/// All such policies of this namespace, and a default of "block".
pub(super) fn policies() -> Result<Vec<Finding>, ForeignError> {
    let failed = |source| ForeignError::Netlink { what: "IPsec policies".to_owned(), source };
    let socket = match message::open(NETLINK_XFRM) {
        Ok(socket) => socket,
        // The kernel has no XFRM.
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let any_policy = [0; 64]; // struct xfrm_userpolicy_id
    let request = message::message(GET_POLICY, NLM_F_DUMP, &any_policy, &[]);
    let policies = message::dump(&socket, &request, NEW_POLICY).map_err(failed)?;
    let mut found: Vec<Finding> = policies.iter().filter_map(|body| policy(body)).collect();
    let request = message::message(GET_DEFAULT, 0, &[0; 3], &[]);
    match message::ask(&socket, &request, GET_DEFAULT) {
        Ok(answers) => found.extend(answers.iter().flat_map(|body| defaults(body))),
        // Linux before 5.15: there is no default but accept.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
        Err(error) => return Err(failed(error)),
    }
    Ok(found)
}

/// `struct xfrm_userpolicy_info`: selector (56 bytes), lifetimes (96), priority, index, direction, action, ...
pub(super) fn policy(body: &[u8]) -> Option<Finding> {
    let (to, rest) = body.split_first_chunk::<16>()?;
    let (from, rest) = rest.split_first_chunk::<16>()?;
    let family = u16::from_ne_bytes(*rest.get(8..)?.first_chunk()?);
    let (&to_bits, &from_bits) = (rest.get(10)?, rest.get(11)?);
    let direction = match *body.get(160)? {
        OUT => "out",
        FWD => "fwd",
        _ => return None, // to this host, or of one socket
    };
    let action = if *body.get(161)? == 0 { "allow" } else { "block" };
    let (family, to, from) = match i32::from(family) {
        libc::AF_INET => (Some(Family::V4), ipv4(to)?, ipv4(from)?),
        libc::AF_INET6 => {
            (Some(Family::V6), Ipv6Addr::from(*to).to_string(), Ipv6Addr::from(*from).to_string())
        }
        _ => (None, "any".to_owned(), "any".to_owned()),
    };
    let line = format!("ipsec policy {direction} {action} from {from}/{from_bits} to {to}/{to_bits}");
    Some(Finding { what: What::Ipsec, family, interface: None, line })
}

/// `struct xfrm_userpolicy_default`: in, fwd, out; 1 is block.
fn defaults(body: &[u8]) -> Vec<Finding> {
    let directions = body.iter().zip(["in", "fwd", "out"]).skip(1);
    let blocked = directions.filter(|(value, _)| **value == 1);
    blocked
        .map(|(_, direction)| Finding {
            what: What::Ipsec,
            family: None,
            interface: None,
            line: format!("ipsec default policy {direction} block"),
        })
        .collect()
}

fn ipv4(address: &[u8; 16]) -> Option<String> {
    Some(Ipv4Addr::from(*address.first_chunk::<4>()?).to_string())
}
