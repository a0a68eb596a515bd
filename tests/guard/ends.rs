//! How the guard ends: by itself when it is not renewed, with its value, and with its process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use warren::control::guard::Guard;
use warren::sys::bpf::{Hook, programs_at};

use crate::gate::Gate;
use crate::net::{Space, index, ipv4, run};

fn new(form: &str) -> Guard {
    if form == "tcx" { Guard::tcx(&[]) } else { Guard::nft(&[]) }.unwrap()
}

/// What the kernel still holds of guards in this namespace.
fn traces() -> usize {
    let tables = run("nft list tables").matches("netdev warren-").count();
    tables + programs_at(Hook::TcxIngress, index("p0")).unwrap().len()
}

#[test]
fn it_stands_aside_one_second_after_the_last_renewal() {
    for form in ["tcx", "nft"] {
        Space::new(&format!("lease-{form}")).enter(|| {
            let transit = ipv4("10.1.2.3", &[], 46);
            let mut gate = Gate::build();
            let mut guard = new(form);
            guard.attach(index("p0")).unwrap();
            assert!(gate.passes(&transit), "{form}: not renewed yet");
            // Renewed for longer than the lease: each renewal counts, not only the first.
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(1500) {
                guard.renew().unwrap();
                assert!(!gate.passes(&transit), "{form}: renewed");
                std::thread::sleep(Duration::from_millis(100));
            }
            std::thread::sleep(Duration::from_millis(1100));
            assert!(gate.passes(&transit), "{form}: renewed more than a second ago");
            guard.renew().unwrap();
            assert!(!gate.passes(&transit), "{form}: renewed again");
            guard.stand_aside().unwrap();
            assert!(gate.passes(&transit), "{form}: told to stand aside");
            guard.renew().unwrap();
            assert!(!gate.passes(&transit), "{form}: and to come back");
            drop(guard);
            assert!(gate.passes(&transit), "{form}: dropped");
            assert_eq!(traces(), 0, "{form}");
        });
    }
}

#[test]
fn it_goes_with_its_process() {
    if let Ok(form) = std::env::var("WARREN_TEST_OWNER") {
        return own(&form);
    }
    for form in ["tcx", "nft"] {
        Space::new(&format!("kill-{form}")).enter(|| {
            let mut gate = Gate::build();
            let mut owner = Owner::start(form);
            assert!(!gate.passes(&ipv4("10.1.2.3", &[], 46)), "{form}: the owner renews");
            assert_eq!(traces(), 1, "{form}");
            owner.0.kill().unwrap(); // SIGKILL
            owner.0.wait().unwrap();
            let begin = Instant::now();
            while traces() != 0 {
                assert!(begin.elapsed() < Duration::from_secs(5), "{form}: outlives its owner");
            }
            assert!(gate.passes(&ipv4("10.1.2.3", &[], 46)), "{form}: the owner is dead");
        });
    }
}

/// Root of a user namespace may use nftables but not bpf(2), as in a container.
#[test]
fn nftables_stand_in_where_bpf_is_refused() {
    if std::env::var("WARREN_TEST_CONTAINED").is_ok() {
        return contained();
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net"])
        .arg(program)
        .args(["--exact", "ends::nftables_stand_in_where_bpf_is_refused", "--nocapture"])
        .env("WARREN_TEST_CONTAINED", "1")
        .output()
        .expect("install util-linux");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// What `nftables_stand_in_where_bpf_is_refused` starts without the right to bpf(2).
fn contained() {
    let mut gate = Gate::build();
    let mut guard = Guard::new(&[]).unwrap();
    let reason = guard.fallback_reason().expect("bpf(2) is refused here");
    assert!(reason.contains("bpf: cannot"), "{reason}");
    guard.attach(index("p0")).unwrap();
    guard.renew().unwrap();
    assert!(!gate.passes(&ipv4("10.1.2.3", &[], 46)));
    drop(guard);
    assert!(gate.passes(&ipv4("10.1.2.3", &[], 46)));
}

#[test]
fn tcx_is_preferred() {
    assert_eq!(Guard::new(&[]).unwrap().fallback_reason(), None);
}

/// This test program once more, running only `own`, in the namespace of the calling thread.
struct Owner(Child);

impl Owner {
    fn start(form: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ends::it_goes_with_its_process", "--nocapture"])
            .env("WARREN_TEST_OWNER", form)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let owner = Self(child);
        assert!(
            lines.any(|line| line.unwrap() == "guarding"),
            "{form}: the owner could not set up its guard"
        );
        owner
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process that `it_goes_with_its_process` starts and kills.
fn own(form: &str) {
    let mut guard = new(form);
    guard.attach(index("p0")).unwrap();
    guard.renew().unwrap();
    println!("\nguarding");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(60) {
        guard.renew().unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
}
