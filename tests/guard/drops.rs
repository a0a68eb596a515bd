//! What the guard drops: exactly the claimed frames, in both its forms, while packet taps see every frame.

use std::time::Duration;

use ipnet::IpNet;
use warren::control::guard::Guard;

use crate::gate::Gate;
use crate::net::{Raw, Space, frame, index, ipv4, ipv6, run, veth};

type Make = fn(&[IpNet]) -> Guard;

/// What a test does with a guard made by `make`, on each of the two forms.
fn both(tag: &str, test: fn(Make)) {
    Space::new(&format!("{tag}-tcx")).enter(|| test(|left| Guard::tcx(left).unwrap()));
    Space::new(&format!("{tag}-nft")).enter(|| test(|left| Guard::nft(left).unwrap()));
}

fn prefixes(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|prefix| prefix.parse().unwrap()).collect()
}

#[test]
fn each_clause_of_the_rule() {
    both("clauses", |make| {
        let mut gate = Gate::build();
        let left = prefixes(&["10.0.0.1/32", "224.0.0.0/3", "2001:db8::/64", "fe80::/10", "ff00::/8"]);
        let mut guard = make(&left);
        guard.attach(index("p0")).unwrap();
        for (what, frame, claimed) in frames() {
            guard.renew().unwrap();
            assert_eq!(gate.passes(&frame), !claimed, "{what}");
        }
    });
}

/// (what, frame, claimed)
fn frames() -> Vec<(&'static str, Vec<u8>, bool)> {
    let to_mac = |mac: [u8; 6]| [&mac, &ipv4("10.9.9.9", &[], 46)[6..]].concat();
    let tagged = |tag: [u8; 4]| {
        let plain = ipv4("10.9.9.9", &[], 46);
        [&plain[..12], &tag, &plain[12..]].concat()
    };
    let hop_by_hop = |bytes: &[u8]| ipv6("2002::1", 0, bytes);
    vec![
        ("IPv4", ipv4("10.9.9.9", &[], 46), true),
        ("IPv6", ipv6("2002::1", 17, &[0; 8]), true),
        ("another host's MAC", to_mac([2, 0, 0, 0, 0, 7]), false),
        ("broadcast MAC", to_mac([0xff; 6]), false),
        ("multicast MAC", to_mac([1, 0, 0x5e, 0, 0, 1]), false),
        ("VLAN tag", tagged([0x81, 0, 0, 5]), false),
        ("priority tag", tagged([0x81, 0, 0xe0, 0]), false),
        ("service tag", tagged([0x88, 0xa8, 0, 5]), false),
        ("ARP", frame(0x0806, &[0; 46]), false),
        ("MPLS", frame(0x8847, &[0; 46]), false),
        ("IPv4 of 19 bytes", ipv4("10.9.9.9", &[], 46)[..33].to_vec(), false),
        ("IPv4 of 20 bytes", ipv4("10.9.9.9", &[], 46)[..34].to_vec(), true),
        ("IPv6 of 39 bytes", ipv6("2002::1", 17, &[])[..53].to_vec(), false),
        ("IPv6 of 40 bytes", ipv6("2002::1", 17, &[]), true),
        ("an address in `left`", ipv4("10.0.0.1", &[], 46), false),
        ("the one before", ipv4("10.0.0.0", &[], 46), true),
        ("the one behind", ipv4("10.0.0.2", &[], 46), true),
        ("the first address", ipv4("0.0.0.0", &[], 46), true),
        ("the last address", ipv4("255.255.255.255", &[], 46), false),
        ("IPv6 in `left`", ipv6("2001:db8::ffff:ffff:ffff:ffff", 17, &[]), false),
        ("IPv6 behind it", ipv6("2001:db8:0:1::", 17, &[]), true),
        ("IPv6 multicast", ipv6("ff02::1", 17, &[]), false),
        ("no IPv4 at all", [&ipv4("10.9.9.9", &[], 46)[..14], &[0x99; 46]].concat(), true),
        ("options without alert", ipv4("10.9.9.9", &[7, 7, 4, 0, 0, 0, 0, 0], 60), true),
        ("IPv4 router alert", ipv4("10.9.9.9", &[148, 4, 0, 0], 60), false),
        ("IPv6 router alert", hop_by_hop(&[17, 0, 5, 2, 0, 0, 1, 0]), false),
        ("hop-by-hop without", hop_by_hop(&[17, 0, 1, 4, 0, 0, 0, 0]), true),
        ("long hop-by-hop", hop_by_hop(&[&[17, 8], [0; 70].as_slice()].concat()), false),
        ("alert in the last byte", ipv4("10.9.9.9", &[[1; 39].as_slice(), &[148]].concat(), 60), false),
        ("alert in the last pair", hop_by_hop(&[&[17, 7], [1; 60].as_slice(), &[5, 2]].concat()), false),
        ("paged IPv4", ipv4("10.9.9.9", &[], 5000), true),
        ("paged IPv6", ipv6("2002::1", 17, &[0; 5000]), true),
        ("paged IPv4 with alert", ipv4("10.9.9.9", &[1, 1, 1, 148], 5000), false),
        ("paged IPv4 in `left`", ipv4("10.0.0.1", &[], 5000), false),
    ]
}

/// The program is compared with the rule beside its code; here the chain is compared with the program.
#[test]
fn both_forms_agree_on_generated_frames() {
    const SEED: u64 = 0x77_6172_7265_6e01;
    let verdicts = |tag: &str, make: Make| -> Vec<bool> {
        Space::new(tag).enter(|| {
            let mut gate = Gate::build();
            let mut guard = make(&prefixes(&["10.0.0.0/16", "ff00::/8"]));
            guard.attach(index("p0")).unwrap();
            let mut random = Random(SEED);
            let mut verdict = |_| {
                guard.renew().unwrap();
                gate.passes(&generated(&mut random))
            };
            (0..3000).map(&mut verdict).collect()
        })
    };
    let tcx = verdicts("agree-tcx", |left| Guard::tcx(left).unwrap());
    let nft = verdicts("agree-nft", |left| Guard::nft(left).unwrap());
    let passed = tcx.iter().filter(|passed| **passed).count();
    assert!((500..2500).contains(&passed), "one-sided: {passed} of 3000 passed");
    let mut random = Random(SEED);
    for (number, (tcx, nft)) in tcx.iter().zip(&nft).enumerate() {
        let frame = generated(&mut random);
        assert_eq!(tcx, nft, "frame {number} of seed {SEED:#x}: passed tcx, nft; {frame:02x?}");
    }
}

/// A frame with options that may hold an alert, cut at a random place.
fn generated(random: &mut Random) -> Vec<u8> {
    let mut octet = || match random.below(40) {
        0 => 148,
        1..4 => 5,
        4..8 => 2,
        _ => random.below(256) as u8,
    };
    let tail: Vec<u8> = (0..90).map(|_| octet()).collect();
    let mut frame = if random.below(2) == 0 {
        let mut frame = ipv4(&format!("10.{}.0.1", random.below(3)), &[], 20);
        frame[14] = random.below(256) as u8;
        frame
    } else {
        let to = if random.below(4) == 0 { "ff02::1" } else { "2002::1" };
        ipv6(to, if random.below(4) == 0 { 6 } else { 0 }, &[17, random.below(10) as u8])
    };
    frame.extend(tail);
    frame.truncate(20 + random.below(130) as usize);
    frame
}

/// Marsaglia's xorshift: the same frames for both forms.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn the_kernel_receives_only_what_is_left() {
    both("ip-rcv", |make| {
        veth("p0", "p1");
        std::fs::write("/proc/sys/net/ipv6/conf/p0/disable_ipv6", "0").unwrap();
        let (mut input, mut tap) = (Raw::open("p1"), Raw::open("p0"));
        let mut guard = make(&prefixes(&["10.0.0.1/32", "2001:db8::1/128"]));
        guard.attach(index("p0")).unwrap();
        guard.renew().unwrap();
        let before = [received4(), received6()];
        let sent = [
            ipv4("10.0.0.1", &[], 46),
            ipv4("10.9.9.9", &[], 46),
            ipv4("10.9.9.8", &[], 46),
            ipv6("2001:db8::1", 59, &[]),
            ipv6("2002::1", 59, &[]),
            ipv6("2002::2", 59, &[]),
        ];
        for frame in &sent {
            input.send(frame);
            while tap.receive() != *frame {}
        }
        // The tap comes before the protocols, so the last frame may still be on its way.
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!([received4() - before[0], received6() - before[1]], [1, 1]);
    });
}

/// IpInReceives of the namespace.
fn received4() -> u64 {
    let snmp = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut rows = snmp.lines().filter(|line| line.starts_with("Ip:")).map(str::split_whitespace);
    let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
    names.zip(values).find(|(name, _)| *name == "InReceives").unwrap().1.parse().unwrap()
}

/// Ip6InReceives of `p0`.
fn received6() -> u64 {
    let snmp = std::fs::read_to_string("/proc/thread-self/net/dev_snmp6/p0").unwrap();
    let line = snmp.lines().find(|line| line.starts_with("Ip6InReceives")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn left_can_change() {
    both("left", |make| {
        let mut gate = Gate::build();
        let mut guard = make(&[]);
        guard.attach(index("p0")).unwrap();
        guard.attach(index("p0")).unwrap();
        let mut expect = |guard: &mut Guard, passes4: bool, passes6: bool, why: &str| {
            guard.renew().unwrap();
            assert_eq!(gate.passes(&ipv4("10.1.2.3", &[], 46)), passes4, "IPv4 {why}");
            assert_eq!(gate.passes(&ipv6("2001:db8::7", 17, &[])), passes6, "IPv6 {why}");
        };
        expect(&mut guard, false, false, "with nothing left");
        guard.leave(&prefixes(&["10.0.0.0/8", "10.1.2.0/24", "10.1.2.3/32", "2001:db8::/32"])).unwrap();
        expect(&mut guard, true, true, "with nested prefixes");
        guard.claim(&prefixes(&["10.1.2.0/24", "10.1.2.3/32", "2001:db8::/33"])).unwrap();
        expect(&mut guard, true, true, "with the wide ones still there");
        guard.claim(&prefixes(&["10.0.0.0/8", "2001:db8::/32"])).unwrap();
        expect(&mut guard, false, false, "claimed again");
        guard.leave(&prefixes(&["0.0.0.0/0"])).unwrap();
        expect(&mut guard, true, false, "with a whole family left");
        guard.claim(&prefixes(&["0.0.0.0/0"])).unwrap();
        // More than fits one message, neighbours and all.
        let many: Vec<IpNet> =
            (0..4000u32).map(|n| format!("10.1.{}.{}/32", n >> 8, n & 255).parse().unwrap()).collect();
        guard.leave(&many).unwrap();
        expect(&mut guard, true, false, "with 4000 addresses left");
        guard.claim(&many).unwrap();
        expect(&mut guard, false, false, "with none again");
    });
}

#[test]
fn an_interface_can_be_given_back_and_can_vanish() {
    both("detach", |make| {
        let mut gate = Gate::build();
        let mut guard = make(&[]);
        let [p0, q0] = ["p0", "q0"].map(index);
        guard.attach(p0).unwrap();
        guard.attach(q0).unwrap();
        guard.renew().unwrap();
        assert!(!gate.passes(&ipv4("10.1.2.3", &[], 46)));
        guard.detach(p0).unwrap();
        assert!(gate.passes(&ipv4("10.1.2.3", &[], 46)));
        guard.attach(p0).unwrap();
        guard.renew().unwrap();
        assert!(!gate.passes(&ipv4("10.1.2.3", &[], 46)));
        run("ip link del dev q0");
        guard.renew().unwrap();
        guard.detach(q0).unwrap();
        guard.detach(q0).unwrap();
        let error = guard.attach(q0).unwrap_err().to_string();
        assert!(error.contains(&format!("interface {q0}")), "{error}");
    });
}
