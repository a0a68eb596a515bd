//! What is drawn is fixed by seed and number, can be loaded, and stays within the limits. Invariant: see `draw`.

use super::*;
use crate::control::netlink::Family;
use std::collections::BTreeMap;
use std::path::Path;

fn drawn(seed: u64, number: u64, family: Family) -> Drawn {
    let boxes = if family == Family::V4 { Boxes::V4 } else { Boxes::V6 };
    draw(seed, number, 1000, boxes, None)
}

#[test]
fn seed_and_number_decide_everything() {
    let same = |a: &Drawn, b: &Drawn| a.scenario == b.scenario && a.frames == b.frames;
    for family in [Family::V4, Family::V6] {
        assert!(same(&drawn(1, 3, family), &drawn(1, 3, family)));
        assert!(!same(&drawn(1, 3, family), &drawn(2, 3, family)));
        assert!(!same(&drawn(1, 3, family), &drawn(1, 4, family)));
    }
    let given = Scenario::default();
    assert!(draw(1, 0, 10, Boxes::Turns, Some(&given)).frames.is_empty(), "no links, no frames");
    let of = |number| draw(1, number, 10, Boxes::Turns, None).frames[0].bytes[12..14].to_vec();
    assert_eq!((of(0), of(1)), (vec![0x86, 0xdd], vec![8, 0]), "both families in turns");
}

#[test]
fn nobody_speaks_so_often_that_a_limiter_notices() {
    // Neighbour discovery is not limited.
    for number in (0..20).filter(|number| number % TAUGHT != 6) {
        let mut uses: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let drawn = drawn(7, number, Family::V6);
        let own = |a: &[u8]| drawn.scenario.address.iter().any(|x| x.prefix.addr().to_string() == addr(a));
        // Nobody answers a Packet Too Big or a redirect.
        let teaches = |f: &Frame| f.bytes[20] == 58 && matches!(f.bytes.get(54), Some(2 | 137));
        for frame in drawn.frames.iter().filter(|f| f.bytes.len() >= 54 && !teaches(f)) {
            *uses.entry(frame.bytes[22..38].to_vec()).or_default() += 1;
        }
        let most = uses.iter().filter(|(a, _)| !own(a) && a.iter().any(|b| *b != 0)).max_by_key(|(_, n)| **n);
        assert!(most.is_none_or(|(_, n)| *n <= 5), "box {number}: {most:?}");
    }
}

/// `ip_error` answers a host five times at once.
#[test]
fn nobody_is_told_of_missing_ways_more_often_than_the_kernel_allows() {
    for number in 0..20 {
        let mut uses: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let drawn = drawn(7, number, Family::V4);
        let own: Vec<String> = drawn.scenario.address.iter().map(|x| x.prefix.addr().to_string()).collect();
        // What is for all is told nothing.
        let for_all = |dst: &[u8]| matches!(dst, [224..=239, ..] | [0, 0, 0, 0] | [255, 255, 255, 255]);
        // Nobody answers an error or a redirect.
        let teaches =
            |f: &Frame| f.bytes[14] == 0x45 && f.bytes[23] == 1 && matches!(f.bytes.get(34), Some(3 | 5));
        let frames = drawn.frames.iter().filter(|f| f.bytes.len() >= 34 && !teaches(f));
        for frame in frames.filter(|f| !for_all(&f.bytes[30..34])) {
            *uses.entry(frame.bytes[26..30].to_vec()).or_default() += 1;
        }
        let text = |a: &[u8]| std::net::Ipv4Addr::new(a[0], a[1], a[2], a[3]).to_string();
        let most = uses.iter().filter(|(a, _)| !own.contains(&text(a))).max_by_key(|(_, n)| **n);
        assert!(most.is_none_or(|(_, n)| *n <= 5), "box {number}: {most:?}");
    }
}

fn addr(bytes: &[u8]) -> String {
    let octets: [u8; 16] = bytes.try_into().unwrap();
    std::net::Ipv6Addr::from(octets).to_string()
}

#[test]
fn every_box_can_be_loaded() {
    for (number, boxes) in (0..200).flat_map(|n| [Boxes::V4, Boxes::V6, Boxes::Mixed].map(|boxes| (n, boxes)))
    {
        let drawn = draw(5, number, 1000, boxes, None);
        let loaded = drawn.scenario.load(Path::new("drawn"), 1, 0);
        assert!(loaded.is_ok(), "box {number}: {}", loaded.err().map_or_else(String::new, |e| e.to_string()));
        assert!(drawn.frames.len() > 100, "box {number}");
    }
}
