//! House rules that a compiler does not know, checked on every file of the project.
//!
//! Invariant: each rule is a pure function from a file to its faults and carries one file that breaks it and one
//! that keeps it, so a rule that cannot fail is itself a failure.
#![allow(clippy::unwrap_used, clippy::panic)] // a file that cannot be read must fail the test

mod common;

use common::code;

/// Files besides `src/sys/` and the port rings (`src/port/**/ring*.rs`) that may say `unsafe`, each for a reason.
const MAY_BE_UNSAFE: [&str; 4] = [
    "fib/src/forest/kernel.rs", // vectors of a line are loaded by address, for a processor that was asked first
    "fib/src/publish.rs",       // readers follow raw pointers that the writer frees after a grace period
    "fib/tests/loom.rs",        // the model's canary is shared between modelled threads
    "tests/no_alloc.rs",        // counts allocations, which takes a global allocator
];

/// Marks of unfinished work, as whole words. Split so that this file keeps its own rule.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Words that speak of the place where the project was made instead of the project. Lower case, split as above.
const WORKPLACE: [&str; 8] = [
    concat!("/wo", "rk/"),
    concat!("/tm", "p/p/"),
    concat!("shared/", "reference"),
    concat!("design", ".md"),
    concat!("helper", " agent"),
    concat!("coding", " agent"),
    concat!("this", " session"),
    concat!("coding", " session"),
];

const LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 160;
const BYTES_MAX: usize = 512 * 1024;

/// What a case folder of `pcaps/` holds, sorted: no less, no more.
const CASE: [&str; 5] = ["README.md", "counters.toml", "in.pcapng", "out.pcapng", "scenario.toml"];

/// One file: its path from the root, its size in bytes, and its text (bytes that are no text replaced).
struct File {
    path: String,
    size: usize,
    text: String,
}

impl File {
    fn new(path: &str, bytes: &[u8]) -> Self {
        Self { path: path.into(), size: bytes.len(), text: String::from_utf8_lossy(bytes).into() }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Faults of the lines of `text` (this file, or its bare code) for which `wrong` holds.
    fn lines(&self, text: &str, why: &str, wrong: impl Fn(&str) -> bool) -> Vec<String> {
        let numbered = text.lines().enumerate().filter(|(_, line)| wrong(line));
        numbered.map(|(index, _)| format!("{}:{}: {why}", self.path, index + 1)).collect()
    }

    fn whole(&self, wrong: bool, why: &str) -> Vec<String> {
        if wrong { vec![format!("{}: {why}", self.path)] } else { Vec::new() }
    }
}

struct Rule {
    check: fn(&File) -> Vec<String>,
    breaks: File,
    keeps: File,
}

/// The rules that look at one file, each with a file that breaks it and one that keeps it.
fn rules() -> Vec<Rule> {
    let rule = |check: fn(&File) -> Vec<String>, path: &str, breaks: &str, keeps: &str| Rule {
        check,
        breaks: File::new(path, breaks.as_bytes()),
        keeps: File::new(path, keeps.as_bytes()),
    };
    let mark = UNFINISHED[0];
    let place = format!("see {}x", WORKPLACE[0]);
    vec![
        rule(opens_with_what_it_is, "a.rs", "use std::io;\n", "//! What it is.\n"),
        rule(is_short, "a.rs", &"\n".repeat(LINES_MAX + 1), &"\n".repeat(LINES_MAX)),
        rule(is_narrow, "a.rs", &"é".repeat(COLUMNS_MAX + 1), &"é".repeat(COLUMNS_MAX)),
        rule(is_finished, "a.rs", "fn f() { todo!() }", "fn f() {} // todo!() is refused"),
        rule(
            is_finished,
            "a.rs",
            "fn f() { unimplemented!(\"x\") }",
            "const S: &str = \"unimplemented!(x)\";",
        ),
        rule(is_finished, "a.rs", "fn f() { dbg!(1); }", "fn dbg(x: u8) {}"),
        rule(is_finished, "a.rs", "#[ignore = \"slow\"]", "#[test]"),
        rule(
            is_finished,
            "a.md",
            &format!("a {mark}: b"),
            &format!("mktemp {mark}S {mark}_x {}X", UNFINISHED[2]),
        ),
        rule(unsafe_is_fenced, "src/port/tap.rs", "unsafe { f() }", "#![deny(unsafe_code)] // unsafe"),
        rule(unsafe_is_fenced, "src/forward/ring.rs", "unsafe fn f() {}", "fn f() {}"),
        rule(is_small, "a.bin", &"x".repeat(BYTES_MAX + 1), &"x".repeat(BYTES_MAX)),
        rule(has_one_title, "a.md", "# A\n\n# B\n", "# A\n\n```sh\n# remark\n```\n\n## B\n"),
        rule(has_one_title, "a.md", "A\n\n## B\n", "# A\n"),
        rule(speaks_of_the_project, "a.toml", &place, "see net/work/x, a TCP session, homework/"),
        rule(case_says_what_it_proves, "pcaps/a/README.md", "One.\nTwo.\n", "One.\n"),
        rule(case_says_what_it_proves, "pcaps/a/README.md", " \n", "One."),
    ]
}

fn opens_with_what_it_is(file: &File) -> Vec<String> {
    file.whole(
        file.is_rust() && !file.text.starts_with("//!"),
        "open with `//!`: what it is, invariant, who calls it",
    )
}

fn is_short(file: &File) -> Vec<String> {
    let long = file.is_rust() && file.text.lines().count() > LINES_MAX;
    file.whole(long, &format!("over {LINES_MAX} lines: one concept, one file"))
}

fn is_narrow(file: &File) -> Vec<String> {
    let wide = |line: &str| file.is_rust() && line.chars().count() > COLUMNS_MAX;
    file.lines(&file.text, &format!("over {COLUMNS_MAX} columns"), wide)
}

fn is_finished(file: &File) -> Vec<String> {
    let marked = |line: &str| UNFINISHED.iter().any(|mark| has_word(line, mark));
    let mut found = file.lines(&file.text, "unfinished: do it, or say in words what falls short", marked);
    if file.is_rust() {
        let stub =
            |line: &str| ["todo!(", "unimplemented!(", "dbg!(", "#[ignore"].iter().any(|s| line.contains(s));
        found.extend(file.lines(&code(&file.text), "stub, debug print or ignored test", stub));
    }
    found
}

fn unsafe_is_fenced(file: &File) -> Vec<String> {
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let ring = folder.starts_with("src/port") && name.starts_with("ring");
    if !file.is_rust()
        || ring
        || file.path.starts_with("src/sys/")
        || MAY_BE_UNSAFE.contains(&file.path.as_str())
    {
        return Vec::new();
    }
    let why = "`unsafe` outside src/sys/, port rings and MAY_BE_UNSAFE (tests/tidy.rs)";
    file.lines(&code(&file.text), why, |line| has_word(line, "unsafe"))
}

fn is_small(file: &File) -> Vec<String> {
    file.whole(file.size > BYTES_MAX, "over 512 KiB: generate it, or keep it outside the tree")
}

/// A case's README is one sentence and needs no title.
fn has_one_title(file: &File) -> Vec<String> {
    let prose = file.text.split("\n```").step_by(2).flat_map(str::lines);
    let titles = prose.filter(|line| line.starts_with("# ")).count();
    let document = file.path.ends_with(".md") && case_file(&file.path).is_none();
    file.whole(document && titles != 1, &format!("{titles} lines `# Title`, not one"))
}

fn speaks_of_the_project(file: &File) -> Vec<String> {
    let strange = |line: &str| WORKPLACE.iter().any(|word| has_word(&line.to_lowercase(), word));
    file.lines(&file.text, "a reader's clone knows no such place: say it in the project's own words", strange)
}

fn case_says_what_it_proves(file: &File) -> Vec<String> {
    let readme = case_file(&file.path).is_some_and(|(_, name)| name == "README.md");
    let lines = file.text.trim_end().lines().count();
    file.whole(readme && lines != 1, "one line: what the case proves")
}

/// `word` stands in `line` on its own: what it begins or ends with is not part of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let inside =
            line[..at].ends_with(part) || line[at + word.len()..].starts_with(part) && word.ends_with(part);
        !inside
    })
}

/// `pcaps/<case>/<name>` as case and name.
fn case_file(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("pcaps/")?.split_once('/')
}

/// Cases that lack a file or hold one too many.
fn uneven_cases(paths: &[&str]) -> Vec<String> {
    let mut cases = std::collections::BTreeMap::<_, Vec<_>>::new();
    for (case, name) in paths.iter().filter_map(|path| case_file(path)) {
        cases.entry(case).or_default().push(name);
    }
    cases.values_mut().for_each(|names| names.sort_unstable());
    cases.retain(|_, names| *names != CASE);
    cases.iter().map(|(case, names)| format!("pcaps/{case} holds {names:?}, not {CASE:?}")).collect()
}

/// What `.ci/run` runs is what the README tells a reader to type (as root, so perhaps behind `sudo`).
fn test_command_fault(readme: &str, ci: &str) -> Option<String> {
    let last = ci.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("");
    let command = last.trim_start_matches("exec ").trim_end_matches(" \"$@\"").trim();
    let shown = readme.split("```").skip(1).step_by(2).flat_map(str::lines);
    let typed =
        |line: &str| line.split(" #").next().unwrap_or("").trim().trim_start_matches("sudo ") == command;
    let same = !command.is_empty() && shown.into_iter().any(typed);
    (!same).then(|| {
        format!(".ci/run ends with `{command}`, which no code block of README.md shows on a line of its own")
    })
}

fn read(path: &str) -> File {
    let bytes = std::fs::read(common::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    File::new(path, &bytes)
}

#[test]
fn every_file_keeps_every_rule() {
    let rules = rules();
    let files: Vec<File> = common::files().iter().map(|path| read(path)).collect();
    let mut found: Vec<String> =
        files.iter().flat_map(|file| rules.iter().flat_map(|rule| (rule.check)(file))).collect();
    found.sort();
    found.dedup(); // a rule with several examples stands in the list as often
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_rule_can_fail() {
    for Rule { check, breaks, keeps } in rules() {
        let shown: String = breaks.text.chars().take(40).collect();
        assert_eq!(check(&breaks).len(), 1, "{} that breaks a rule: {shown}", breaks.path);
        assert_eq!(check(&keeps), Vec::<String>::new());
    }
    for path in ["src/sys/mmap.rs", "src/port/afpacket/ring.rs", "src/port/ring_fill.rs", MAY_BE_UNSAFE[0]] {
        assert!(unsafe_is_fenced(&File::new(path, b"unsafe { f() }")).is_empty(), "{path}");
    }
    for word in WORKPLACE {
        let text = format!("(see `{}`)", word.to_uppercase());
        assert_eq!(speaks_of_the_project(&File::new("a.md", text.as_bytes())).len(), 1, "{text}");
    }
}

#[test]
fn every_case_is_complete() {
    let paths = common::files();
    let found = uneven_cases(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn an_uneven_case_is_noticed() {
    let full: Vec<String> = CASE.iter().map(|name| format!("pcaps/a/{name}")).collect();
    let mut paths: Vec<&str> =
        full.iter().map(String::as_str).chain(["pcaps/README.md", "tests/b/in.pcapng"]).collect();
    assert_eq!(uneven_cases(&paths), Vec::<String>::new());
    paths.push("pcaps/a/notes.txt");
    assert_eq!(uneven_cases(&paths).len(), 1);
    assert_eq!(uneven_cases(&["pcaps/b/in.pcapng"]).len(), 1);
}

#[test]
fn readme_and_ci_run_the_same_tests() {
    assert_eq!(test_command_fault(&read("README.md").text, &read(".ci/run").text), None);
}

#[test]
fn a_readme_with_another_test_command_is_noticed() {
    let ci = "#!/bin/sh\nexec tests/run \"$@\"\n";
    let readme = |command: &str| format!("# A\n\nUse `tests/run`.\n\n```sh\nls\n{command}\n```\n");
    for same in ["tests/run", "sudo tests/run   # as root"] {
        assert_eq!(test_command_fault(&readme(same), ci), None);
    }
    assert!(test_command_fault(&readme("cargo test"), ci).is_some());
    assert!(test_command_fault(&readme("tests/run"), "").is_some());
}
