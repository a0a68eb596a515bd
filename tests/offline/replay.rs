//! `warren replay`: the same in every run, whatever the number of rounds and workers.

use crate::lab::{Lab, mixture, udp6};
use warren::port::capture::Reader;

const KEYS: [&str; 8] =
    ["drops", "fast_share", "mpps", "ns_per_packet", "out_digest", "packets", "seconds", "verdicts"];

#[test]
fn two_runs_give_the_same_bytes() {
    let lab = Lab::new(&mixture());
    lab.prints("replay in.pcapng -s s.toml --out a");
    lab.prints("replay in.pcapng -s s.toml --out b --loop 50");
    assert_eq!(lab.read("a/out.pcapng"), lab.read("b/out.pcapng"));
    assert_eq!(lab.read("a/counters.toml"), lab.read("b/counters.toml"));
    let counters: toml::Table = String::from_utf8(lab.read("a/counters.toml")).unwrap().parse().unwrap();
    assert_eq!(counters["netns"]["Ip6OutForwDatagrams"].as_integer(), Some(41));
    assert_eq!(counters["dev"]["p0"]["Ip6InReceives"].as_integer(), Some(43));
    assert_eq!(counters["drops"]["V6HopLimit"].as_integer(), Some(1));
}

#[test]
fn workers_share_the_frames_and_give_the_same() {
    // Of IPv6, as the identifications of IPv4 messages depend on who sends first.
    let six: Vec<_> = mixture().into_iter().filter(|frame| frame[12] == 0x86).collect();
    let lab = Lab::new(&six);
    let one = lab.json("replay in.pcapng -s s.toml --out a");
    let three = lab.json("replay in.pcapng -s s.toml --out b --workers 3");
    assert_eq!(lab.read("a/counters.toml"), lab.read("b/counters.toml"));
    for key in ["verdicts", "drops", "fast_share", "out_digest", "packets"] {
        assert_eq!(one[key], three[key], "{key}");
    }
}

#[test]
fn the_object_has_its_keys_and_counts_each_frame_once() {
    let lab = Lab::new(&mixture());
    let object = lab.json("replay in.pcapng -s s.toml --loop 3");
    let keys: Vec<_> = object.as_object().unwrap().keys().collect();
    assert_eq!(keys, KEYS);
    assert_eq!(object["packets"], 124 * 3);
    let verdicts = object["verdicts"].as_object().unwrap();
    assert_eq!(verdicts.values().map(|v| v.as_u64().unwrap()).sum::<u64>(), 124);
    assert_eq!((&verdicts["hold"], &verdicts["local"], &verdicts["drop"]), (&1.into(), &1.into(), &2.into()));
    assert_eq!(object["drops"]["V4NoRoute"], 1);
    // The rule keeps IPv4 off the fast path.
    assert!((object["fast_share"].as_f64().unwrap() - 40.0 / 124.0).abs() < 1e-9);
}

#[test]
fn a_changed_frame_changes_the_digest() {
    let digest = |frame: Vec<u8>| Lab::new(&[frame]).json("replay in.pcapng -s s.toml")["out_digest"].clone();
    let a = digest(udp6("2001:db8:1::9", "2001:db8:9::1", 64, 8));
    let b = digest(udp6("2001:db8:1::9", "2001:db8:9::1", 63, 8));
    assert_ne!(a, b);
}

#[test]
fn comments_say_what_became_of_each_frame() {
    let lab = Lab::new(&mixture());
    lab.prints("replay in.pcapng -s s.toml --annotate notes.pcapng");
    let mut reader = Reader::open(&lab.path("notes.pcapng")).unwrap();
    let mut comments = Vec::new();
    while let Some(packet) = reader.next_packet() {
        comments.push(packet.unwrap().comment.to_owned());
    }
    assert_eq!(comments.len(), 124);
    assert_eq!(comments[0], "forward to 2001:db8:2::9 (02:00:00:00:00:b9) on p1");
    assert!(comments[120].starts_with("drop, V6HopLimit: "), "{}", comments[120]);
    assert!(
        comments[120].ends_with("ICMPv6 3/0: from 2001:db8:1::1 to 2001:db8:1::9 by p0"),
        "{}",
        comments[120]
    );
    assert_eq!(comments[121], "wait for the link-layer address of 2001:db8:2::dead on p1");
    let delivered = "deliver to this host; ICMPv6 1/4: from 2001:db8:1::1 to 2001:db8:1::9 by p0";
    assert_eq!(comments[122], delivered, "where nobody listens to the port");
}

#[test]
fn a_profile_shares_out_all_of_the_time() {
    let lab = Lab::new(&mixture());
    let object = lab.json("replay in.pcapng -s s.toml --profile");
    let lines = object["profile"].as_array().unwrap();
    let sum: f64 = lines.iter().map(|l| l["share"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{lines:?}");
    assert_eq!(lines.iter().map(|l| l["packets"].as_u64().unwrap()).sum::<u64>(), 124);
    let text = lab.prints("replay in.pcapng -s s.toml --profile");
    assert!(text.contains("forward, fast path"), "{text}");
}

#[test]
fn what_leaves_bears_names_and_times() {
    let lab = Lab::new(&mixture());
    lab.prints("replay in.pcapng -s s.toml --out a");
    let mut reader = Reader::open(&lab.path("a/out.pcapng")).unwrap();
    let mut last = (0, 0);
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap();
        assert!(packet.time >= last.0, "in order of time");
        last = (packet.time, packet.interface);
    }
    let names: Vec<_> = reader.interfaces().iter().map(|i| i.name.clone().unwrap()).collect();
    assert_eq!(names, ["p0", "p1"]);
    // The last to leave is the error about the next hop that did not answer: two solicitations, 100 ms apart.
    let held = 1_700_000_000_000_000_000 + 121 * 1_000_000;
    assert_eq!(last, (held + 200_000_000, 0));
}
