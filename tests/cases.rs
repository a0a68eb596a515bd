//! Every case of `pcaps/` through warren, with its fast path and without: the frames that leave each interface and the
//! counters must be those that a kernel had. A difference prints both frames decoded and the counters side by side.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::path::Path;
use warren::conform::{Case, Outcome, compare, userspace};

fn all_cases(full_only: bool) {
    let folders = Case::list(&Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps")).unwrap();
    assert!(folders.len() >= 40, "only {} cases are there", folders.len());
    let mut failures = Vec::new();
    for folder in &folders {
        let case = Case::read(folder).unwrap();
        let expected = Outcome::read(folder).unwrap();
        let actual = userspace::play(&case.scenario, &folder.join("scenario.toml"), &case.frames, full_only);
        let differences = compare(&case.scenario, &expected, &actual.unwrap().0);
        if !differences.is_empty() {
            failures.push(format!("case {}:\n{differences}", case.name()));
        }
    }
    let (bad, all) = (failures.len(), folders.len());
    assert!(failures.is_empty(), "{}{bad} of {all} cases differ from the kernel", failures.join("\n"));
}

#[test]
fn warren_does_what_the_kernel_did() {
    all_cases(false);
}

#[test]
fn the_full_path_alone_does_too() {
    all_cases(true);
}
