//! What differs between what a kernel did and what warren did. Invariant: everything is compared but `masked::MASKS`.
//!
//! Frames are compared by interface, in order: across interfaces the kernel promises none.

use super::decode;
use super::masked::{FRAGMENT, IDENTIFICATION, TCP_CHECKSUM, TIMESTAMP};
use super::mib::Values;
use super::{Frame, Masked, Outcome};
use crate::scenario::Scenario;
use crate::wire::eth::{ETHERTYPE_IPV4, EthHdr};
use crate::wire::icmp::{self, IcmpHdr, v4};
use crate::wire::ip4::{self, Ip4Hdr, opt};
use crate::wire::ip6::{self, FragHdr, Ip6Hdr};
use crate::wire::l4::TcpHdr;
use crate::wire::{csum, proto};
use ipnet::{IpNet, Ipv4Net};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use zerocopy::FromBytes;

/// What speaks where no address fits (RFC 7600 4.8).
const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
/// Where an IPv4 header has its identification and checksum.
const ID: usize = 4;
const CHECKSUM: usize = 10;
/// Where a frame has the identification of an IPv6 fragment.
const FRAGMENT_ID: usize = EthHdr::LEN + Ip6Hdr::LEN + 4;

/// A number of the kernel and what warren has instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Where: "netns" or an interface.
    pub place: String,
    /// The counter.
    pub name: String,
    /// The kernel's value.
    pub expected: u64,
    /// warren's.
    pub actual: u64,
}

/// A frame of the kernel and what warren has in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The interface.
    pub link: String,
    /// Place among the frames of this interface, from 1.
    pub number: usize,
    /// The kernel's frame.
    pub expected: Option<Vec<u8>>,
    /// warren's.
    pub actual: Option<Vec<u8>>,
}

/// All that differs. Prints as a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Frames.
    pub frames: Vec<Sent>,
    /// Counters.
    pub counters: Vec<Counted>,
    /// Why warren did not take the scenario that the kernel took.
    pub refused: Option<String>,
    /// What is equal only because of each mask.
    pub masked: Masked,
}

impl Differences {
    /// Whether there are any, and none of a kind that `whole` has not: the same cause, as far as one can tell.
    pub fn is_part_of(&self, whole: &Differences) -> bool {
        let kinds = |d: &Differences| -> BTreeSet<(String, bool)> {
            d.counters.iter().map(|c| (c.name.clone(), c.expected > c.actual)).collect()
        };
        let frames = self.frames.is_empty() || !whole.frames.is_empty();
        let refused = self.refused.is_none() || whole.refused.is_some();
        !self.is_empty() && frames && refused && kinds(self).is_subset(&kinds(whole))
    }

    /// Bytes of the frames that differ, on the side that has more.
    pub fn bytes(&self) -> usize {
        let len = |frame: &Option<Vec<u8>>| frame.as_ref().map_or(0, Vec::len);
        self.frames.iter().map(|sent| len(&sent.expected).max(len(&sent.actual))).sum()
    }

    /// Whether both did the same.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.counters.is_empty() && self.refused.is_none()
    }
}

/// Compares what a kernel did with what warren did with the same scenario and frames.
pub fn compare(scenario: &Scenario, expected: &Outcome, actual: &Outcome) -> Differences {
    let mut found = Differences::default();
    let own = own_addresses(scenario);
    // What leaves by a link without carrier is seen by nobody.
    let silent = |name: &str| scenario.link.iter().any(|l| l.name == name && l.carrier == Some(false));
    let all = expected.frames.iter().chain(&actual.frames).map(|frame| frame.link.as_str());
    let links: BTreeSet<&str> = all.filter(|name| !silent(name)).collect();
    for link in links {
        let mut pair = (of_link(expected, link), of_link(actual, link));
        let mut number = 0;
        loop {
            number += 1;
            let (left, right) = (pair.0.next(), pair.1.next());
            if left.is_none() && right.is_none() {
                break;
            }
            if left == right {
                continue;
            }
            let (mut expected, mut actual) = (left.map(<[u8]>::to_vec), right.map(<[u8]>::to_vec));
            // A sum that is still to be completed is masked on one side only.
            let both = [&mut expected, &mut actual].into_iter().flatten();
            let masks: BTreeMap<&str, usize> = both.flat_map(|bytes| mask(bytes, &own)).collect();
            if expected == actual {
                masks.into_iter().for_each(|(name, bytes)| found.masked.add(name, 1, bytes));
            } else {
                let (expected, actual) = (left.map(<[u8]>::to_vec), right.map(<[u8]>::to_vec));
                found.frames.push(Sent { link: link.to_owned(), number, expected, actual });
            }
        }
    }
    let (left, right) = (&expected.counters, &actual.counters);
    found.counters.extend(count("netns", &left.netns, &right.netns));
    let none = Values::new();
    let devices: BTreeSet<&String> = left.dev.keys().chain(right.dev.keys()).collect();
    for name in devices {
        let values = (left.dev.get(name).unwrap_or(&none), right.dev.get(name).unwrap_or(&none));
        found.counters.extend(count(name, values.0, values.1));
    }
    found
}

/// How many frames of one side stand elsewhere among those of the other: the least number that would have to be moved.
pub fn moved(scenario: &Scenario, expected: &[Frame], actual: &[Frame]) -> usize {
    let own = own_addresses(scenario);
    let key = |frame: &Frame| {
        let mut bytes = frame.bytes.clone();
        mask(&mut bytes, &own);
        (frame.link.clone(), bytes)
    };
    let mut places: BTreeMap<_, VecDeque<usize>> = BTreeMap::new();
    for (frame, place) in actual.iter().zip(0..) {
        places.entry(key(frame)).or_default().push_back(place);
    }
    let found = expected.iter().filter_map(|frame| places.get_mut(&key(frame))?.pop_front());
    // The longest run of rising places stays: `ends` has the least last place of a run of each length.
    let (mut ends, mut count): (Vec<usize>, usize) = (Vec::new(), 0);
    for place in found {
        count += 1;
        let at = ends.partition_point(|&end| end < place);
        match ends.get_mut(at) {
            Some(end) => *end = place,
            None => ends.push(place),
        }
    }
    count - ends.len()
}

/// Puts frames into an order that says nothing of when they left, nor of what is not compared.
pub fn sort(scenario: &Scenario, frames: &mut [Frame]) {
    let own = own_addresses(scenario);
    frames.sort_by_cached_key(|frame| {
        let mut bytes = frame.bytes.clone();
        mask(&mut bytes, &own);
        (frame.link.clone(), bytes)
    });
}

fn of_link<'o>(outcome: &'o Outcome, link: &'o str) -> impl Iterator<Item = &'o [u8]> {
    outcome.frames.iter().filter(move |f: &&Frame| f.link == link).map(|f| f.bytes.as_slice())
}

fn count(place: &str, expected: &Values, actual: &Values) -> Vec<Counted> {
    let names: BTreeSet<&String> = expected.keys().chain(actual.keys()).collect();
    let value = |values: &Values, name: &String| values.get(name).copied().unwrap_or(0);
    let pair = |name: &&String| Counted {
        place: place.to_owned(),
        name: (*name).clone(),
        expected: value(expected, name),
        actual: value(actual, name),
    };
    names.iter().map(pair).filter(|c| c.expected != c.actual).collect()
}

/// What the router may speak from: its addresses, the first of their subnets (RFC 4291 2.6.1), prefixes that are its own as
/// a whole, loopback.
fn own_addresses(scenario: &Scenario) -> Vec<IpNet> {
    let of = |address: &crate::scenario::Address| match address.prefix {
        IpNet::V4(net) if address.dev == "lo" => IpNet::V4(net),
        net => net.addr().into(),
    };
    let local = scenario.route.iter().filter(|r| r.kind.as_deref() == Some("local"));
    let local = local.filter_map(|r| r.dst.parse().ok());
    let always = [IpAddr::V4(DUMMY).into(), IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8))];
    let first = scenario.address.iter().map(|address| address.prefix.network()).filter(IpAddr::is_ipv6);
    scenario.address.iter().map(of).chain(first.map(IpNet::from)).chain(local).chain(always).collect()
}

/// Sets what is not compared to zero; the names of the masks that did, each with the number of bytes.
fn mask(frame: &mut [u8], own: &[IpNet]) -> BTreeMap<&'static str, usize> {
    let mut names = BTreeMap::new();
    if complete(frame) {
        names.insert(TCP_CHECKSUM, 2);
    }
    if own_fragment(frame, own) {
        blank(frame, FRAGMENT_ID..FRAGMENT_ID + 4);
        names.insert(FRAGMENT, 4);
    }
    let is_ip4 = EthHdr::ref_from_prefix(frame).is_ok_and(|(e, _)| e.ethertype.get() == ETHERTYPE_IPV4);
    let Some(packet) = frame.get_mut(EthHdr::LEN..).filter(|_| is_ip4) else { return names };
    let Ok((hdr, _)) = Ip4Hdr::read_from_prefix(packet) else { return names };
    let at = hdr.ihl();
    // A checksum that is right is made right again, so that only a wrong one differs.
    let sums = |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| csum::checksum(bytes) == 0);
    let right = sums(packet.get(..at));
    let seen = times(packet);
    if seen > 0 {
        names.insert(TIMESTAMP, seen);
    }
    if hdr.proto == proto::ICMP && own.iter().any(|net| net.contains(&IpAddr::V4(hdr.src()))) {
        blank(packet, ID..ID + 2);
        names.insert(IDENTIFICATION, 2);
    }
    if let Ok((h, rest)) = Ip4Hdr::mut_from_prefix(packet)
        && right
        && !names.is_empty()
    {
        h.set_checksum(rest.get(..at.saturating_sub(Ip4Hdr::LEN)).unwrap_or_default());
    }
    let message = packet.get_mut(at..).filter(|_| hdr.proto == proto::ICMP && hdr.frag_offset() == 0);
    let Some(message) = message.filter(|m| m.first().is_some_and(|&kind| v4::is_error(kind))) else {
        return names;
    };
    let right = sums(Some(&*message));
    let seen = message.get_mut(IcmpHdr::LEN..).map_or(0, times);
    if seen > 0 {
        // What is quoted had its checksum made over the times, or was changed behind it.
        blank(message, IcmpHdr::LEN + CHECKSUM..IcmpHdr::LEN + CHECKSUM + 2);
        let _ = right && icmp::set_csum4(message); // false only without room for a header
        *names.entry(TIMESTAMP).or_insert(0) += seen + 2;
    }
    names
}

/// Whether a frame is a piece of an IPv6 packet that the router made: one from its address, or from one that no router
/// sends on.
fn own_fragment(frame: &[u8], own: &[IpNet]) -> bool {
    let Some((hdr, rest)) = frame.get(EthHdr::LEN..).and_then(|p| Ip6Hdr::ref_from_prefix(p).ok()) else {
        return false;
    };
    let src = IpAddr::V6(hdr.src());
    let ours = own.iter().any(|net| net.contains(&src)) || ip6::is_link_local(hdr.src());
    let whole = FragHdr::ref_from_prefix(rest).is_ok();
    hdr.version() == 6 && hdr.next_header == proto::FRAGMENT && ours && whole
}

/// Completes a TCP checksum that is only the pseudo header's sum; whether it was one.
/// Linux: tcp_v6_send_response, skb_checksum_help.
fn complete(frame: &mut [u8]) -> bool {
    let Some(packet) = frame.get_mut(EthHdr::LEN..) else { return false };
    let Ok((hdr, segment)) = Ip6Hdr::mut_from_prefix(packet) else { return false };
    if hdr.version() != 6 || hdr.next_header != proto::TCP {
        return false;
    }
    let pseudo = csum::pseudo6(hdr.src(), hdr.dst(), proto::TCP, segment.len() as u32);
    let Ok((tcp, _)) = TcpHdr::mut_from_prefix(segment) else { return false };
    if u32::from(tcp.csum.get()) != pseudo {
        return false;
    }
    let sum = !csum::fold(csum::sum(segment));
    if let Ok((tcp, _)) = TcpHdr::mut_from_prefix(segment) {
        tcp.csum.set(sum);
    }
    true
}

fn blank(bytes: &mut [u8], range: std::ops::Range<usize>) {
    bytes.iter_mut().skip(range.start).take(range.len()).for_each(|byte| *byte = 0);
}

/// Blanks the times in the timestamp options of an IPv4 packet; how many bytes they have.
fn times(packet: &mut [u8]) -> usize {
    let slots = |option: ip4::Ip4Option<'_>| {
        // With addresses (flags 1 and 3) each time stands behind one. The last ends where the pointer says, from 1; in a
        // repetition the one before it is of this router, too, and the one before that if the packet waited in between.
        let step = if option.bytes.get(3).is_some_and(|f| f & 15 == 0) { 4 } else { 8 };
        let last = option.bytes.get(2).map_or(0, |pointer| usize::from(*pointer)).saturating_sub(5);
        let within = |at: &usize| (4..option.bytes.len().saturating_sub(3)).contains(at);
        let places = [0, 1, 2].map(|back| last.saturating_sub(back * step)).into_iter().filter(within);
        places.map(|at| option.offset + at).collect::<Vec<_>>()
    };
    // A quote may end within the header.
    let mut whole = packet.to_vec();
    whole.resize(packet.len().max(60), 0);
    let found: Vec<usize> = ip4::options(&whole)
        .filter_map(Result::ok)
        .filter(|option| option.kind == opt::TS)
        .flat_map(slots)
        .collect();
    for &at in &found {
        blank(packet, at..at + 4);
    }
    4 * found.len()
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.refused {
            writeln!(f, "the kernel takes this router, warren does not: {why}")?;
        }
        for sent in &self.frames {
            writeln!(f, "frame {} on {}:", sent.number, sent.link)?;
            for (who, frame) in [("kernel", &sent.expected), ("warren", &sent.actual)] {
                let text = frame.as_ref().map_or_else(|| "nothing".to_owned(), |b| decode::frame(b));
                writeln!(f, "  {who}  {text}")?;
            }
            if let (Some(left), Some(right)) = (&sent.expected, &sent.actual) {
                let first = left.iter().zip(right).position(|(a, b)| a != b);
                let first = first.unwrap_or(left.len().min(right.len()));
                writeln!(
                    f,
                    "  first difference at byte {first}, lengths {} and {}",
                    left.len(),
                    right.len()
                )?;
            }
        }
        if !self.counters.is_empty() {
            writeln!(f, "{:<8} {:<28} {:>8} {:>8}", "", "counter", "kernel", "warren")?;
        }
        for c in &self.counters {
            writeln!(f, "{:<8} {:<28} {:>8} {:>8}", c.place, c.name, c.expected, c.actual)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::Hidden;
    use crate::wire::eth::ETHERTYPE_IPV6;
    use zerocopy::IntoBytes;

    /// An ICMP echo request with a timestamp option.
    fn ip4(src: &str, id: u16, time: u8) -> Vec<u8> {
        let mut bytes = EthHdr::new([2; 6], [4; 6], ETHERTYPE_IPV4).as_bytes().to_vec();
        let mut header = Ip4Hdr::new(36, 64, proto::ICMP, src.parse().unwrap(), [10, 9, 9, 9].into());
        header.ver_ihl = 0x47;
        header.id.set(id);
        let options = [68, 8, 9, 0, 0, 0, 0, time];
        header.set_checksum(&options);
        bytes.extend(header.as_bytes());
        bytes.extend(options);
        bytes.extend([8, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn the_least_number_of_frames_is_said_to_have_moved() {
        let side = |order: &[u8]| {
            let frames: Vec<_> = order.iter().map(|&n| ip4(&format!("10.0.0.{n}"), 0, 0)).collect();
            outcome(&frames, 0).frames
        };
        for (other, least) in
            [(&[1, 2, 3, 4][..], 0), (&[2, 3, 4, 1], 1), (&[4, 3, 2, 1], 3), (&[1, 3, 2, 9], 1)]
        {
            assert_eq!(moved(&Scenario::default(), &side(&[1, 2, 3, 4]), &side(other)), least, "{other:?}");
        }
    }

    fn outcome(frames: &[Vec<u8>], counted: u64) -> Outcome {
        let frame = |bytes: &Vec<u8>| Frame { link: "p0".into(), time: 0, bytes: bytes.clone() };
        let mut outcome = Outcome { frames: frames.iter().map(frame).collect(), ..Outcome::default() };
        outcome.counters.netns = BTreeMap::from([("IpInReceives".to_owned(), counted)]);
        outcome
    }

    fn scenario() -> Scenario {
        let text = "[[address]]\ndev = \"p0\"\nprefix = \"10.0.0.1/24\"\n";
        Scenario::parse(text, std::path::Path::new("s")).unwrap()
    }

    #[test]
    fn only_the_masks_are_left_out() {
        let differ = |a: &[Vec<u8>], b: &[Vec<u8>]| compare(&scenario(), &outcome(a, 1), &outcome(b, 1));
        let (ours, theirs) = (|id, time| ip4("10.0.0.1", id, time), |id, time| ip4("10.0.0.7", id, time));
        assert!(differ(&[ours(1, 2)], &[ours(3, 4)]).is_empty(), "identification and times");
        assert!(differ(&[theirs(1, 2)], &[theirs(1, 4)]).is_empty(), "times of a forwarded packet");
        let masked = differ(&[ours(1, 2), ours(1, 2)], &[ours(3, 2), ours(1, 2)]).masked;
        let hidden = |bytes| Hidden { frames: 1, bytes };
        assert_eq!(masked.0, BTreeMap::from([("identification", hidden(2)), ("timestamp", hidden(4))]));
        assert_eq!(
            differ(&[theirs(1, 2)], &[theirs(3, 2)]).frames.len(),
            1,
            "identification of a forwarded packet"
        );
        let mut other = ours(1, 2);
        other[22] ^= 1; // the TTL
        assert_eq!(differ(&[ours(1, 2)], &[other]).frames[0].number, 1);
        let missing = differ(&[ours(1, 2), theirs(1, 2)], &[ours(1, 2)]);
        assert_eq!((missing.frames[0].number, &missing.frames[0].actual), (2, &None));
        assert_eq!(missing.bytes(), theirs(1, 2).len());
        assert!(missing.to_string().contains("warren  nothing"), "{missing}");
    }

    #[test]
    fn a_checksum_left_to_the_card_is_completed() {
        let mut packet = Vec::new();
        let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6([1; 16], [2; 16], 64);
        builder.tcp(80, 1000, 0, 0).rst().write(&mut packet, b"").unwrap();
        let whole = packet.clone();
        let partial = csum::pseudo6([1; 16].into(), [2; 16].into(), proto::TCP, 20) as u16;
        packet[70..72].copy_from_slice(&partial.to_be_bytes());
        let mut same = whole.clone();
        let completed = BTreeMap::from([("tcp checksum", 2)]);
        assert_eq!((mask(&mut packet, &[]), mask(&mut same, &[])), (completed, BTreeMap::new()));
        assert_eq!((&packet, &same), (&whole, &whole));
    }

    #[test]
    fn identifications_of_own_fragments_only() {
        let piece = |src: &str, id: u32| {
            let mut bytes = EthHdr::new([2; 6], [4; 6], ETHERTYPE_IPV6).as_bytes().to_vec();
            let (src, dst) = (src.parse().unwrap(), [1; 16].into());
            bytes.extend(Ip6Hdr::new(8, proto::FRAGMENT, 64, src, dst).as_bytes());
            bytes.extend([proto::ICMPV6, 0, 0, 1].into_iter().chain(id.to_be_bytes()));
            bytes
        };
        let own = ["2001:db8::fe/128".parse().unwrap()];
        for (src, names) in [("2001:db8::fe", 1), ("fe80::1", 1), ("2001:db8::fd", 0)] {
            let (mut one, mut other) = (piece(src, 1), piece(src, 2));
            assert_eq!((mask(&mut one, &own).len(), mask(&mut other, &own).len()), (names, names), "{src}");
            assert_eq!(one == other, names == 1);
        }
    }

    #[test]
    fn counters_are_compared_both_ways() {
        let found = compare(&scenario(), &outcome(&[], 1), &outcome(&[], 2));
        assert_eq!((found.counters[0].expected, found.counters[0].actual), (1, 2));
        let none = compare(&scenario(), &outcome(&[], 1), &Outcome::default());
        assert_eq!((none.counters[0].expected, none.counters[0].actual), (1, 0));
        assert!(found.to_string().contains("IpInReceives"));
    }

    #[test]
    fn masking_never_panics() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let mut frame = ip4("10.0.0.1", 1, 1);
            frame.extend(bytes);
            for (at, byte) in bytes.iter().enumerate().take(40) {
                frame[14 + at] ^= byte;
            }
            assert!(mask(&mut frame, &[]).len() <= 4);
        });
    }
}
