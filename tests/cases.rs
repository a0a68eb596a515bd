//! Every case of `pcaps/` through warren: the frames that leave each interface and the counters must be those that a
//! kernel had. A difference prints both frames decoded and the counters side by side.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod player;

use std::path::Path;
use warren::conform::{Case, Outcome, compare};

#[test]
fn warren_does_what_the_kernel_did() {
    let folders = Case::list(&Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps")).unwrap();
    assert!(folders.len() >= 40, "only {} cases are there", folders.len());
    let mut failures = Vec::new();
    for folder in &folders {
        let case = Case::read(folder).unwrap();
        let expected = Outcome::read(folder).unwrap();
        let actual = player::play(&case);
        let differences = compare(&case.scenario, &expected, &actual);
        if !differences.is_empty() {
            failures.push(format!("case {}:\n{differences}", case.name()));
        }
    }
    let (bad, all) = (failures.len(), folders.len());
    assert!(failures.is_empty(), "{}{bad} of {all} cases differ from the kernel", failures.join("\n"));
}
