//! Imports go downwards only: the floors of ARCHITECTURE.md, held against every path in `src/` and `fib/`.
//!
//! Invariant: [`FLOORS`] is the one list of top-level modules; a new module is declared there and in the figure.
//! The scanner reads tokens, not types: `use` trees, inline paths, `crate::`, `warren::` and `super::` chains.
#![allow(clippy::unwrap_used, clippy::panic)] // a file that cannot be read must fail the test

mod common;

/// The floors, lowest first. A module may import from any floor below its own. Within a floor `a < b` lets
/// `b` import from `a`, and modules on different sides of `|` know nothing of each other.
const FLOORS: [&str; 7] = [
    "fib", // the crate warren-fib
    "wire < sys < stats < drop",
    "frame < sysctl < iface < neigh < state",
    "forward | port",
    "host | worker | control", // worker and control meet only in objects that main makes
    "scenario < conform | telemetry",
    "cli < main",
];

/// What code under `#[cfg(test)]` (or in a file `tests.rs`) may import besides: in-memory ports to send through,
/// and the scenario reader to describe a box. All else it needs must lie below it, as for any code.
const ALSO_IN_TESTS: [&str; 2] = ["port", "scenario"];

/// One word or sign of the source. `test`: it belongs to an item under `#[cfg(test)]`.
struct Token {
    text: String,
    line: usize,
    test: bool,
}

/// A path found in a file: the top-level module that it names.
struct Import {
    module: String,
    line: usize,
    test: bool,
}

fn words(floor: &str) -> Vec<&str> {
    floor.split(['<', '|', ' ']).filter(|word| !word.is_empty()).collect()
}

/// Floor of `module`, if it is declared.
fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| words(floor).contains(&module))
}

/// May `from` import `to`? `Err` says why not.
fn allowed(from: &str, to: &str, test: bool) -> Result<(), String> {
    let undeclared = |name: &str| {
        format!(
            "`{name}` is no declared module: put it on its floor in FLOORS (tests/layers.rs) and in ARCHITECTURE.md"
        )
    };
    let source = floor_of(from).ok_or_else(|| undeclared(from))?;
    let target = floor_of(to).ok_or_else(|| undeclared(to))?;
    if from == to || target < source || (test && ALSO_IN_TESTS.contains(&to)) {
        return Ok(());
    }
    if target > source {
        return Err(format!("`{from}` (floor {source}) imports upwards from `{to}` (floor {target})"));
    }
    let ordered = FLOORS[source].split('|').any(|side| {
        let place = |name| words(side).iter().position(|word| *word == name);
        place(to).zip(place(from)).is_some_and(|(to, from)| to < from)
    });
    if ordered {
        Ok(())
    } else {
        Err(format!("`{from}` imports sideways from `{to}` (both on floor {source})"))
    }
}

/// Module path of a file: `src/forward/ip6/mod.rs` is `[forward, ip6]`, `src/lib.rs` is `[]`, all of fib is `[fib]`.
fn module_path(file: &str) -> Vec<String> {
    let Some(inside) = file.strip_prefix("src/") else { return vec!["fib".into()] };
    let mut path: Vec<String> = inside.trim_end_matches(".rs").split('/').map(String::from).collect();
    if path.last().is_some_and(|name| name == "mod" || name == "lib") {
        path.pop();
    }
    path
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    for (index, line) in common::code(text).lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()) {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                word => word,
            };
            let (text, tail) = rest.split_at(length);
            found.push(Token { text: text.into(), line: index + 1, test: false });
            rest = tail.trim_start();
        }
    }
    mark_tests(&mut found);
    found
}

/// Marks the items under `#[cfg(test)]`, or all that follows `#![cfg(test)]`.
fn mark_tests(tokens: &mut [Token]) {
    let starts = |tokens: &[Token], head: &[&str]| {
        tokens.len() >= head.len() && tokens.iter().zip(head).all(|(token, word)| token.text == *word)
    };
    let mut at = 0;
    while at < tokens.len() {
        let rest = &mut tokens[at..];
        let whole_file = starts(rest, &["#", "!", "[", "cfg", "(", "test", ")"]);
        let item = starts(rest, &["#", "[", "cfg", "(", "test", ")"])
            || starts(rest, &["#", "[", "cfg", "(", "all", "(", "test", ","]);
        let length = if whole_file {
            rest.len()
        } else if item {
            item_length(rest)
        } else {
            0
        };
        rest[..length].iter_mut().for_each(|token| token.test = true);
        at += length.max(1);
    }
}

/// Tokens of the item that `tokens` starts with, its attributes included.
fn item_length(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" if depth == 0 => return at, // the last field or arm of what encloses it
            "}" if depth == 1 => return at + 1,
            "}" | ")" | "]" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Every top-level module that `text`, the file at `file`, names by a path from the crate's root.
fn imports(file: &str, text: &str) -> Vec<Import> {
    let tokens = tokens(text);
    let test_file = file.ends_with("/tests.rs") || file.contains("/tests/");
    let mut above = module_path(file).len(); // modules between here and the root, `mod name { .. }` blocks included
    let mut depth = 0_usize;
    let mut blocks = Vec::new(); // depths at which those blocks opened
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                if at >= 2 && tokens[at - 2].text == "mod" {
                    blocks.push(depth);
                    above += 1;
                }
            }
            "}" => {
                if blocks.pop_if(|block| *block == depth).is_some() {
                    above -= 1;
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        let in_fib = !file.starts_with("src/"); // there `crate` and `super` never leave the module `fib`
        if let Some(rest) = from_root(&tokens, at, above).filter(|_| !in_fib || token.text == "warren") {
            let test = token.test || test_file;
            found.extend(heads(rest).into_iter().map(|module| Import { module, line: token.line, test }));
        }
    }
    found
}

/// If a path leads to the crate's root at `at` (in a module that lies `above` steps below it): what follows.
fn from_root(tokens: &[Token], at: usize, above: usize) -> Option<&[Token]> {
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut after = at + 1;
    match word(at) {
        "crate" | "warren" => {}
        "super" if at < 2 || word(at - 2) != "super" => {
            while word(after) == "::" && word(after + 1) == "super" {
                after += 2;
            }
            let steps = (after - at).div_ceil(2);
            if steps < above {
                return None;
            }
        }
        _ => return None,
    }
    matches!(word(after), "::" | "as").then_some(&tokens[after..])
}

/// First names of the path or use tree that `tokens` goes on with: `::{a, b::{c, d}}` gives a and b.
fn heads(tokens: &[Token]) -> Vec<String> {
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    if word(0) == "as" {
        return vec!["*".into()]; // the root under another name would hide what is imported
    }
    if word(1) != "{" {
        return vec![word(1).into()];
    }
    let mut depth = 0_usize;
    let mut names = Vec::new();
    for at in 1..tokens.len() {
        match word(at) {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            _ => {}
        }
        let starts_name = matches!(word(at), "{" | ",") && depth == 1 && !matches!(word(at + 1), "}" | ",");
        if starts_name {
            names.push(word(at + 1).into());
        }
    }
    names
}

/// Every import of the file that goes the wrong way, as `file:line: why`.
fn faults(file: &str, text: &str) -> Vec<String> {
    let path = module_path(file);
    let Some(module) = path.first() else { return Vec::new() }; // lib.rs only declares
    let mut found: Vec<String> = Vec::new();
    if let Err(why) = allowed(module, module, false) {
        found.push(format!("{file}:1: {why}"));
    }
    for import in imports(file, text) {
        if let Err(why) = allowed(module, &import.module, import.test) {
            found.push(format!("{file}:{}: {why}", import.line));
        }
    }
    found
}

#[test]
fn imports_go_downwards() {
    let mut scanned = 0;
    let mut found = Vec::new();
    for file in common::files() {
        let ours = file.starts_with("src/") || file.starts_with("fib/");
        if ours && file.ends_with(".rs") {
            scanned += 1;
            found.extend(faults(&file, &std::fs::read_to_string(common::root().join(&file)).unwrap()));
        }
    }
    assert!(scanned > 0, "no source file was read");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The floors drawn in ARCHITECTURE.md: the fenced block whose lines are `FLOOR <n>  <names>`, `#` starting a remark.
fn drawn_floors(text: &str) -> Vec<(usize, Vec<String>)> {
    let block = text.split("```").skip(1).step_by(2).find_map(|block| {
        let body = block.split_once('\n')?.1;
        body.trim_start().starts_with("FLOOR").then_some(body)
    });
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        words.next().filter(|word| *word == "FLOOR")?;
        Some((words.next()?.parse().ok()?, words.map(String::from).collect()))
    };
    let mut floors: Vec<_> = block.unwrap_or("").lines().filter_map(line).collect();
    floors.sort(); // the figure may have its ground floor at the bottom
    floors
}

fn declared_floors() -> Vec<(usize, Vec<String>)> {
    let names = |floor| words(floor).into_iter().map(String::from).collect();
    FLOORS.iter().enumerate().map(|(number, floor)| (number, names(floor))).collect()
}

#[test]
fn architecture_draws_the_same_floors() {
    let text = std::fs::read_to_string(common::root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    assert_eq!(
        drawn_floors(&text),
        declared_floors(),
        "left: the fenced block of ARCHITECTURE.md whose lines are `FLOOR <n>  <names>`; right: FLOORS in tests/layers.rs"
    );
}

#[test]
fn a_figure_that_differs_is_noticed() {
    let lines: Vec<String> = declared_floors()
        .iter()
        .rev()
        .map(|(n, names)| format!("FLOOR {n}  {}  # remark", names.join(" ")))
        .collect();
    let figure = |lines: &str| drawn_floors(&format!("# Title\n```sh\nls\n```\n```text\n{lines}\n```\n"));
    let right = lines.join("\n");
    assert_eq!(figure(&right), declared_floors());
    assert_ne!(figure(&right.replace("wire sys", "sys wire")), declared_floors());
    assert_ne!(figure(&right.replace(" port", "")), declared_floors());
    assert_ne!(figure(""), declared_floors());
}

#[test]
fn wrong_imports_are_caught() {
    let wrong = [
        ("src/wire/ip6.rs", "use crate::frame::Batch;"),
        ("src/stats.rs", "use crate::drop::Reason;"),
        ("src/forward/ip6/route.rs", "use crate::{drop, port::Port};"),
        ("src/forward/ip6/route.rs", "use crate::{\n    wire::{ip6, checksum},\n    control,\n};"),
        ("src/forward/ip6/route.rs", "fn f() { super::super::super::worker::run() }"),
        ("src/forward/mod.rs", "use super::port::{Port, Ring};"),
        ("src/forward/mod.rs", "use super::{wire, port};"),
        ("src/forward/mod.rs", "mod inner { use super::super::port::Port; }"),
        ("src/forward/mod.rs", "fn f<'a>(x: &'a u8) { $crate::worker::run(x) }"),
        ("src/port/mod.rs", "pub use crate::forward as f;"),
        ("src/worker/mod.rs", "use crate::control::Mirror;"),
        ("src/control/mod.rs", "use crate::worker::Wake;"),
        ("src/telemetry/mod.rs", "use crate::conform::Report;"),
        ("src/frame/mod.rs", "use crate::*;"),
        ("src/frame/mod.rs", "use crate as root;"),
        ("src/frame/mod.rs", "use crate::unheard_of::Thing;"),
        ("src/unheard_of.rs", ""),
        ("src/wire/mod.rs", "#[cfg(test)]\nmod tests { use crate::worker::run; }"),
        ("src/wire/mod.rs", "#[cfg(test)]\nuse std::fmt;\nuse crate::port::Port;"),
        ("src/wire/mod.rs", "#[cfg(not(test))]\nuse crate::port::Port;"),
        ("fib/src/lib.rs", "use warren::wire::Ip;"),
    ];
    for (file, text) in wrong {
        assert_eq!(faults(file, text).len(), 1, "{file}: {text}: {:?}", faults(file, text));
    }
    assert!(faults("src/unheard_of.rs", "")[0].contains("FLOORS (tests/layers.rs) and in ARCHITECTURE.md"));
    assert!(
        faults("src/wire/a.rs", "\nuse crate::port::P;")[0].starts_with("src/wire/a.rs:2: `wire` (floor 1)")
    );
}

#[test]
fn right_imports_pass() {
    let right = [
        ("src/drop.rs", "use crate::stats::Mib; use crate::wire::ip6;"),
        ("src/forward/ip6/route.rs", "use crate::{drop::{Reason, Row}, wire, state as s, forward::l3};"),
        (
            "src/forward/ip6/route.rs",
            "use super::super::l3; use super::rcv; pub(crate) fn f() { super::rcv::run() }",
        ),
        (
            "src/forward/mod.rs",
            "mod inner { use super::port; } // use crate::port\nconst TEXT: &str = \"crate::port::P\";",
        ),
        ("src/forward/mod.rs", "use warren_fib::Fib; pub(in crate::forward) struct S;"),
        (
            "src/wire/mod.rs",
            "#[cfg(test)]\nmod tests { use super::*; use crate::scenario::Box; use crate::port::memory; }",
        ),
        (
            "src/wire/mod.rs",
            "#[cfg(all(test, unix))]\n#[rustfmt::skip]\nfn f(x: [u8; 3]) { crate::port::open(x) }",
        ),
        ("src/neigh/tests.rs", "use crate::port::memory;"),
        ("src/conform/mod.rs", "use crate::scenario::Box;"),
        ("src/main.rs", "use warren::cli; use warren::worker;"),
        ("src/lib.rs", "pub mod wire; pub use crate::forward::Decision;"),
        ("fib/src/rib/mod.rs", "use crate::publish::Domain; use super::super::group;"),
    ];
    for (file, text) in right {
        assert_eq!(faults(file, text), Vec::<String>::new(), "{file}: {text}");
    }
}
