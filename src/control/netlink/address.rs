//! Addresses of links. Invariant: `prefix` holds our own address (host bits kept), whatever attribute it came in.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};

use super::attr::{attrs, header};
use super::{Family, Malformed};

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_PROTO: u16 = 11;

/// A lifetime that never ends.
pub(super) const FOREVER: u32 = u32::MAX;

/// An address on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressMsg {
    /// The link's index.
    pub index: u32,
    /// Our address and the length of its prefix. With a peer the length belongs to the peer's prefix.
    pub prefix: IpNet,
    /// The other end of a point-to-point address.
    pub peer: Option<IpAddr>,
    /// IPv4 broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// `RT_SCOPE_*`: 0 global, 253 link, 254 host.
    pub scope: u8,
    /// `IFA_F_*` bits: 0x01 secondary (temporary in IPv6), 0x02 nodad, 0x08 dadfailed, 0x20 deprecated, 0x40 tentative, 0x80 permanent,
    /// 0x200 noprefixroute.
    pub flags: u32,
    /// IPv4 label, usually the link's name.
    pub label: Option<String>,
    /// Metric of its prefix route; `None` is the default.
    pub metric: Option<u32>,
    /// Seconds that it is valid; `u32::MAX` for ever.
    pub valid: u32,
    /// Seconds that it is preferred as a source; `u32::MAX` for ever.
    pub preferred: u32,
    /// `IFAPROT_*`: who made it (1 loopback, 2 router advertisement, 3 link-local).
    pub protocol: u8,
}

impl AddressMsg {
    /// A permanent address without duplicate address detection, as scenarios and tests want it.
    pub fn new(index: u32, prefix: IpNet) -> Self {
        Self {
            index,
            prefix,
            peer: None,
            broadcast: None,
            scope: 0,
            flags: libc::IFA_F_PERMANENT | if prefix.addr().is_ipv6() { libc::IFA_F_NODAD } else { 0 },
            label: None,
            metric: None,
            valid: FOREVER,
            preferred: FOREVER,
            protocol: 0,
        }
    }

    /// True while duplicate address detection runs or has failed: the address is not ours yet (`IFA_F_TENTATIVE`).
    pub fn is_tentative(&self) -> bool {
        self.flags & libc::IFA_F_TENTATIVE != 0
    }

    /// Reads `struct ifaddrmsg` and its attributes; `None` for another family.
    pub(super) fn decode(body: &[u8]) -> Result<Option<Self>, Malformed> {
        let (&[family, len, flags, scope, i0, i1, i2, i3], rest) = header(body)?;
        let Some(family) = Family::from_number(family) else { return Ok(None) };
        let (mut address, mut local) = (None, None);
        let any = super::attr::everything(family);
        let index = u32::from_ne_bytes([i0, i1, i2, i3]);
        let mut msg = Self { scope, flags: flags.into(), ..Self::new(index, any) };
        for attr in attrs(rest) {
            match attr.kind {
                IFA_ADDRESS => address = Some(attr.prefix(family, len)?),
                IFA_LOCAL => local = Some(attr.prefix(family, len)?),
                IFA_LABEL => msg.label = Some(attr.text()),
                IFA_BROADCAST => {
                    msg.broadcast = match attr.ip(Family::V4)? {
                        IpAddr::V4(address) => Some(address),
                        IpAddr::V6(_) => None,
                    }
                }
                IFA_FLAGS => msg.flags = attr.u32()?,
                IFA_RT_PRIORITY => msg.metric = Some(attr.u32()?),
                IFA_PROTO => msg.protocol = attr.u8()?,
                IFA_CACHEINFO => {
                    let (&[p0, p1, p2, p3, v0, v1, v2, v3], _) =
                        header(attr.value).map_err(|_| attr.bad())?;
                    msg.preferred = u32::from_ne_bytes([p0, p1, p2, p3]);
                    msg.valid = u32::from_ne_bytes([v0, v1, v2, v3]);
                }
                _ => {}
            }
        }
        // IFA_LOCAL is ours if it is there; IFA_ADDRESS is then the peer's (or ours again, in IPv4).
        msg.prefix = local.or(address).ok_or(Malformed { kind: IFA_ADDRESS, len: 0 })?;
        msg.peer = address.map(|net| net.addr()).filter(|peer| *peer != msg.prefix.addr());
        Ok(Some(msg))
    }

    pub(super) fn encode(&self) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.family = Family::of(self.prefix.addr()).number().into();
        message.header.prefix_len = self.prefix.prefix_len();
        message.header.scope = self.scope.into();
        message.header.index = self.index;
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = self.valid;
        lifetime.ifa_preferred = self.preferred;
        let attributes = [
            Some(AddressAttribute::Local(self.prefix.addr())),
            Some(AddressAttribute::Address(self.peer.unwrap_or(self.prefix.addr()))),
            self.broadcast.map(AddressAttribute::Broadcast),
            self.label.clone().map(AddressAttribute::Label),
            self.metric.map(AddressAttribute::RoutePriority),
            Some(AddressAttribute::Flags(AddressFlags::from_bits_retain(self.flags))),
            Some(AddressAttribute::CacheInfo(lifetime)),
            Some(self.protocol).filter(|p| *p != 0).map(|p| AddressAttribute::Protocol(p.into())),
        ];
        message.attributes = attributes.into_iter().flatten().collect();
        message
    }
}

impl fmt::Display for AddressMsg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev #{}", self.prefix, self.index)
    }
}
