//! Neighbours: which link-layer address an IP address on a link has. Used by the mirror and by neighbour resolution.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
};

use super::attr::{attrs, header};
use super::{Family, Malformed};

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_PROTOCOL: u16 = 12;
const NDA_FLAGS_EXT: u16 = 15;

/// Bits of [`NeighbourMsg::flags`] (`NTF_*`).
pub mod flag {
    /// In a request: resolve it now, as if a packet were waiting.
    pub const USE: u8 = 0x01;
    /// A proxy entry: we answer for the address.
    pub const PROXY: u8 = 0x08;
    /// Made by a control plane; not collected.
    pub const EXT_LEARNED: u8 = 0x10;
    /// The neighbour says that it is a router (IPv6).
    pub const ROUTER: u8 = 0x80;
}

/// Bits of [`NeighbourMsg::flags_ext`] (`NTF_EXT_*`).
pub mod flag_ext {
    /// The kernel keeps it resolved by itself.
    pub const MANAGED: u32 = 0x01;
}

/// State of a neighbour (`NUD_*`, Linux `include/uapi/linux/neighbour.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NeighbourState {
    /// No state: proxy entries, and requests that leave the state alone.
    #[default]
    None,
    /// Being resolved for the first time.
    Incomplete,
    /// Confirmed lately.
    Reachable,
    /// Known, not confirmed lately; using it starts a check.
    Stale,
    /// Used while stale; waits for a confirmation before probing.
    Delay,
    /// Being checked. In a request: check it now.
    Probe,
    /// Resolution failed.
    Failed,
    /// Needs no resolution.
    Noarp,
    /// Set by the administrator.
    Permanent,
    /// A number that no kernel sends alone.
    Other(u16),
}

impl NeighbourState {
    /// Packets may be sent to the address at once (`NUD_VALID`).
    pub fn is_valid(self) -> bool {
        use NeighbourState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
        matches!(self, Permanent | Noarp | Reachable | Probe | Stale | Delay)
    }

    fn from_number(number: u16) -> Self {
        match number {
            0 => Self::None,
            0x01 => Self::Incomplete,
            0x02 => Self::Reachable,
            0x04 => Self::Stale,
            0x08 => Self::Delay,
            0x10 => Self::Probe,
            0x20 => Self::Failed,
            0x40 => Self::Noarp,
            0x80 => Self::Permanent,
            other => Self::Other(other),
        }
    }

    fn number(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Incomplete => 0x01,
            Self::Reachable => 0x02,
            Self::Stale => 0x04,
            Self::Delay => 0x08,
            Self::Probe => 0x10,
            Self::Failed => 0x20,
            Self::Noarp => 0x40,
            Self::Permanent => 0x80,
            Self::Other(number) => number,
        }
    }
}

/// A neighbour entry. Its key is (`to`, `index`, proxy or not).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourMsg {
    /// The link's index; 0 for an IPv6 proxy entry that holds for all links.
    pub index: u32,
    /// The neighbour's address.
    pub to: IpAddr,
    /// Its Ethernet address; `None` if unknown or of another length.
    pub mac: Option<[u8; 6]>,
    /// Where resolution stands.
    pub state: NeighbourState,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Bits of [`flag_ext`].
    pub flags_ext: u32,
    /// What `to` is for us, as a route type number: 1 unicast, 5 multicast. The kernel sets it; requests ignore it.
    pub kind: u8,
    /// `RTPROT_*`: who made it.
    pub protocol: u8,
}

impl NeighbourMsg {
    /// An entry for a unicast address.
    pub fn new(index: u32, to: IpAddr, mac: Option<[u8; 6]>, state: NeighbourState) -> Self {
        Self { index, to, mac, state, flags: 0, flags_ext: 0, kind: 1, protocol: 0 }
    }

    /// A proxy entry: the kernel answers for `to` on the link.
    pub fn proxy(index: u32, to: IpAddr) -> Self {
        Self { flags: flag::PROXY, ..Self::new(index, to, None, NeighbourState::None) }
    }

    /// Reads `struct ndmsg` and its attributes; `None` for another family (bridge forwarding entries).
    pub(super) fn decode(body: &[u8]) -> Result<Option<Self>, Malformed> {
        let (&[family, _, _, _, i0, i1, i2, i3, s0, s1, flags, kind], rest) = header(body)?;
        let Some(family) = Family::from_number(family) else { return Ok(None) };
        let (mut to, mut mac, mut flags_ext, mut protocol) = (None, None, 0, 0);
        for attr in attrs(rest) {
            match attr.kind {
                NDA_DST => to = Some(attr.ip(family)?),
                NDA_LLADDR => mac = attr.mac(),
                NDA_PROTOCOL => protocol = attr.u8()?,
                NDA_FLAGS_EXT => flags_ext = attr.u32()?,
                _ => {}
            }
        }
        Ok(Some(Self {
            index: u32::from_ne_bytes([i0, i1, i2, i3]),
            to: to.ok_or(Malformed { kind: NDA_DST, len: 0 })?,
            mac,
            state: NeighbourState::from_number(u16::from_ne_bytes([s0, s1])),
            flags,
            flags_ext,
            kind,
            protocol,
        }))
    }

    pub(super) fn encode(&self) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = Family::of(self.to).number().into();
        message.header.ifindex = self.index;
        message.header.state = self.state.number().into();
        message.header.flags = NeighbourFlags::from_bits_retain(self.flags);
        let flags_ext = Some(self.flags_ext).filter(|bits| *bits != 0);
        let attributes = [
            Some(NeighbourAttribute::Destination(self.to.into())),
            self.mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.to_vec())),
            flags_ext.map(|bits| NeighbourAttribute::ExtFlags(NeighbourExtFlags::from_bits_retain(bits))),
            Some(self.protocol).filter(|p| *p != 0).map(|p| NeighbourAttribute::Protocol(p.into())),
        ];
        message.attributes = attributes.into_iter().flatten().collect();
        message
    }
}

impl fmt::Display for NeighbourMsg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = if self.flags & flag::PROXY == 0 { "" } else { "proxy " };
        write!(f, "{proxy}{} dev #{}", self.to, self.index)
    }
}
