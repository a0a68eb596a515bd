//! A lookup in the mirror finds what `ip route get` finds.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use serde_json::Value;
use warren_fib::{Ip, RouteType, View};

use crate::lab::{Lab, inside, ip, ip_force};

/// What a lookup leads to.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Local,
    Broadcast,
    /// No way, or a route that says so.
    Nothing,
    /// Interface and gateway.
    Hop(u32, Option<IpAddr>),
}

/// The first path that can be used, table local first, then main.
fn lookup<A: Ip>(view: &View<'_>, addr: A) -> Found {
    for table in [255, 254] {
        let matches = view.table::<A>(table).into_iter().flat_map(|table| table.lookup(addr));
        for path in matches.flat_map(|(_, set)| set.paths.iter()) {
            let group = path.group.and_then(|id| view.group(id));
            match path.kind {
                RouteType::Throw => break,
                kind if kind.is_error() => return Found::Nothing,
                _ if group.is_none_or(|group| group.dead) => {}
                RouteType::Local | RouteType::Anycast => return Found::Local,
                RouteType::Broadcast => return Found::Broadcast,
                _ => {
                    let member = &group.unwrap().members[0];
                    return Found::Hop(member.oif, member.via);
                }
            }
        }
    }
    Found::Nothing
}

/// What the kernel answers.
fn kernel(addr: IpAddr) -> Found {
    let output = Command::new("ip").args(["-j", "-d", "route", "get", &addr.to_string()]).output().unwrap();
    let Ok(Value::Array(answer)) = serde_json::from_slice(&output.stdout) else { return Found::Nothing };
    let text = |key: &str| answer[0].get(key).and_then(Value::as_str);
    match text("type") {
        Some("local" | "anycast") => Found::Local,
        Some("broadcast") => Found::Broadcast,
        Some("blackhole" | "unreachable" | "prohibit" | "throw") => Found::Nothing,
        _ => {
            let via = text("gateway").or_else(|| answer[0].get("via")?.get("host")?.as_str());
            Found::Hop(link_index(text("dev").unwrap()), via.map(|via| via.parse().unwrap()))
        }
    }
}

fn link_index(name: &str) -> u32 {
    let number = |name: &str| name[1..].parse::<u32>().unwrap();
    match name.as_bytes()[0] {
        b'v' => 10 + number(name),
        b'w' => 20 + number(name),
        _ => 1,
    }
}

#[test]
fn lookups_find_what_ip_route_get_finds() {
    inside("lookup", || {
        let mut lab = Lab::new();
        let mut seed = 1_u64;
        let mut next = |limit: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % limit
        };
        let mut commands = String::new();
        for _ in 0..400 {
            let (link, host) = (1 + next(3), 2 + next(3));
            let (a, b, c, len) = (next(3), next(4), next(4), 9 + next(20));
            let (kind, way4, way6) = match next(8) {
                0 => (
                    ["blackhole", "unreachable", "prohibit", "throw"][next(4) as usize],
                    String::new(),
                    String::new(),
                ),
                1 => ("unicast", format!("dev v{link}"), format!("dev v{link}")),
                _ => ("unicast", format!("via 10.0.{link}.{host}"), format!("via 2001:db8:{link}::{host}")),
            };
            let mask = u32::MAX << (32 - len);
            let dst = Ipv4Addr::from(((20 + a as u32) << 24 | (b as u32) << 14 | (c as u32) << 6) & mask);
            writeln!(commands, "route add {kind} {dst}/{len} {way4} metric {}", next(2)).unwrap();
            let dst = Ipv6Addr::from(
                (0x2001_0dba_u128 << 96 | u128::from(a) << 90 | u128::from(b) << 70) >> 10 << 10,
            );
            writeln!(commands, "route add {kind} {dst}/{} {way6}", 32 + next(60)).unwrap();
        }
        ip_force(&commands);
        ip("link set v3 down\n");
        lab.assert_equal("random routes");
        let mut addrs: Vec<IpAddr> =
            ["10.0.1.1", "10.0.1.255", "10.0.1.9", "127.0.0.9", "2001:db8:1::1", "2001:db8:2::"]
                .map(|text| text.parse().unwrap())
                .to_vec();
        for _ in 0..150 {
            let (a, b, c) = (next(3) as u32, next(4) as u32, next(4) as u32);
            addrs.push(Ipv4Addr::from((20 + a) << 24 | b << 14 | c << 6 | next(64) as u32).into());
            let tail = u128::from(a) << 90 | u128::from(b) << 70 | u128::from(next(1 << 30));
            addrs.push(Ipv6Addr::from(0x2001_0dba_u128 << 96 | tail).into());
        }
        let mut reader = lab.shared.fib.reader().unwrap();
        let view = reader.pin();
        let mut hops = 0;
        for addr in addrs {
            let found = match addr {
                IpAddr::V4(addr) => lookup(&view, addr),
                IpAddr::V6(addr) => lookup(&view, addr),
            };
            assert_eq!(found, kernel(addr), "{addr}");
            hops += usize::from(matches!(found, Found::Hop(..)));
        }
        assert!(hops > 100, "most addresses should have a way: {hops}");
    });
}
