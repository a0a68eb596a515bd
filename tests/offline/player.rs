//! The player: time, neighbours that do not answer, delivery, routes that expire.

use crate::lab::{SCENARIO, udp4, udp6};
use std::path::Path;
use std::sync::{Arc, Mutex};
use warren::forward::observe::Unobserved;
use warren::scenario::player::{self, Arrival, Player};
use warren::scenario::{Loaded, Scenario};
use warren::stats::Mib;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * SECOND;

fn player(scenario: &str) -> Player {
    let path = Path::new("s.toml");
    let scenario = Scenario::parse(scenario, path).unwrap();
    let Loaded { writer, shared } =
        scenario.load(path, 1, player::clock(START)).unwrap_or_else(|e| panic!("{e}"));
    Player::new(Arc::new(Mutex::new(writer)), shared, player::limits()).unwrap()
}

/// Plays frames at these times on p0; what left, as (link, nanoseconds since the start, length).
fn play(player: &mut Player, frames: &[(u64, Vec<u8>)]) -> Vec<(u32, u64, usize)> {
    let mut sent = Vec::new();
    let mut sink = |d: player::Departure<'_>| sent.push((d.link, d.time - START, d.bytes.len()));
    for (after, bytes) in frames {
        let (time, wire_len) = (START + after, bytes.len() as u32);
        let arrival = Arrival { link: 2, time, wire_len, bytes: bytes.clone() };
        player.play(&arrival, &mut Unobserved, &mut sink);
    }
    player.finish(&mut Unobserved, &mut sink);
    sent
}

#[test]
fn a_next_hop_fails_after_its_solicitations_and_is_asked_again() {
    let mut player = player(SCENARIO);
    let lost = || udp6("2001:db8:1::9", "2001:db8:dead::1", 64, 20);
    let sent = play(&mut player, &[(0, lost()), (SECOND / 20, lost()), (SECOND, lost())]);
    let error = 14 + 40 + 8 + 40 + 8 + 20;
    // Two wait for the first search, which takes 200 ms; the third begins another.
    let (first, second) = (SECOND / 5, SECOND + SECOND / 5);
    assert_eq!(sent, [(2, first, error), (2, first, error), (2, second, error)]);
    assert_eq!(player.waiting(), 0);
    assert_eq!(player.counts().mib(Mib::Icmp6OutDestUnreachs), 3);
}

#[test]
fn packets_for_the_box_are_delivered_on_the_link_that_has_the_address() {
    let mut player = player(SCENARIO);
    let frames =
        [(0, udp6("2001:db8:1::9", "2001:db8:2::1", 64, 8)), (1, udp4("10.0.1.9", "10.0.2.1", 64, 8))];
    // Nobody listens to the ports, and both senders are known: each is told.
    let (six, four) = (14 + 40 + 8 + 40 + 8 + 8, 14 + 20 + 8 + 20 + 8 + 8);
    assert_eq!(play(&mut player, &frames), [(2, 0, six), (2, 1, four)]);
    let (counts, state) = (player.counts(), player.state());
    let slot = |name: &str| state.ifaces.by_name(name).unwrap().slot;
    assert_eq!((counts.mib(Mib::Ip6InDelivers), counts.mib(Mib::IpInDelivers)), (1, 1));
    assert_eq!(counts.mib_on(slot("p1"), Mib::Ip6InDelivers), 1, "p1 has the address");
    assert_eq!(counts.mib_on(slot("p0"), Mib::Ip6InReceives), 1, "p0 received the packet");
}

#[test]
fn a_route_expires_by_capture_time() {
    let timed = SCENARIO.replace(
        "{ dst = \"2001:db8:9::/48\", via = \"2001:db8:2::9\" }",
        "{ dst = \"2001:db8:9::/48\", via = \"2001:db8:2::9\", expires = 10 }",
    );
    let mut player = player(&timed);
    let frame = || udp6("2001:db8:1::9", "2001:db8:9::1", 64, 8);
    let sent = play(&mut player, &[(0, frame()), (9 * SECOND, frame()), (11 * SECOND, frame())]);
    let links: Vec<_> = sent.iter().map(|(link, ..)| *link).collect();
    assert_eq!(links, [3, 3, 2], "the third is answered instead");
}

#[test]
fn a_stale_neighbour_is_used_until_it_is_found_dead() {
    let stale = SCENARIO.replace(
        "{ dev = \"p1\", to = \"2001:db8:2::9\", lladdr = \"02:00:00:00:00:b9\" }",
        "{ dev = \"p1\", to = \"2001:db8:2::9\", lladdr = \"02:00:00:00:00:b9\", state = \"stale\" }",
    );
    let mut player = player(&stale);
    let frame = || udp6("2001:db8:1::9", "2001:db8:9::1", 64, 8);
    // Five seconds of grace, then three probes 100 ms apart.
    let sent = play(&mut player, &[(0, frame()), (5 * SECOND, frame()), (6 * SECOND, frame())]);
    let links: Vec<_> = sent.iter().map(|(link, ..)| *link).collect();
    assert_eq!(links, [3, 3, 2]);
}
