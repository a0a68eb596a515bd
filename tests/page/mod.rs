//! The tables of rules in `docs/`, one for each family: a row is a rule, the names under which it is counted, its proofs.
//!
//! Invariant: a line that begins like a row and is none stops the reader. Read by `tests/rules.rs`, `tests/conform.rs` and
//! `tests/faults/`, each of which needs its part.

#![allow(dead_code)] // see above

use std::path::Path;

/// The section of rules that are not kept; their last cell says what differs.
const DIFFERENCES: &str = "Where warren differs";

/// One rule.
pub(crate) struct Row {
    pub id: String,
    pub rfc: String,
    pub function: String,
    /// Names in `rules_hit`.
    pub names: Vec<String>,
    /// Drawn frames seldom meet it.
    pub rare: bool,
    /// What the cell of names says besides.
    pub remark: String,
    pub proofs: Vec<String>,
    /// Kept, as all rules are but those that a section of its own lists.
    pub kept: bool,
}

/// The rows of `docs/<family>.md`, in order.
pub(crate) fn read(family: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/{family}.md"));
    rows(&std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The rows of a page.
pub(crate) fn rows(text: &str) -> Vec<Row> {
    let (mut found, mut kept) = (Vec::new(), true);
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            kept = title != DIFFERENCES;
        }
        let Some(line) = line.strip_prefix("| ").and_then(|line| line.strip_suffix('|')) else { continue };
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [id, _, rfc, function, names, proofs] = cells[..] else { panic!("not six cells: {line}") };
        if id == "id" {
            continue;
        }
        let (remark, names) = quoted(names);
        let rare = remark.contains("rare:");
        let (id, rfc, function) = (id.to_owned(), rfc.to_owned(), function.to_owned());
        found.push(Row { id, rfc, function, names, rare, remark, proofs: quoted(proofs).1, kept });
    }
    found
}

/// Names that drawn frames are to meet: those that some row does not call rare.
pub(crate) fn often(rows: &[Row]) -> std::collections::BTreeSet<&str> {
    rows.iter().filter(|row| row.kept && !row.rare).flat_map(|row| &row.names).map(String::as_str).collect()
}

/// What stands outside of back quotes, and each thing inside.
fn quoted(cell: &str) -> (String, Vec<String>) {
    let parts: Vec<&str> = cell.split('`').collect();
    assert!(parts.len() % 2 == 1, "an odd number of back quotes: {cell}");
    let outside: Vec<&str> = parts.iter().step_by(2).map(|part| part.trim()).collect();
    (outside.concat(), parts.iter().skip(1).step_by(2).map(|&part| part.to_owned()).collect())
}
