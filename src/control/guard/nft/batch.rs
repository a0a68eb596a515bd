//! A batch of nf_tables changes to the guard's table: all of it takes effect at once or none.
//!
//! Numbers in attributes are big-endian. Sources: `include/uapi/linux/netfilter/nf_tables.h`, `nf_tables_api.c`.
//! Called by [`super::Nft`].

use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::rules;
use crate::control::guard::message::{
    Attribute, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, bytes, message, nest, number, text,
};

/// How long the guard stands after the last renewal: the elements of the map `lease` live that long.
const LEASE_MS: u64 = 1000;
/// Of the base chains: in front of what people hang on this hook.
const PRIORITY: i32 = -500;
/// An attribute holds less than 64 KiB, and an interval takes up to 72 bytes.
const INTERVALS_IN_A_MESSAGE: usize = 500;

const SUBSYSTEM: u16 = 10 << 8;
/// `struct nfgenmsg`: family (NFPROTO_NETDEV 5), version, and for the edges of a batch the subsystem.
const NETDEV: [u8; 4] = [5, 0, 0, 0];
const NF_TABLES: [u8; 4] = [0, 0, 0, 10];
const NEW_TABLE: u16 = 0;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const TABLE_OWNER: u32 = 2;
const HOOK_INGRESS: u32 = 0;
const POLICY_ACCEPT: u32 = 1;
const SET_INTERVAL: u32 = 0x04;
const SET_MAP: u32 = 0x08;
const SET_TIMEOUT: u32 = 0x10;
const DATA_VERDICT: u32 = 0xffff_ff00;
const INTERVAL_END: u32 = 1;
/// What `nft list` takes keys for: ipv4_addr, ipv6_addr, ether_type. The kernel does not care.
const KEY_IPV4: u32 = 7;
const KEY_IPV6: u32 = 8;
const KEY_ETHERTYPE: u32 = 12;

pub(super) struct Batch {
    table: String,
    bytes: Vec<u8>,
    sets: u32,
}

impl Batch {
    pub(super) fn new(table: &str) -> Self {
        let mut batch = Self { table: table.to_owned(), bytes: Vec::new(), sets: 0 };
        batch.edge(BATCH_BEGIN);
        batch
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.edge(BATCH_END);
        self.bytes
    }

    pub(super) fn add_table(&mut self) {
        self.add(NEW_TABLE, NLM_F_CREATE | NLM_F_EXCL, &[number(2, TABLE_OWNER)]);
    }

    /// The sets `left4` and `left6`, and the map `lease` from ethertype to verdict.
    pub(super) fn add_sets(&mut self) {
        self.add_set("left4", SET_INTERVAL, KEY_IPV4, 4, None);
        self.add_set("left6", SET_INTERVAL, KEY_IPV6, 16, None);
        self.add_set("lease", SET_MAP | SET_TIMEOUT, KEY_ETHERTYPE, 2, Some(number(6, DATA_VERDICT)));
    }

    fn add_set(&mut self, name: &str, flags: u32, key: u32, key_bytes: u32, data: Option<Attribute>) {
        self.sets += 1;
        let mut attributes = vec![
            text(2, name),
            number(3, flags),
            number(4, key),
            number(5, key_bytes),
            number(10, self.sets),
        ];
        attributes.extend(data);
        self.add(NEW_SET, NLM_F_CREATE, &attributes);
    }

    pub(super) fn add_chain(&mut self, chain: &str) {
        self.add(NEW_CHAIN, NLM_F_CREATE, &[text(3, chain)]);
    }

    /// A chain at the ingress hook of one device. What no rule drops is accepted.
    pub(super) fn add_base_chain(&mut self, chain: &str, device: &str) {
        let hook = [number(1, HOOK_INGRESS), bytes(2, PRIORITY.to_be_bytes()), text(3, device)];
        let attributes = [text(3, chain), nest(4, &hook), number(5, POLICY_ACCEPT), text(7, "filter")];
        self.add(NEW_CHAIN, NLM_F_CREATE, &attributes);
    }

    /// Deletes a chain with its rules.
    pub(super) fn delete_chain(&mut self, chain: &str) {
        self.add(DELETE_CHAIN, 0, &[text(3, chain)]);
    }

    pub(super) fn add_rule(&mut self, chain: &str, expressions: &[Attribute]) {
        self.add(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, &[text(2, chain), nest(4, expressions)]);
    }

    /// Fills the map `lease` anew. Elements that are there keep their old timeout before Linux 6.12, so they go first;
    /// no frame sees the map empty, since a batch takes effect as one.
    pub(super) fn renew_lease(&mut self) {
        self.end_lease();
        let elements = [(0x0800u16, "claim4"), (0x86dd, "claim6")].map(|(ethertype, chain)| {
            let key = nest(1, &[bytes(1, ethertype.to_be_bytes())]);
            nest(1, &[key, rules::jump(chain), bytes(4, LEASE_MS.to_be_bytes())])
        });
        self.add_elements("lease", &elements);
    }

    /// Empties the map `lease`: nothing is claimed then.
    pub(super) fn end_lease(&mut self) {
        self.clear("lease");
    }

    pub(super) fn clear_left(&mut self) {
        self.clear("left4");
        self.clear("left6");
    }

    pub(super) fn add_left(&mut self, left: &BTreeSet<IpNet>) {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for prefix in left {
            match prefix {
                IpNet::V4(net) => v4.push(*net),
                IpNet::V6(net) => v6.push(*net),
            }
        }
        let v4 = Ipv4Net::aggregate(&v4).into_iter().map(|net| {
            let behind = u32::from(net.broadcast()).checked_add(1);
            interval(&net.network().octets(), behind.map(u32::to_be_bytes))
        });
        self.add_intervals("left4", &v4.collect::<Vec<_>>());
        let v6 = Ipv6Net::aggregate(&v6).into_iter().map(|net| {
            let behind = u128::from(net.broadcast()).checked_add(1);
            interval(&net.network().octets(), behind.map(u128::to_be_bytes))
        });
        self.add_intervals("left6", &v6.collect::<Vec<_>>());
    }

    fn add_intervals(&mut self, set: &str, intervals: &[Vec<Attribute>]) {
        for some in intervals.chunks(INTERVALS_IN_A_MESSAGE) {
            self.add_elements(set, &some.concat());
        }
    }

    fn add_elements(&mut self, set: &str, elements: &[Attribute]) {
        self.add(NEW_ELEMENTS, NLM_F_CREATE, &[text(2, set), nest(3, elements)]);
    }

    /// Without a list, all elements are deleted.
    fn clear(&mut self, set: &str) {
        self.add(DELETE_ELEMENTS, 0, &[text(2, set)]);
    }

    /// One message. In all of them attribute 1 is the name of the table.
    fn add(&mut self, kind: u16, flags: u16, attributes: &[Attribute]) {
        let attributes = [&[text(1, &self.table)], attributes].concat();
        self.bytes.extend(message(SUBSYSTEM | kind, flags, &NETDEV, &attributes));
    }

    fn edge(&mut self, kind: u16) {
        self.bytes.extend(message(kind, 0, &NF_TABLES, &[]));
    }
}

/// The elements that begin and end an interval; one that reaches the last address has no end.
fn interval<const N: usize>(first: &[u8; N], behind: Option<[u8; N]>) -> Vec<Attribute> {
    let key = |address: &[u8; N]| nest(1, &[bytes(1, address.to_vec())]);
    let mut elements = vec![nest(1, &[key(first)])];
    elements.extend(behind.map(|behind| nest(1, &[key(&behind), number(3, INTERVAL_END)])));
    elements
}
