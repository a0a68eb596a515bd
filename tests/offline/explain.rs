//! `warren explain`: the story of a packet, as recorded in `snapshots/`.

use crate::lab::{Lab, udp4, udp6};

fn lab() -> Lab {
    Lab::new(&[
        udp6("2001:db8:1::9", "2001:db8:9::1", 64, 20),
        udp6("2001:db8:1::9", "2001:db8:9::1", 1, 20),
        udp6("2001:db8:1::9", "2001:db8:dead::1", 64, 20),
        udp4("10.0.1.9", "10.9.0.1", 64, 20),
    ])
}

#[test]
fn a_packet_that_is_forwarded() {
    insta::assert_snapshot!(lab().prints("explain in.pcapng -s s.toml"));
}

#[test]
fn a_packet_whose_hop_limit_runs_out() {
    insta::assert_snapshot!(lab().prints("explain in.pcapng -s s.toml --packet 2"));
}

#[test]
fn a_packet_whose_next_hop_does_not_answer() {
    insta::assert_snapshot!(lab().prints("explain in.pcapng -s s.toml --packet 3"));
}

#[test]
fn a_packet_of_the_other_family() {
    insta::assert_snapshot!(lab().prints("explain in.pcapng -s s.toml --packet 4"));
}

#[test]
fn the_object_tells_the_same() {
    let object = lab().json("explain in.pcapng -s s.toml --packet 2");
    assert_eq!(object["decision"]["verdict"], "drop");
    assert_eq!(object["counters"]["drops"]["V6HopLimit"], 1);
    let failed: Vec<_> =
        object["steps"].as_array().unwrap().iter().filter(|s| s["passed"] == false).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!((&failed[0]["function"], &failed[0]["rfc"]), (&"ip6_forward".into(), &"8200 3".into()));
    let sent = object["sent"].as_array().unwrap();
    assert_eq!((sent.len(), &sent[0]["link"]), (1, &"p0".into()));
}
