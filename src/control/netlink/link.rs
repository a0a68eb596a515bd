//! Links (interfaces): what the kernel tells about one, and what can be asked of one.
//!
//! Invariant: only messages of family AF_UNSPEC describe a link; the partial forms that IPv6 and bridges send are not
//! decoded. Callers: the mirror, scenarios, the demo.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use super::Malformed;
use super::attr::{Attr, attrs, header};

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_QDISC: u16 = 6;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_CARRIER: u16 = 33;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const IFLA_GRO_MAX_SIZE: u16 = 58;
const IFLA_GRO_IPV4_MAX_SIZE: u16 = 64;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;

/// A link as the kernel describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkMsg {
    /// Interface index, unique within the namespace.
    pub index: u32,
    /// Name, such as `eth0`.
    pub name: String,
    /// `ARPHRD_*`: 1 Ethernet, 772 loopback, 65534 none (starts at the IP header).
    pub arphrd: u16,
    /// `IFF_*` bits, see the methods.
    pub flags: u32,
    /// Ethernet address; `None` if the link has none or one of another length.
    pub mac: Option<[u8; 6]>,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// `IF_OPER_*`: 0 unknown, 2 down, 6 up.
    pub operstate: u8,
    /// Whether the link has carrier, as the driver says.
    pub carrier: bool,
    /// Driver kind, such as `veth` or `bridge`; `None` for hardware.
    pub kind: Option<String>,
    /// What kind of master it has, such as `bridge` or `vrf`.
    pub master_kind: Option<String>,
    /// Index of its master (bridge, bond, VRF).
    pub master: Option<u32>,
    /// Index of the link below it, or of a veth's peer; in the namespace that `link_netns` tells.
    pub link: Option<u32>,
    /// Our id of the namespace that `link` is in, if another one.
    pub link_netns: Option<i32>,
    /// How many want it promiscuous.
    pub promiscuity: u32,
    /// Interface group, for rules that suppress one.
    pub group: u32,
    /// Id of the attached XDP program; `None` if there is none (or several, with no single id).
    pub xdp: Option<u32>,
    /// Root queueing discipline, such as `noqueue` or `mq`.
    pub qdisc: String,
    /// Longest frame that receive offload makes of several, in bytes; the larger of both families.
    pub gro_max: u32,
    /// Number of transmit queues.
    pub tx_queues: u32,
    /// Number of receive queues.
    pub rx_queues: u32,
    /// IPv4 sysctls of the link, by [`super::devconf::v4`]; empty if it has no IPv4.
    pub conf4: Vec<i32>,
    /// IPv6 sysctls of the link, by [`super::devconf::v6`]; empty if it has no IPv6 (such as an MTU below 1280).
    pub conf6: Vec<i32>,
}

impl LinkMsg {
    /// Set up by the administrator (`IFF_UP`).
    pub fn is_up(&self) -> bool {
        self.has(libc::IFF_UP)
    }

    /// Operational (`IFF_RUNNING`).
    pub fn is_running(&self) -> bool {
        self.has(libc::IFF_RUNNING)
    }

    /// Has carrier and is up (`IFF_LOWER_UP`).
    pub fn is_lower_up(&self) -> bool {
        self.has(libc::IFF_LOWER_UP)
    }

    /// A loopback link (`IFF_LOOPBACK`).
    pub fn is_loopback(&self) -> bool {
        self.has(libc::IFF_LOOPBACK)
    }

    /// Needs no neighbour resolution (`IFF_NOARP`).
    pub fn is_noarp(&self) -> bool {
        self.has(libc::IFF_NOARP)
    }

    fn has(&self, flag: i32) -> bool {
        self.flags & flag.cast_unsigned() != 0
    }

    /// Reads `struct ifinfomsg` and its attributes; `None` if the family is not AF_UNSPEC.
    pub(super) fn decode(body: &[u8]) -> Result<Option<Self>, Malformed> {
        let (&[family, _, t0, t1, i0, i1, i2, i3, f0, f1, f2, f3, _, _, _, _], rest) = header(body)?;
        if family != 0 {
            return Ok(None);
        }
        let mut link = Self {
            index: u32::from_ne_bytes([i0, i1, i2, i3]),
            arphrd: u16::from_ne_bytes([t0, t1]),
            flags: u32::from_ne_bytes([f0, f1, f2, f3]),
            ..Self::default()
        };
        for attr in attrs(rest) {
            link.take(&attr)?;
        }
        Ok(Some(link))
    }

    fn take(&mut self, attr: &Attr<'_>) -> Result<(), Malformed> {
        match attr.kind {
            IFLA_ADDRESS => self.mac = attr.mac(),
            IFLA_IFNAME => self.name = attr.text(),
            IFLA_MTU => self.mtu = attr.u32()?,
            IFLA_LINK => self.link = Some(attr.u32()?).filter(|index| *index != 0),
            IFLA_LINK_NETNSID => self.link_netns = Some(attr.i32()?),
            IFLA_QDISC => self.qdisc = attr.text(),
            IFLA_MASTER => self.master = Some(attr.u32()?).filter(|index| *index != 0),
            IFLA_OPERSTATE => self.operstate = attr.u8()?,
            IFLA_CARRIER => self.carrier = attr.u8()? != 0,
            IFLA_GRO_MAX_SIZE | IFLA_GRO_IPV4_MAX_SIZE => self.gro_max = self.gro_max.max(attr.u32()?),
            IFLA_GROUP => self.group = attr.u32()?,
            IFLA_PROMISCUITY => self.promiscuity = attr.u32()?,
            IFLA_NUM_TX_QUEUES => self.tx_queues = attr.u32()?,
            IFLA_NUM_RX_QUEUES => self.rx_queues = attr.u32()?,
            IFLA_LINKINFO => {
                for info in attr.nested() {
                    match info.kind {
                        IFLA_INFO_KIND => self.kind = Some(info.text()),
                        IFLA_INFO_SLAVE_KIND => self.master_kind = Some(info.text()),
                        _ => {}
                    }
                }
            }
            IFLA_XDP => {
                let id = attr.nested().find(|a| a.kind == IFLA_XDP_PROG_ID);
                self.xdp = id.map(|a| a.u32()).transpose()?;
            }
            IFLA_AF_SPEC => {
                for spec in attr.nested() {
                    let find = |kind| spec.nested().find(|a| a.kind == kind).map(|a| a.numbers());
                    match i32::from(spec.kind) {
                        libc::AF_INET => self.conf4 = find(IFLA_INET_CONF).unwrap_or_default(),
                        libc::AF_INET6 => self.conf6 = find(IFLA_INET6_CONF).unwrap_or_default(),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A link to make, which is down at first. What is `None` is the kernel's choice.
#[derive(Debug, Clone)]
pub struct NewLink<'a> {
    /// Name, at most 15 bytes.
    pub name: String,
    /// Interface index; must be free in the namespace.
    pub index: Option<u32>,
    /// Ethernet address.
    pub mac: Option<[u8; 6]>,
    /// Largest IP packet in bytes.
    pub mtu: Option<u32>,
    /// The namespace to make it in; `None` is the socket's.
    pub netns: Option<BorrowedFd<'a>>,
    /// What to make.
    pub kind: LinkKind<'a>,
}

/// The kinds of link that can be made.
#[derive(Debug, Clone)]
pub enum LinkKind<'a> {
    /// Swallows what is sent on it.
    Dummy,
    /// A bridge without ports.
    Bridge,
    /// One end of a pair; this is the other end (its own kind is not read: it is a veth too).
    Veth(Box<NewLink<'a>>),
}

impl<'a> NewLink<'a> {
    /// A link of this name and kind, the rest left to the kernel.
    pub fn new(name: &str, kind: LinkKind<'a>) -> Self {
        Self { name: name.to_owned(), index: None, mac: None, mtu: None, netns: None, kind }
    }

    /// A pair of veths.
    pub fn veth(name: &str, peer: &str) -> Self {
        Self::new(name, LinkKind::Veth(Box::new(Self::new(peer, LinkKind::Dummy))))
    }

    pub(super) fn encode(&self) -> LinkMessage {
        let (kind, data) = match &self.kind {
            LinkKind::Dummy => (InfoKind::Dummy, None),
            LinkKind::Bridge => (InfoKind::Bridge, None),
            LinkKind::Veth(peer) => (InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(peer.end())))),
        };
        let mut info = vec![LinkInfo::Kind(kind)];
        info.extend(data.map(LinkInfo::Data));
        let mut message = self.end();
        message.attributes.push(LinkAttribute::LinkInfo(info));
        message
    }

    /// Everything but the kind.
    fn end(&self) -> LinkMessage {
        let change = LinkChange {
            name: Some(&self.name),
            mac: self.mac,
            mtu: self.mtu,
            netns: self.netns,
            ..LinkChange::default()
        };
        change.encode(self.index.unwrap_or(0))
    }
}

impl fmt::Display for NewLink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            LinkKind::Dummy => write!(f, "{} type dummy", self.name),
            LinkKind::Bridge => write!(f, "{} type bridge", self.name),
            LinkKind::Veth(peer) => write!(f, "{} type veth peer {}", self.name, peer.name),
        }
    }
}

/// What to change of a link; `None` leaves a thing as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinkChange<'a> {
    /// Set up or down.
    pub up: Option<bool>,
    /// Rename.
    pub name: Option<&'a str>,
    /// Ethernet address.
    pub mac: Option<[u8; 6]>,
    /// Largest IP packet in bytes.
    pub mtu: Option<u32>,
    /// Pretend to have or to lack carrier (dummy and other software links).
    pub carrier: Option<bool>,
    /// Enslave to this link; 0 sets free.
    pub master: Option<u32>,
    /// Move into this namespace.
    pub netns: Option<BorrowedFd<'a>>,
}

impl LinkChange<'_> {
    /// Sets a link up.
    pub const UP: Self =
        Self { up: Some(true), name: None, mac: None, mtu: None, carrier: None, master: None, netns: None };

    pub(super) fn encode(&self, index: u32) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        if let Some(up) = self.up {
            message.header.change_mask = LinkFlags::Up;
            message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        }
        let attributes = [
            self.name.map(|name| LinkAttribute::IfName(name.to_owned())),
            self.mac.map(|mac| LinkAttribute::Address(mac.to_vec())),
            self.mtu.map(LinkAttribute::Mtu),
            self.carrier.map(|on| LinkAttribute::Carrier(on.into())),
            self.master.map(LinkAttribute::Controller),
            self.netns.map(|fd| LinkAttribute::NetNsFd(fd.as_raw_fd())),
        ];
        message.attributes = attributes.into_iter().flatten().collect();
        message
    }
}
