//! The claim rule as nf_tables expressions. Offsets count from the IP header (the network header), 14 bytes into the frame.
//!
//! A rule is a list of expressions; it goes on to the next rule when a comparison fails or when the bytes it loads lie
//! outside the frame. Register 1 holds what was loaded last. Source: `include/uapi/linux/netfilter/nf_tables.h`.
//! Called by [`super::Nft`] once a table.

use crate::control::guard::message::{Attribute, bytes, nest, number, text};

/// What a packet's fate is called in a verdict.
const DROP: i32 = 0;
const ACCEPT: i32 = 1;
const JUMP: i32 = -3;

/// Where a load counts from.
const LINK: u32 = 0;
const NETWORK: u32 = 1;

#[derive(Clone, Copy)]
enum Is {
    Equal = 0,
    Greater = 4,
    GreaterOrEqual = 5,
}

type Rule = Vec<Attribute>;

/// The chains that the map `lease` leads to, and before them those that they jump to.
pub(super) fn regular_chains() -> [(&'static str, Vec<Rule>); 4] {
    [("alert4", alert4()), ("alert6", alert6()), ("claim4", claim4()), ("claim6", claim6())]
}

/// The rule of a base chain: what is addressed to this host goes by ethertype. Clause 1.
pub(super) fn take() -> Rule {
    const META_PKTTYPE: u32 = 19;
    const PACKET_HOST: u8 = 0;
    let pkttype = expression("meta", &[number(1, 1), number(2, META_PKTTYPE)]);
    let by_ethertype = expression("lookup", &[text(1, "lease"), number(2, 1), number(3, 0)]);
    vec![pkttype, compare(Is::Equal, &[PACKET_HOST]), load(LINK, 12, 2), by_ethertype]
}

/// The verdict `jump CHAIN` as the data of an element or an `immediate`.
pub(super) fn jump(chain: &str) -> Attribute {
    verdict(JUMP, Some(chain))
}

/// Clauses 2 and 3: an address that cannot be loaded ends the last rule, and the base chain accepts.
fn claim4() -> Vec<Rule> {
    let options = vec![load(NETWORK, 0, 1), mask(0x0f), compare(Is::Greater, &[5]), go(jump("alert4"))];
    vec![
        vec![load(NETWORK, 16, 4), in_set("left4"), accept()],
        options,
        vec![load(NETWORK, 16, 4), drop_it()],
    ]
}

fn claim6() -> Vec<Rule> {
    let hop_by_hop = vec![load(NETWORK, 6, 1), compare(Is::Equal, &[0]), go(jump("alert6"))];
    vec![
        vec![load(NETWORK, 24, 16), in_set("left6"), accept()],
        hop_by_hop,
        vec![load(NETWORK, 24, 16), drop_it()],
    ]
}

/// Clause 4, IPv4: byte `at` is in the header if the header has more than `at / 4` words.
fn alert4() -> Vec<Rule> {
    let at_byte = |at: u8| {
        let in_header = [load(NETWORK, 0, 1), mask(0x0f), compare(Is::Greater, &[at / 4])];
        let is_alert = [load(NETWORK, at.into(), 1), compare(Is::Equal, &[148]), accept()];
        [in_header, is_alert].concat()
    };
    (20..60).map(at_byte).collect()
}

/// Clause 4, IPv6: the hop-by-hop header is at 40, its length behind the first 8 bytes, in units of 8, at 41.
fn alert6() -> Vec<Rule> {
    let at_pair = |at: u8| {
        let in_header = [load(NETWORK, 41, 1), compare(Is::GreaterOrEqual, &[(at + 1 - 40) / 8])];
        let is_alert = [load(NETWORK, at.into(), 2), compare(Is::Equal, &[5, 2]), accept()];
        [in_header.as_slice(), &is_alert].concat()
    };
    let too_long = vec![load(NETWORK, 41, 1), compare(Is::Greater, &[7]), accept()];
    std::iter::once(too_long).chain((42..=102).map(at_pair)).collect()
}

fn expression(name: &str, data: &[Attribute]) -> Attribute {
    nest(1, &[text(1, name), nest(2, data)])
}

fn load(base: u32, offset: u32, len: u32) -> Attribute {
    expression("payload", &[number(1, 1), number(2, base), number(3, offset), number(4, len)])
}

fn mask(mask: u8) -> Attribute {
    let data = |kind, value: u8| nest(kind, &[bytes(1, [value])]);
    expression("bitwise", &[number(1, 1), number(2, 1), number(3, 1), data(4, mask), data(5, 0)])
}

/// Compares memory, so numbers have to be big-endian to be greater or less.
fn compare(is: Is, value: &[u8]) -> Attribute {
    expression("cmp", &[number(1, 1), number(2, is as u32), nest(3, &[bytes(1, value)])])
}

fn in_set(set: &str) -> Attribute {
    expression("lookup", &[text(1, set), number(2, 1)])
}

fn accept() -> Attribute {
    go(verdict(ACCEPT, None))
}

fn drop_it() -> Attribute {
    go(verdict(DROP, None))
}

fn go(verdict: Attribute) -> Attribute {
    const REGISTER_VERDICT: u32 = 0;
    expression("immediate", &[number(1, REGISTER_VERDICT), verdict])
}

fn verdict(code: i32, chain: Option<&str>) -> Attribute {
    let mut attributes = vec![bytes(1, code.to_be_bytes())];
    attributes.extend(chain.map(|chain| text(2, chain)));
    nest(2, &[nest(2, &attributes)])
}
