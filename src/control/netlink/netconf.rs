//! The few sysctls of a link that the kernel announces (`RTM_NEWNETCONF`). All others must be read; see `devconf`.
//!
//! A notification carries only what changed; a dump, and the first notification of a new link, carry everything.

use super::attr::{attrs, header};
use super::{Family, Malformed};

const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_FORWARDING: u16 = 2;
const NETCONFA_RP_FILTER: u16 = 3;
const NETCONFA_MC_FORWARDING: u16 = 4;
const NETCONFA_PROXY_NEIGH: u16 = 5;
const NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN: u16 = 6;
const NETCONFA_BC_FORWARDING: u16 = 8;
const NETCONFA_FORCE_FORWARDING: u16 = 9;

/// Whose sysctls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `conf/all`.
    All,
    /// `conf/default`: what new links start with.
    Default,
    /// One link, by index.
    Link(u32),
}

/// Announced sysctls of one family; `None` is not part of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetconfMsg {
    /// Of which family.
    pub family: Family,
    /// Of which link.
    pub scope: Scope,
    /// `forwarding`.
    pub forwarding: Option<i32>,
    /// `rp_filter` (IPv4). A change of `all` is announced for `all` only; the larger of the two counts.
    pub rp_filter: Option<i32>,
    /// `mc_forwarding`.
    pub mc_forwarding: Option<i32>,
    /// `proxy_arp` or `proxy_ndp`.
    pub proxy: Option<i32>,
    /// `ignore_routes_with_linkdown`.
    pub ignore_routes_with_linkdown: Option<i32>,
    /// `bc_forwarding` (IPv4), in dumps only.
    pub bc_forwarding: Option<i32>,
    /// `force_forwarding` (IPv6). Linux 6.17 announces a change without the value: read the link again.
    pub force_forwarding: Option<i32>,
}

impl NetconfMsg {
    /// Reads `struct netconfmsg` (one byte, padded) and its attributes; `None` for another family (MPLS).
    pub(super) fn decode(body: &[u8]) -> Result<Option<Self>, Malformed> {
        let (&[family, _, _, _], rest) = header(body)?;
        let Some(family) = Family::from_number(family) else { return Ok(None) };
        let mut scope = None;
        let mut msg = Self {
            family,
            scope: Scope::All,
            forwarding: None,
            rp_filter: None,
            mc_forwarding: None,
            proxy: None,
            ignore_routes_with_linkdown: None,
            bc_forwarding: None,
            force_forwarding: None,
        };
        for attr in attrs(rest) {
            let value = match attr.kind {
                NETCONFA_IFINDEX => {
                    scope = Some(match attr.i32()? {
                        -1 => Scope::All,
                        -2 => Scope::Default,
                        index => Scope::Link(index.cast_unsigned()),
                    });
                    continue;
                }
                NETCONFA_FORWARDING => &mut msg.forwarding,
                NETCONFA_RP_FILTER => &mut msg.rp_filter,
                NETCONFA_MC_FORWARDING => &mut msg.mc_forwarding,
                NETCONFA_PROXY_NEIGH => &mut msg.proxy,
                NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN => &mut msg.ignore_routes_with_linkdown,
                NETCONFA_BC_FORWARDING => &mut msg.bc_forwarding,
                NETCONFA_FORCE_FORWARDING => &mut msg.force_forwarding,
                _ => continue,
            };
            *value = Some(attr.i32()?);
        }
        msg.scope = scope.ok_or(Malformed { kind: NETCONFA_IFINDEX, len: 0 })?;
        Ok(Some(msg))
    }
}
