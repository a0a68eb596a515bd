//! `warren conform` as a user runs it: generated frames through this kernel and through warren. Needs root.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use serde_json::Value;
use std::process::{Command, Output};

fn conform(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_warren")).arg("conform").args(arguments.split(' ')).output().unwrap()
}

/// What the program found when all was equal.
#[track_caller]
fn agree(arguments: &str) -> Value {
    // On a busy machine frames come late, and what the ICMP limiters allow goes by the clock.
    let mut output = conform(arguments);
    for _ in 0..2 {
        if output.status.success() {
            break;
        }
        output = conform(arguments);
    }
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn generated_frames_of_both_families() {
    for seed in [11, 12] {
        let found = agree(&format!("--generate 2000 --seed {seed} --json"));
        assert_eq!(found["differences"].as_array().unwrap().len(), 0);
        assert!(found["frames"].as_u64().unwrap() > 1800 && found["compared"].as_u64().unwrap() > 800);
        assert!(found["rules_hit"].as_object().unwrap().len() > 30, "{found}");
        assert_eq!(found["seed"], seed);
    }
}

#[test]
fn a_recorded_case_and_its_scenario() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/ip6-hop-limit");
    let found = agree(&format!("--pcap {folder}/in.pcapng -s {folder}/scenario.toml --json"));
    assert_eq!((&found["frames"], &found["compared"], &found["seed"]), (&6.into(), &6.into(), &Value::Null));
}

#[test]
fn bad_input_is_one_line() {
    let says = |arguments: &str, code: i32, wanted: &str| {
        let output = conform(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(code), 1), "{arguments}: {text}");
        assert!(text.contains(wanted), "{arguments}: {text}");
    };
    says("--pcap /nonexistent.pcap", 1, "/nonexistent.pcap: cannot open it");
    says("-s /nonexistent.toml", 1, "/nonexistent.toml: cannot open it: No such file");
    says("--family 5", 2, "--family");
    says("--pcap a --seed 3", 2, "--pcap");
}
