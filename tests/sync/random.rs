//! Random commands: whatever the order, the mirror must be what a fresh dump shows.

use std::fmt::Write as _;

use crate::lab::{Lab, inside, ip_force, topology};
use warren::control::sync::Mirror;
use warren::state::Writer;

/// A small generator (xorshift64*), so that a printed seed brings a run back.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

fn legs(r: &mut Random, v6: bool) -> String {
    let hop = |r: &mut Random| {
        let link = 1 + r.below(3);
        let host = 2 + r.below(3);
        if v6 { format!("via 2001:db8:{link}::{host}") } else { format!("via 10.0.{link}.{host}") }
    };
    match r.below(6) {
        0 => format!("dev v{}", 1 + r.below(3)),
        1 => format!("nhid {}", if v6 { 11 + r.below(4) } else { 1 + r.below(4) }),
        2 | 3 => {
            let weights = [1 + r.below(3), 1 + r.below(3)];
            format!("nexthop {} weight {} nexthop {} weight {}", hop(r), weights[0], hop(r), weights[1])
        }
        _ => hop(r),
    }
}

fn route(r: &mut Random) -> String {
    let v6 = r.below(2) == 0;
    let prefix = match v6 {
        true => format!("2001:db8:{:x}::/{}", 0xa0 + r.below(4), 48 + 8 * r.below(2)),
        false => format!("192.0.{}.0/{}", 2 + r.below(4), 24 + r.below(2)),
    };
    let verb = r.pick(&["add", "add", "append", "prepend", "replace", "change", "del", "del"]);
    let mut line = format!("route {verb} {prefix} {}", legs(r, v6));
    if r.below(4) == 0 {
        line = format!("route {verb} {} {prefix}", r.pick(&["blackhole", "unreachable", "prohibit"]));
    }
    if verb == "del" && r.below(2) == 0 {
        line = format!("route del {prefix}");
    }
    for (chance, option) in [(4, format!("metric {}", 5 + r.below(3))), (8, "table 100".to_owned())] {
        if r.below(chance) == 0 {
            write!(line, " {option}").unwrap();
        }
    }
    match r.below(10) {
        0 if !v6 => line.push_str(" tos 0x10"),
        1 => write!(line, " mtu {}", [1300, 1400, 1500][r.below(3) as usize]).unwrap(),
        2 if !v6 => write!(line, " src 10.0.{}.1", 1 + r.below(3)).unwrap(),
        3 if v6 => write!(line, " src 2001:db8:{}::1", 1 + r.below(3)).unwrap(),
        4 if v6 => write!(line, " from 2001:db8:77:{}::/64", r.below(2)).unwrap(),
        _ => {}
    }
    line
}

fn nexthop(r: &mut Random) -> String {
    let verb = r.pick(&["add", "add", "replace", "del"]);
    let v6 = r.below(2) == 0;
    let base = if v6 { 11 } else { 1 };
    let (link, host) = (1 + r.below(3), 2 + r.below(3));
    let via = if v6 { format!("2001:db8:{link}::{host}") } else { format!("10.0.{link}.{host}") };
    match (verb, r.below(3)) {
        ("del", _) => format!("nexthop del id {}", base + r.below(4)),
        (_, 0) => format!("nexthop {verb} id {} group {}/{},2", base + 3, base, base + 1),
        (_, _) => format!("nexthop {verb} id {} via {via} dev v{link}", base + r.below(3)),
    }
}

fn command(r: &mut Random) -> String {
    let link = 1 + r.below(3);
    match r.below(20) {
        0 => format!("link set {}{link} {}", r.pick(&["v", "w"]), r.pick(&["down", "up"])),
        1 => format!("link set v{link} {}", r.pick(&["up", "mtu 1400", "mtu 1500", "mtu 1300"])),
        2 => format!("address {} 10.0.{link}.{}/24 dev v{link}", r.pick(&["add", "del"]), 1 + r.below(3)),
        3 => format!(
            "address {} 2001:db8:{link}::{}/64 nodad dev v{link}",
            r.pick(&["add", "del"]),
            1 + r.below(3)
        ),
        4 | 5 => nexthop(r),
        6 => format!("rule {} pref {} iif v{link} table 100", r.pick(&["add", "del"]), 100 + r.below(3)),
        7 => format!(
            "neigh {} 10.0.{link}.{} lladdr 02:00:00:00:00:{:02x} dev v{link} nud {}",
            r.pick(&["add", "replace", "del"]),
            2 + r.below(3),
            r.below(3),
            r.pick(&["permanent", "reachable", "stale", "failed", "noarp"])
        ),
        8 => format!("link set w{link} up"),
        _ => route(r),
    }
}

#[test]
fn hundreds_of_random_commands() {
    let seed = match std::env::var("WARREN_SEED") {
        Ok(seed) => seed.parse().expect("WARREN_SEED is a number"),
        Err(_) => 0x5eed,
    };
    println!("seed {seed}; run again with WARREN_SEED={seed}");
    inside("random", || {
        let mut lab = Lab::new();
        let mut r = Random(2 * seed + 1);
        for round in 0..100 {
            let commands: String = (0..8).map(|_| command(&mut r) + "\n").collect();
            ip_force(&commands);
            lab.assert_equal(&format!("round {round} of seed {seed}:\n{commands}"));
        }
        let status = lab.mirror.status();
        assert!(status.events > 300, "too little happened: {status:?}");
        assert_eq!((status.resyncs, status.divergence), (0, 0));
    });
}

/// With a buffer for a few messages only, events are lost again and again; the mirror must notice, and recover.
#[test]
fn lost_events_are_made_good() {
    inside("overrun", || {
        topology();
        let (writer, _shared) = Writer::new(1, 1).unwrap();
        let mut mirror = Mirror::start_with_buffer(writer, 4096).unwrap();
        let mut r = Random(0x0bad_5eed);
        for round in 0..10 {
            ip_force(&(0..100).map(|_| command(&mut r) + "\n").collect::<String>());
            loop {
                mirror.handle().unwrap();
                if mirror.status().synced {
                    break;
                }
                std::thread::sleep(mirror.timeout());
            }
            let audit = mirror.audit_now().unwrap();
            assert_eq!(audit.repaired, 0, "round {round}: {:#?}", audit.differences);
        }
        let status = mirror.status();
        assert!(status.overruns > 0 && status.resyncs >= status.overruns, "{status:?}");
    });
}
