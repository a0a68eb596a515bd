//! `warren demo` as a user runs it: it succeeds, says so in both forms, and leaves nothing behind.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Its namespaces have fixed names, so one demo runs at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command.arg("demo").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

fn left_behind() -> Vec<&'static str> {
    let names = ["warren-demo-a", "warren-demo-r", "warren-demo-b"];
    names.into_iter().filter(|name| Path::new("/run/netns").join(name).exists()).collect()
}

#[test]
fn it_shows_a_router_at_work() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let output = demo(&["--json"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true, "{report:#}");
    assert!(report["gap_ms"].as_f64().unwrap() > 0.0);
    let steps = report["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["ok"] == true && step["hint"].is_null()), "{report:#}");
    let names: Vec<&str> = steps.iter().map(|step| step["what"].as_str().unwrap()).collect();
    for expected in ["take over", "traceroute IPv6", "path MTU IPv4", "copy IPv6 b to a", "kill -9 warren"] {
        assert!(names.contains(&expected), "{names:?} lacks {expected}");
    }
    assert_eq!(left_behind(), [""; 0]);
}

#[test]
fn an_interrupt_ends_it_and_cleans_up() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let child = demo(&[]).spawn().unwrap();
    let begin = Instant::now();
    while left_behind().len() < 3 {
        assert!(begin.elapsed() < Duration::from_secs(10), "no namespaces are made");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("interrupted"), "{}", text(&output));
    assert!(!text(&output).contains('\x1b'), "colours only on a terminal");
    assert_eq!(left_behind(), [""; 0]);
}
