//! `warren capture`: what passes on an interface, with the reason of each drop, while warren forwards.

use crate::lab::{B4, B6, Lab, run, try_run};
use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};
use warren::port::capture::{Direction, Reader};

/// Direction, the first byte of the IP header, and comment of each packet.
fn read(path: &Path) -> Vec<(Direction, u8, String)> {
    let mut reader = Reader::open(path).unwrap();
    let mut all = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap();
        all.push((packet.direction.unwrap(), packet.bytes[14], packet.comment.to_owned()));
    }
    all
}

/// Waits until the capture runs: its file begins then.
fn begun(file: &Path) {
    wait("the capture never began", || std::fs::metadata(file).is_ok_and(|m| m.len() > 0));
}

fn wait(otherwise: &str, until: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !until() {
        assert!(Instant::now() < end, "{otherwise}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn frames_and_reasons_are_captured_until_a_signal() {
    let lab = Lab::new("capture");
    let _warren = lab.warren("");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seen.pcapng");
    let mut capture = lab.start(&format!("capture r0 --json -w {}", file.display()));
    begun(&file);
    lab.ping(3, B4);
    lab.ping(3, B6);
    let (ok, said) = try_run(&lab.a, &format!("ping -c 1 -t 1 -W 2 {B4}"));
    assert!(!ok && said.contains("Time to live exceeded"), "{said}");
    let busy = lab.start("capture r1 -w /dev/null").end();
    assert_eq!(busy.0, Some(1));
    assert!(busy.1.contains("another capture is running"), "{}", busy.1);
    capture.signal(Signal::INT);
    let (code, said) = capture.end();
    assert_eq!(code, Some(0), "{said}");
    let seen = read(&file);
    let count = |direction, version: u8| {
        seen.iter().filter(|(d, byte, _)| (*d, byte >> 4) == (direction, version)).count()
    };
    // Four requests and three replies, and the error that warren sent; the other family has no error.
    assert_eq!((count(Direction::In, 4), count(Direction::Out, 4)), (4, 4), "{seen:?}");
    assert_eq!((count(Direction::In, 6), count(Direction::Out, 6)), (3, 3), "{seen:?}");
    let dropped: Vec<_> = seen.iter().filter(|(.., comment)| !comment.is_empty()).collect();
    assert_eq!(dropped.len(), 1);
    assert!(dropped[0].2.starts_with("dropped: V4Ttl: "), "{}", dropped[0].2);
    assert_eq!(said, r#"{"dropped":1,"received":7,"sent":7}"#);
    // Others' tools read the file.
    let lines = run(&lab.a, &format!("tcpdump -nr {}", file.display()));
    assert_eq!(lines.lines().filter(|l| l.contains("ICMP")).count(), 14, "{lines}");
}

#[test]
fn a_capture_ends_by_itself_after_so_many_frames() {
    let lab = Lab::new("count");
    let _warren = lab.warren("");
    let mut capture = lab.start("capture r1 -c 2 -w /dev/null");
    std::thread::scope(|s| {
        s.spawn(|| run(&lab.a, &format!("ping -c 20 -i 0.05 {B4}")));
        assert_eq!(capture.end(), (Some(0), "r1: 1 frames received, 0 of them dropped, 1 sent".to_owned()));
    });
    let (code, said) = lab.start("capture nowhere -w /dev/null").end();
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no interface nowhere"), "{said}");
}

#[test]
fn a_capture_that_the_router_did_not_outlive_is_a_failure() {
    let lab = Lab::new("outlive");
    let mut warren = lab.warren("");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seen.pcapng");
    let mut capture = lab.start(&format!("capture r0 -w {}", file.display()));
    begun(&file);
    lab.ping(1, B4);
    // The reply is captured beside its being sent: who pings may have it first.
    wait("the reply was never captured", || read(&file).len() == 2);
    warren.child.kill().unwrap();
    let (code, said) = capture.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("warren: the running warren has ended"), "{said}");
    assert_eq!(read(&file).len(), 2, "what came is written");
    warren.child.wait().unwrap();
}
