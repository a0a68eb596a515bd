//! Next-hop objects, which routes name by id. netlink-packet-route has no such messages, so both directions are here.
//!
//! Invariant: group weights are 16 bits wide, 1 to 65,536, and a group names its members by id, which may be unknown yet.
//! Callers: the mirror, scenarios.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED};

use super::attr::{Attr, attrs, header};
use super::{Encap, Family, Malformed};

const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_GROUP_TYPE: u16 = 3;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP_TYPE: u16 = 7;
const NHA_ENCAP: u16 = 8;
const NHA_FDB: u16 = 11;
const NHA_RES_GROUP: u16 = 12;
const NHA_RES_BUCKET: u16 = 13;
const RES_BUCKETS: u16 = 1;
const RES_IDLE: u16 = 2;
const RES_UNBALANCED: u16 = 3;
const RES_UNBALANCED_TIME: u16 = 4;
const BUCKET_INDEX: u16 = 1;
const BUCKET_ID: u16 = 3;
/// `NEXTHOP_GRP_TYPE_RES`.
const RESILIENT: u16 = 1;

/// One member of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Member {
    /// The member's id.
    pub id: u32,
    /// Share among the members, 1 to 65,536 (more than 256 needs Linux 6.12).
    pub weight: u32,
}

/// What makes a group resilient: flows keep their bucket when members change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resilient {
    /// Number of hash buckets.
    pub buckets: u16,
    /// A bucket unused for this long may move, in 1/100 s.
    pub idle_timer: u32,
    /// Out of balance for this long, busy buckets move too, in 1/100 s; 0 is never.
    pub unbalanced_timer: u32,
    /// How long it has been out of balance, in 1/100 s. Not sent.
    pub unbalanced_time: u64,
}

/// What a next-hop object is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NexthopKind {
    /// One way.
    Hop {
        /// The link's index.
        link: u32,
        /// The gateway; `None` if destinations are on the link.
        gateway: Option<IpAddr>,
        /// Encapsulation by the kernel.
        encap: Option<Encap>,
    },
    /// Drops silently.
    Blackhole,
    /// Several others, shared by weight.
    Group {
        /// The members.
        members: Vec<Member>,
        /// `None`: by hash threshold.
        resilient: Option<Resilient>,
    },
    /// A hop of the bridge's forwarding database, which routes cannot use.
    Fdb,
}

/// A next-hop object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NexthopMsg {
    /// Its id; 0 in a request lets the kernel choose.
    pub id: u32,
    /// Family of the routes that can use it; `None` for groups.
    pub family: Option<Family>,
    /// `RT_SCOPE_*`. The kernel sets it; requests leave it out.
    pub scope: u8,
    /// `RTPROT_*`: who made it.
    pub protocol: u8,
    /// `RTNH_F_*` bits, see `leg_flag`; only ONLINK is sent.
    pub flags: u32,
    /// What it is.
    pub kind: NexthopKind,
}

/// Which member a bucket of a resilient group holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// The group's id.
    pub group: u32,
    /// Place of the bucket, from 0.
    pub index: u16,
    /// Id of the member.
    pub member: u32,
}

impl NexthopMsg {
    /// A hop over a link, through a gateway if one is given.
    pub fn hop(id: u32, family: Family, link: u32, gateway: Option<IpAddr>) -> Self {
        Self::new(id, Some(family), NexthopKind::Hop { link, gateway, encap: None })
    }

    /// A group.
    pub fn group(id: u32, members: Vec<Member>, resilient: Option<Resilient>) -> Self {
        Self::new(id, None, NexthopKind::Group { members, resilient })
    }

    /// An object that drops packets of a family.
    pub fn blackhole(id: u32, family: Family) -> Self {
        Self::new(id, Some(family), NexthopKind::Blackhole)
    }

    fn new(id: u32, family: Option<Family>, kind: NexthopKind) -> Self {
        Self { id, family, scope: 0, protocol: 0, flags: 0, kind }
    }

    /// Reads `struct nhmsg` and its attributes.
    pub(super) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let (&[family, scope, protocol, _, f0, f1, f2, f3], rest) = header(body)?;
        let family = Family::from_number(family);
        let (mut id, mut link, mut gateway, mut resilient, mut members) = (None, 0, None, None, None);
        let (mut blackhole, mut fdb, mut group_type) = (false, false, 0);
        let (mut encap_kind, mut encap_data) = (None, Vec::new());
        for attr in attrs(rest) {
            match attr.kind {
                NHA_ID => id = Some(attr.u32()?),
                NHA_GROUP => members = Some(read_members(&attr)),
                NHA_GROUP_TYPE => group_type = attr.u16()?,
                NHA_BLACKHOLE => blackhole = true,
                NHA_OIF => link = attr.u32()?,
                NHA_GATEWAY => gateway = Some(attr.ip(family.ok_or(attr.bad())?)?),
                NHA_ENCAP_TYPE => encap_kind = Some(attr.u16()?),
                NHA_ENCAP => encap_data = attr.value.to_vec(),
                NHA_FDB => fdb = true,
                NHA_RES_GROUP => resilient = Some(read_resilient(&attr)?),
                _ => {}
            }
        }
        let kind = if fdb {
            NexthopKind::Fdb
        } else if let Some(members) = members {
            NexthopKind::Group { members, resilient: resilient.filter(|_| group_type == RESILIENT) }
        } else if blackhole {
            NexthopKind::Blackhole
        } else {
            let encap = encap_kind.map(|kind| Encap { kind, data: encap_data });
            NexthopKind::Hop { link, gateway, encap }
        };
        let id = id.ok_or(Malformed { kind: NHA_ID, len: 0 })?;
        Ok(Self { id, family, scope, protocol, flags: u32::from_ne_bytes([f0, f1, f2, f3]), kind })
    }

    pub(super) fn encode(&self) -> NexthopRequest {
        let mut attributes = Vec::new();
        if self.id != 0 {
            attributes.push(by_id(self.id));
        }
        match &self.kind {
            NexthopKind::Hop { link, gateway, encap } => {
                attributes.push(DefaultNla::new(NHA_OIF, link.to_ne_bytes().to_vec()));
                attributes.extend(gateway.map(|ip| DefaultNla::new(NHA_GATEWAY, octets(ip))));
                if let Some(encap) = encap {
                    attributes.push(DefaultNla::new(NHA_ENCAP_TYPE, encap.kind.to_ne_bytes().to_vec()));
                    attributes.push(DefaultNla::new(NHA_ENCAP | NLA_F_NESTED, encap.data.clone()));
                }
            }
            NexthopKind::Blackhole => attributes.push(DefaultNla::new(NHA_BLACKHOLE, Vec::new())),
            NexthopKind::Fdb => attributes.push(DefaultNla::new(NHA_FDB, Vec::new())),
            NexthopKind::Group { members, resilient } => {
                let members = members.iter().flat_map(|member| member.encode()).collect();
                attributes.push(DefaultNla::new(NHA_GROUP, members));
                if let Some(resilient) = resilient {
                    attributes.push(DefaultNla::new(NHA_GROUP_TYPE, RESILIENT.to_ne_bytes().to_vec()));
                    attributes.push(resilient.encode());
                }
            }
        }
        let onlink = self.flags & u32::from(super::leg_flag::ONLINK);
        let [f0, f1, f2, f3] = onlink.to_ne_bytes();
        let family = self.family.map_or(0, Family::number);
        NexthopRequest { header: [family, 0, self.protocol, 0, f0, f1, f2, f3], attributes }
    }
}

impl Member {
    /// `struct nexthop_grp`: the weight less one, low byte and high byte apart.
    fn encode(self) -> [u8; 8] {
        let [a, b, c, d] = self.id.to_ne_bytes();
        let [low, high, ..] = self.weight.saturating_sub(1).to_le_bytes();
        [a, b, c, d, low, high, 0, 0]
    }
}

impl Resilient {
    fn encode(self) -> DefaultNla {
        let inner = [
            DefaultNla::new(RES_BUCKETS, self.buckets.to_ne_bytes().to_vec()),
            DefaultNla::new(RES_IDLE, self.idle_timer.to_ne_bytes().to_vec()),
            DefaultNla::new(RES_UNBALANCED, self.unbalanced_timer.to_ne_bytes().to_vec()),
        ];
        let mut value = vec![0; inner.as_slice().buffer_len()];
        inner.as_slice().emit(&mut value);
        DefaultNla::new(NHA_RES_GROUP | NLA_F_NESTED, value)
    }
}

/// `struct nhmsg` and attributes, ready to send.
pub(super) struct NexthopRequest {
    pub header: [u8; 8],
    pub attributes: Vec<DefaultNla>,
}

impl Emitable for NexthopRequest {
    fn buffer_len(&self) -> usize {
        self.header.len() + self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        if let Some((head, tail)) = buffer.split_first_chunk_mut() {
            *head = self.header;
            self.attributes.as_slice().emit(tail);
        }
    }
}

/// The attribute that names an object.
pub(super) fn by_id(id: u32) -> DefaultNla {
    DefaultNla::new(NHA_ID, id.to_ne_bytes().to_vec())
}

impl Bucket {
    /// Reads `struct nhmsg` and the attributes of one bucket.
    pub(super) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let (_, rest) = header::<8>(body)?;
        let (mut group, mut index, mut member) = (0, 0, 0);
        for attr in attrs(rest) {
            match attr.kind {
                NHA_ID => group = attr.u32()?,
                NHA_RES_BUCKET => {
                    for inner in attr.nested() {
                        match inner.kind {
                            BUCKET_INDEX => index = inner.u16()?,
                            BUCKET_ID => member = inner.u32()?,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(Self { group, index, member })
    }
}

fn read_members(attr: &Attr<'_>) -> Vec<Member> {
    let (members, _) = attr.value.as_chunks();
    let member = |&[a, b, c, d, low, high, _, _]: &[u8; 8]| Member {
        id: u32::from_ne_bytes([a, b, c, d]),
        weight: u32::from(u16::from_le_bytes([low, high])) + 1,
    };
    members.iter().map(member).collect()
}

fn read_resilient(attr: &Attr<'_>) -> Result<Resilient, Malformed> {
    let mut resilient = Resilient { buckets: 0, idle_timer: 0, unbalanced_timer: 0, unbalanced_time: 0 };
    for inner in attr.nested() {
        match inner.kind {
            RES_BUCKETS => resilient.buckets = inner.u16()?,
            RES_IDLE => resilient.idle_timer = inner.u32()?,
            RES_UNBALANCED => resilient.unbalanced_timer = inner.u32()?,
            RES_UNBALANCED_TIME => resilient.unbalanced_time = inner.u64()?,
            _ => {}
        }
    }
    Ok(resilient)
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

impl fmt::Display for NexthopMsg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "id {}", self.id)?;
        match &self.kind {
            NexthopKind::Hop { link, gateway: Some(gateway), .. } => write!(f, " via {gateway} dev #{link}"),
            NexthopKind::Hop { link, .. } => write!(f, " dev #{link}"),
            NexthopKind::Blackhole => f.write_str(" blackhole"),
            NexthopKind::Group { members, .. } => write!(f, " group of {}", members.len()),
            NexthopKind::Fdb => f.write_str(" fdb"),
        }
    }
}
