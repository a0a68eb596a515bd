//! Records cases: plays each on the running kernel and writes what it sent and counted into the case's folder.
//! Run through `tests/record CASE...`; without a name all cases are recorded. Needs root.

use anyhow::{Context, Result};
use std::path::Path;
use warren::conform::{Case, KernelBox, MASKS};

fn main() -> Result<()> {
    let pcaps = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps");
    let named: Vec<String> = std::env::args().skip(1).collect();
    let folders = match named.as_slice() {
        [] => Case::list(&pcaps)?,
        names => names.iter().map(|name| pcaps.join(name)).collect(),
    };
    for folder in &folders {
        let case = Case::read(folder)?;
        let record = || -> Result<()> {
            let mut kernel =
                KernelBox::build(&format!("warren-record-{}", std::process::id()), &case.scenario)?;
            let (outcome, masked) = kernel.play(&case.frames)?;
            outcome.write(folder, case.scenario.link.iter().map(|link| link.name.as_str()))?;
            let (sent, got) = (case.frames.len(), outcome.frames.len());
            print!("{}: {sent} frames in, {got} out", case.name());
            let left_out: Vec<String> =
                masked.0.iter().map(|(kind, hidden)| format!("{} {kind}", hidden.frames)).collect();
            let also = if left_out.is_empty() { "" } else { "; taken out: " };
            println!("{also}{}", left_out.join(", "));
            Ok(())
        };
        record().with_context(|| format!("case {}", case.name()))?;
    }
    println!("comparisons leave out:");
    MASKS.iter().for_each(|(mask, why)| println!("- {mask} {why}"));
    Ok(())
}
