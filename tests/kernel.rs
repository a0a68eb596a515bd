//! Every case of `pcaps/` on the running kernel once more: what it does now must be what was recorded. A newer kernel
//! shows by name where it drifts. Needs root.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use warren::conform::{Case, KernelBox, Outcome, compare};

/// A case that differs is played again: on a busy machine frames come late, which moves what the kernel's ICMP limiters
/// allow. A kernel that drifted differs every time.
const ATTEMPTS: usize = 3;
/// Cases mostly wait, so several are played at a time.
const AT_A_TIME: usize = 4;

/// What differs between the recorded outcome and the kernel's now; empty if nothing does.
fn drift(folder: &Path, player: usize) -> String {
    let case = Case::read(folder).unwrap();
    let recorded = Outcome::read(folder).unwrap();
    let mut found = String::new();
    for _ in 0..ATTEMPTS {
        let name = format!("warren-t-kernel-{}-{player}", std::process::id());
        let mut kernel = KernelBox::build(&name, &case.scenario).unwrap();
        let (now, _) = kernel.play(&case.frames).unwrap();
        let differences = compare(&case.scenario, &recorded, &now);
        if differences.is_empty() {
            return String::new();
        }
        found = format!(
            "case {} (\"kernel\" is the record, \"warren\" this kernel):\n{differences}",
            case.name()
        );
    }
    found
}

#[test]
fn this_kernel_does_what_was_recorded() {
    assert!(rustix::process::geteuid().is_root(), "needs root, for network namespaces: sudo -E cargo test");
    let folders: Vec<PathBuf> = Case::list(&Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps")).unwrap();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for player in 0..AT_A_TIME {
            let (folders, next, found) = (&folders, &next, &found);
            scope.spawn(move || {
                while let Some(folder) = folders.get(next.fetch_add(1, Ordering::Relaxed)) {
                    found.lock().unwrap().push(drift(folder, player));
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    assert!(!folders.is_empty() && found.len() == folders.len());
    let drifted: Vec<&String> = found.iter().filter(|text| !text.is_empty()).collect();
    let text = drifted.iter().map(|text| text.as_str()).collect::<Vec<_>>().join("\n");
    assert!(drifted.is_empty(), "{text}{} of {} cases drifted", drifted.len(), folders.len());
}
