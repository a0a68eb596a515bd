//! The project's own files, as text and as bare code: what the tests about the source itself read.
//!
//! Invariant: [`code`] keeps every line where it was, so a line number found in bare code is right in the file.
//! Called by `tests/layers.rs` and `tests/tidy.rs`; both use every function here.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Paths of the project's files, relative to [`root`], sorted: what git tracks or would add.
/// Without git (a source archive) every file counts except those under `target/` and `.git/`.
pub(crate) fn files() -> Vec<String> {
    let git = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut found: Vec<String> = match git {
        Ok(out) if out.status.success() && root().join(".git").exists() => {
            String::from_utf8(out.stdout).unwrap().split_terminator('\0').map(String::from).collect()
        }
        _ => walk(root()).iter().map(|p| p.strip_prefix(root()).unwrap().to_str().unwrap().into()).collect(),
    };
    found.retain(|path| root().join(path).is_file()); // git still lists a file that was just deleted
    found.sort();
    found.dedup();
    assert!(found.iter().any(|path| path == "src/lib.rs"), "{} is not warren's source", root().display());
    found
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            found.push(path);
        } else if !path.ends_with("target") && !path.ends_with(".git") {
            found.extend(walk(&path));
        }
    }
    found
}

/// The Rust source `text` with comments and the insides of literals blanked, line by line as before.
pub(crate) fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            '\'' => character(rest),
            'r' | 'b' | 'c' if !word => raw_string(rest),
            _ => 0,
        };
        let (blank, keep) = if skipped > 0 { rest.split_at(skipped) } else { ("", rest) };
        out.extend(blank.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = keep;
        if skipped == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// Length of the (nesting) block comment that `text` starts with.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Length of the string literal that `text` starts with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of the character literal that `text` starts with; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => chars.find(|(_, c)| *c == '\'').map_or(text.len(), |(at, _)| at + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// Length of the raw string literal (`r"`, `br#"`, `cr##"`...) that `text` starts with; 0 if it is none.
fn raw_string(text: &str) -> usize {
    let body = text.trim_start_matches(['b', 'c']);
    let Some(hashes) = body.strip_prefix('r').map(|rest| rest.len() - rest.trim_start_matches('#').len())
    else {
        return 0;
    };
    let open = text.len() - body.len() + 1 + hashes;
    if !text[open..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    text[open + 1..].find(&close).map_or(text.len(), |at| open + 1 + at + close.len())
}

#[test]
fn code_blanks_comments_and_literals_only() {
    let blanked = [
        "// crate::a",
        "/* crate::a /* nested */ crate::b */",
        r#""crate::a \" crate::b""#,
        r##"r#"crate::a " crate::b"#"##,
        r#"b"crate::a""#,
        "'\"'",
        r"'\''",
        "'é'",
    ];
    for text in blanked {
        let bare = code(&format!("x {text}\n;y"));
        assert_eq!(bare.split_whitespace().collect::<String>().replace('b', ""), "x;y", "{text}");
    }
    for text in ["fn f<'a>(x: &'a str) {}", "r#type", "bar(a / b)", "attr(b)"] {
        assert_eq!(code(text), text);
    }
    assert_eq!(code("a /* \n */\nb").lines().count(), 3);
}
