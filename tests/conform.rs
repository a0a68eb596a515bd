//! `warren conform` as a user runs it: drawn routers and frames through this kernel and through warren. Needs root.
//!
//! `WARREN_CONFORM_SEED` and `WARREN_CONFORM_FRAMES` choose other or longer runs of both grammars.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use serde_json::Value;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command.arg("conform").args(arguments.split(' '));
    command
}

fn conform(arguments: &str) -> Output {
    command(arguments).output().unwrap()
}

/// What the program found when all was equal.
#[track_caller]
fn agree(arguments: &str) -> Value {
    let output = conform(arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments}: {}{text}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["differences"].as_array().unwrap().len(), 0);
    found
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// A run of one family's grammar; `rules` must have been applied, and more than `most` in all.
#[track_caller]
fn many_routers(family: u8, rules: &[&str], most: usize) {
    let (seed, frames) = (setting("WARREN_CONFORM_SEED", 1), setting("WARREN_CONFORM_FRAMES", 20_000));
    println!("seed {seed}, {frames} frames");
    let found = agree(&format!("--generate {frames} --seed {seed} --family {family} --json"));
    assert_eq!((&found["frames"], &found["seed"]), (&frames.into(), &seed.into()));
    for (mask, count) in found["masked"].as_object().unwrap() {
        // Two bytes of every ICMPv4 message of a kernel's own are random.
        let most = if mask == "identification" { frames / 5 } else { frames / 50 };
        assert!(count.as_u64().unwrap() <= most, "{mask} hides {count} of {frames} frames");
    }
    let refused = found["refused"].as_array().unwrap().len() as u64;
    assert!(refused * 20 <= found["boxes"].as_u64().unwrap(), "{}", found["refused"]);
    let hit = found["rules_hit"].as_object().unwrap();
    for rule in rules {
        assert!(hit.contains_key(*rule), "{rule}: {hit:?}");
    }
    assert!(hit.len() > most, "{}: {hit:?}", hit.len());
}

#[test]
fn ip6_of_many_routers() {
    let bucket = "next hop: bucket of a resilient group";
    many_routers(6, &["route: unicast", "route: none", "redirect", "ICMPv6 3/0", bucket], 80);
}

#[test]
fn ip4_of_many_routers() {
    let cut = "packet cut into fragments";
    many_routers(4, &["route: unicast", "route: none", "redirect", "ICMP 11/0", cut, "V4ReversePath"], 120);
}

#[test]
fn a_kernel_is_like_itself() {
    agree("--generate 3000 --seed 3 --family 6 --self --json");
}

#[test]
fn a_recorded_case_and_its_scenario() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/ip6-hop-limit");
    let found = agree(&format!("--pcap {folder}/in.pcapng -s {folder}/scenario.toml --json"));
    assert_eq!((&found["frames"], &found["compared"], &found["seed"]), (&6.into(), &6.into(), &Value::Null));
}

fn namespaces(child: &Child) -> usize {
    let name = format!("warren-conform-{}-", child.id());
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.filter(|e| e.file_name().to_string_lossy().starts_with(&name)).count()
}

#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    let mut child = command("--generate 10000000 --family 6").stdout(Stdio::null()).spawn().unwrap();
    let seen = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        namespaces(&child) > 0
    });
    let id = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert!(seen, "no namespace was made");
    assert_eq!((status.code(), namespaces(&child)), (Some(1), 0));
}

#[test]
fn bad_input_is_one_line() {
    let says = |arguments: &str, code: i32, wanted: &str| {
        let output = conform(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(code), 1), "{arguments}: {text}");
        assert!(text.contains(wanted), "{arguments}: {text}");
    };
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/ip6-hop-limit/scenario.toml");
    says(&format!("--pcap /nonexistent.pcap -s {scenario}"), 1, "/nonexistent.pcap: cannot open it");
    says("-s /nonexistent.toml", 1, "/nonexistent.toml: cannot open it: No such file");
    says("--family 5", 2, "--family");
    says("--pcap a --seed 3", 2, "--pcap");
}
