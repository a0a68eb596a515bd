//! `warren conform` as a user runs it: drawn routers and frames through this kernel and through warren. Needs root.
//!
//! `WARREN_CONFORM_SEED` and `WARREN_CONFORM_FRAMES` choose other or longer runs of both grammars,
//! `WARREN_CONFORM_FLOWS` how many flows each multipath policy of both families is asked for. A run of a million frames must also meet each
//! rule of `docs/ipv4.md` or `docs/ipv6.md` often enough; a shorter one prints those that it does not.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod page;

use serde_json::{Map, Value};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use warren::conform::run::{Found, Plan};
use warren::conform::{Boxes, Several, flows};
use warren::control::netlink::Family;

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
fn many_routers(family: &str, rules: &[&str], most: usize) {
    let (seed, frames) = (setting("WARREN_CONFORM_SEED", 1), setting("WARREN_CONFORM_FRAMES", 20_000));
    println!("seed {seed}, {frames} frames");
    let found = agree(&format!("--generate {frames} --seed {seed} --family {family} --json"));
    assert_eq!((&found["frames"], &found["seed"]), (&frames.into(), &seed.into()));
    let number = |value: &Value| value.as_u64().unwrap();
    for (mask, count) in found["masked"].as_object().unwrap() {
        // Two bytes of every ICMPv4 message of a kernel's own are random: many frames, and few bytes of each.
        let most = if mask == "identification" { frames / 5 } else { frames / 50 };
        assert!(number(count) <= most, "{mask} touches {count} of {frames} frames");
    }
    let hidden: u64 = found["masked_bytes"].as_object().unwrap().values().map(number).sum();
    println!("masks hide {hidden} of {} bytes", found["bytes"]);
    assert!(hidden * 50 <= number(&found["bytes"]), "masks hide {hidden} of {} bytes", found["bytes"]);
    let refused = found["refused"].as_array().unwrap().len() as u64;
    assert!(refused * 20 <= found["boxes"].as_u64().unwrap(), "{}", found["refused"]);
    let hit = found["rules_hit"].as_object().unwrap();
    for rule in rules {
        assert!(hit.contains_key(*rule), "{rule}: {hit:?}");
    }
    assert!(hit.len() > most, "{}: {hit:?}", hit.len());
    let families: &[&str] = match family {
        "both" => &[],
        "4" => &["ipv4"],
        _ => &["ipv6"],
    };
    let seldom: Vec<String> = families.iter().flat_map(|page| seldom(page, hit, frames)).collect();
    println!("met less than {OFTEN} times in a million frames:\n{}", seldom.join("\n"));
    assert!(frames < LONG || seldom.is_empty(), "{} rules are not met often enough", seldom.len());
}

/// A run of so many frames meets every rule so often in a million, but for those that the page calls rare.
const LONG: u64 = 1_000_000;
const OFTEN: u64 = 100;

/// Names of a family's page that a run met too seldom, each with how often.
fn seldom(family: &str, rules: &Map<String, Value>, frames: u64) -> Vec<String> {
    let rows = page::read(family);
    let met = |name: &str| rules.get(name).and_then(Value::as_u64).unwrap_or(0);
    let few = page::often(&rows).into_iter().filter(|name| met(name) * LONG < OFTEN * frames);
    few.map(|name| format!("{:>8}  {name}", met(name))).collect()
}

/// Flows of a family, through routers that have several next hops for all, for every policy.
#[track_caller]
fn every_flow(family: Family) {
    let (seed, wanted) = (setting("WARREN_CONFORM_SEED", 1), setting("WARREN_CONFORM_FLOWS", 4000));
    println!("seed {seed}, {wanted} flows a policy");
    let several = [Several::Legs, Several::Group, Several::Resilient];
    for policy in 0..4 {
        let (mut done, mut number) = (0, 0);
        while done < wanted {
            let kind = several[number as usize % several.len()];
            let (scenario, frames) =
                flows(family, (seed, number * 4 + u64::from(policy)), (policy, kind), 2000);
            let plan = Plan {
                seed,
                frames: frames.len(),
                first: 0,
                boxes_max: u64::MAX,
                boxes: Boxes::Turns,
                scenario: Some((PathBuf::from("flows"), scenario)),
                given: Some(frames),
                keep_going: false,
                as_drawn: false,
                itself: false,
                stop: &AtomicBool::new(false),
            };
            let mut found = Found::default();
            plan.play(&mut found, |_| Ok(())).unwrap();
            if let Some(differing) = found.differing.first() {
                panic!("{family:?}, policy {policy}, {kind:?}, box {number}: {differing}");
            }
            let of_policy = |name: &str| name.starts_with(&format!("multipath policy: {policy}, "));
            let chosen =
                found.rules.iter().filter(|(name, _)| of_policy(name)).map(|(_, count)| count).sum::<u64>();
            assert!(chosen > 800, "{:?}", found.rules);
            (done, number) = (done + chosen, number + 1);
        }
        println!("{family:?}, policy {policy}: {done} flows");
    }
}

#[test]
fn every_ip4_flow_takes_the_kernels_next_hop() {
    every_flow(Family::V4);
}

#[test]
fn every_ip6_flow_takes_the_kernels_next_hop() {
    every_flow(Family::V6);
}

#[test]
fn ip6_of_many_routers() {
    let bucket = "next hop: bucket of a resilient group";
    many_routers("6", &["route: unicast", "route: none", "redirect", "ICMPv6 3/0", bucket], 80);
}

#[test]
fn ip4_of_many_routers() {
    let cut = "packet cut into fragments";
    many_routers(
        "4",
        &["route: unicast", "route: none", "redirect due", "ICMP 11/0", cut, "V4ReversePath"],
        150,
    );
}

#[test]
fn both_families_through_the_same_routers() {
    many_routers("both", &["route: unicast", "route: none", "redirect due", "ICMP 11/0", "ICMPv6 3/0"], 140);
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
    let seen = (0..1000).any(|_| {
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
fn a_killed_run_is_cleared_up_after_and_a_wait_can_be_ended() {
    // Two frames, an hour apart: as a capture may have them.
    let folder = tempfile::tempdir().unwrap();
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/ip6-hop-limit");
    let mut frames = warren::conform::read_frames(&Path::new(recorded).join("in.pcapng")).unwrap();
    frames.truncate(2);
    frames[1].time += 3_600_000_000_000;
    let long = folder.path().join("long.pcapng");
    warren::conform::write_frames(&long, ["p0", "p1"].into_iter(), &frames, None).unwrap();
    let arguments = format!("--pcap {} -s {recorded}/scenario.toml", long.display());
    let start = || {
        let child = command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let seen = (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            namespaces(&child) == 2
        });
        assert!(seen, "no namespaces were made");
        child
    };
    let mut killed = start();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(namespaces(&killed), 2);
    let mut ended = start();
    assert_eq!(namespaces(&killed), 0, "the next run clears up");
    let id = rustix::process::Pid::from_raw(ended.id() as i32).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!((ended.wait().unwrap().code(), namespaces(&ended)), (Some(1), 0));
}

#[test]
fn a_box_alone_is_one_box() {
    let found = agree("--family 6 --seed 7 --box 3 --json");
    assert_eq!(found["boxes"], 1);
    assert!(found["frames"].as_u64().unwrap() > 100, "{}", found["frames"]);
}

/// Runs as a user without privilege, who can reach the program nowhere but in a folder of everybody's.
fn as_nobody(arguments: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = folder.path().join("warren");
    std::fs::copy(env!("CARGO_BIN_EXE_warren"), &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program).arg("conform");
    command.args(arguments.split(' ')).current_dir(folder.path()).output().unwrap()
}

#[test]
fn without_root_it_runs_in_a_user_namespace_or_says_what_forbids_it() {
    let output = as_nobody("--generate 800 --seed 3 --family 6");
    let (said, found) =
        (String::from_utf8(output.stderr).unwrap(), String::from_utf8(output.stdout).unwrap());
    if output.status.success() {
        assert!(found.contains("the same bytes and counters from the kernel and from warren"), "{found}");
    } else {
        println!("user namespaces are forbidden here");
        assert!(found.is_empty() && said.contains("or allow user namespaces: sysctl -w "), "{said}{found}");
    }
}

/// A capture of the old format, with one frame of four bytes.
const CLASSIC: &[u8] = &[
    0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0,
    0, // the file's header
    0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4,
];

#[test]
fn bad_input_is_one_line() {
    let says = |arguments: &str, code: i32, wanted: &str| {
        let output = conform(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(code), 1), "{arguments}: {text}");
        assert!(text.contains(wanted), "{arguments}: {text}");
    };
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/ip6-hop-limit/scenario.toml");
    let folder = tempfile::tempdir().unwrap();
    says(&format!("--pcap /nonexistent.pcap -s {scenario}"), 1, "/nonexistent.pcap: cannot open it");
    let classic = folder.path().join("classic.pcap");
    std::fs::write(&classic, CLASSIC).unwrap();
    let given = format!("--pcap {} -s {scenario}", classic.display());
    says(&format!("{given} --in p9"), 1, "no link named \"p9\" in the scenario; there are: ");
    says(&given, 1, "classic.pcap: packet 1: no link carries 4 bytes: leave it out");
    let broken = folder.path().join("broken.toml");
    std::fs::write(&broken, "link = [{ name = \"p0\" }]\nroute = [{ dst = \"10.0.0.0/8\", dev = \"p7\" }]\n")
        .unwrap();
    says(&format!("-s {}", broken.display()), 1, "broken.toml: route 1 (10.0.0.0/8): ");
    says("-s /nonexistent.toml", 1, "/nonexistent.toml: cannot open it: No such file");
    says("--family 5", 2, "--family");
    says("--generate 0", 2, "compares nothing");
    let empty = folder.path().join("empty.toml");
    std::fs::write(&empty, "").unwrap();
    says(&format!("-s {}", empty.display()), 1, "no frame can be sent to such a router");
    says("--generate 1 --save /proc/none", 1, "cannot make /proc/none");
    says("--pcap a --seed 3", 2, "--pcap");
}
