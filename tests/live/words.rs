//! The tables of `warren show` speak as `ip` does, and their objects as the kernel does.

use crate::lab::{B4, Lab, run, try_run};
use serde_json::Value;

/// The cells of each line of a table below its head. Between columns stand at least two blanks.
fn cells(text: &str) -> Vec<Vec<String>> {
    let line =
        |line: &str| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).map(str::to_owned).collect();
    text.lines().skip(1).map(line).collect()
}

/// Destination, table, type, protocol and scope of each IPv4 route, as `ip` tells them.
fn told_by_ip(lab: &Lab) -> Vec<[String; 5]> {
    let all: Vec<Value> = serde_json::from_str(&run(&lab.r, "ip -4 -d -j route show table all")).unwrap();
    let row = |route: &Value| {
        let text = |key: &str, default: &str| route[key].as_str().unwrap_or(default).to_owned();
        let dst = text("dst", "").replace("default", "0.0.0.0/0");
        let dst = if dst.contains('/') { dst } else { format!("{dst}/32") };
        let table = text("table", "main");
        [dst, table, text("type", "unicast"), text("protocol", ""), text("scope", "global")]
    };
    all.iter().map(row).collect()
}

#[test]
fn routes_and_rules_are_told_as_ip_tells_them() {
    let lab = Lab::new("words");
    let protocols =
        [0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 42, 77, 186, 187, 188, 189, 192, 255];
    for number in protocols {
        run(&lab.r, &format!("ip route add 10.77.{number}.0/24 via 10.0.2.1 proto {number}"));
    }
    for more in
        ["10.78.1.0/24 dev r1 scope 200", "10.78.2.0/24 dev r1 table 253", "10.78.3.0/24 dev r1 table 77"]
    {
        run(&lab.r, &format!("ip route add {more}"));
    }
    run(&lab.r, "ip rule add pref 50 from 10.0.1.0/24 iif r0 ipproto tcp dport 80 lookup 77");
    run(&lab.r, "ip rule add pref 51 iif nowhere0 prohibit");
    let _warren = lab.warren("");
    let program = env!("CARGO_BIN_EXE_warren");

    let pick = |row: &Vec<String>| [&row[0], &row[2], &row[3], &row[6], &row[7]].map(String::clone);
    let four = |row: &&Vec<String>| !row[0].contains(':');
    let rows = cells(&run(&lab.r, &format!("{program} show routes")));
    let mut ours: Vec<_> = rows.iter().filter(four).map(pick).collect();
    let mut theirs = told_by_ip(&lab);
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs, "warren's left");
    assert!(ours.len() > protocols.len() + 5, "{ours:?}");
    let ra = lab.row("routes", "dst", "10.77.9.0/24").unwrap();
    assert_eq!((&ra["table"], &ra["proto"], &ra["scope"]), (&254.into(), &9.into(), &0.into()));

    let rules = cells(&run(&lab.r, &format!("{program} show rules")));
    for row in [
        &["4", "0", "all", "lookup", "local"][..],
        &["4", "50", "from 10.0.1.0/24 iif r0 ipproto 6 dport 80", "lookup", "77"],
        &["4", "51", "iif [detached]", "prohibit", "-"],
        &["6", "32766", "all", "lookup", "main"],
    ] {
        assert!(rows_have(&rules, row), "{row:?} is not among {rules:?}");
    }
    let local = lab.row("rules", "action", "lookup").unwrap();
    assert_eq!((&local["pref"], &local["table"]), (&0.into(), &255.into()));
}

fn rows_have(rows: &[Vec<String>], wanted: &[&str]) -> bool {
    rows.iter().any(|row| row == wanted)
}

/// `log_martians`, of all or of one link: the words are the kernel's, and ten lines in five seconds are enough.
#[test]
fn packets_that_cannot_be_are_told_where_asked_for() {
    let lab = Lab::new("martians");
    // With that address a could not ask for the router any more.
    lab.ping(1, B4);
    run(&lab.a, "ip neigh change 10.0.1.254 dev a0 nud permanent");
    run(&lab.a, "ip addr add 10.0.2.254/32 dev lo");
    run(&lab.r, "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.r0.rp_filter=0");
    let spoof = || try_run(&lab.a, &format!("ping -n -c 15 -i 0.01 -W 1 -I 10.0.2.254 {B4}"));
    for (value, lines) in [(0, 0), (1, 10)] {
        run(&lab.r, &format!("sysctl -qw net.ipv4.conf.r0.log_martians={value}"));
        let mut warren = lab.warren("");
        let (answered, text) = spoof();
        let dropped = lab.row("drops", "reason", "V4SourceLocal").map(|row| row["packets"].as_u64());
        assert_eq!((answered, dropped), (false, Some(Some(15))), "{text}");
        warren.signal(rustix::process::Signal::TERM);
        let (_, said) = warren.end();
        let line = format!("warren: martian source {B4} from 10.0.2.254, on dev r0");
        assert_eq!(said.lines().filter(|said| *said == line).count(), lines, "{said}");
    }
}
