//! The tables of rules in `docs/` against the source: every rule has a proof that exists, every name is uttered by the
//! path, and every name that the path can utter stands in the table of its family.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod common;
mod page;

use page::Row;
use std::collections::BTreeSet;
use warren::drop::DropReason;

/// A page, and the source whose names it lists.
struct Family {
    page: &'static str,
    /// Its drop reasons begin so.
    drops: &'static str,
    /// Files, and folders with all below, that speak of this family.
    source: &'static [&'static str],
    /// Its list in `tests/faults/` has a fault for each rule; see `every_rule_has_a_fault`.
    faults_are_whole: bool,
}

const FAMILIES: [Family; 2] = [IP4, IP6];

const IP6: Family = Family {
    page: "ipv6",
    drops: "V6",
    source: &[
        "src/forward/ip6/",
        "src/host/exthdrs.rs",
        "src/host/ip6.rs",
        "src/host/ndisc.rs",
        "src/host/segments.rs",
    ],
    faults_are_whole: true,
};

const IP4: Family = Family {
    page: "ipv4",
    drops: "V4",
    source: &["src/forward/ip4/", "src/host/arp.rs", "src/host/ip4.rs"],
    faults_are_whole: false,
};

/// Source of both families: each of its names stands on one page at least.
const SHARED: &[&str] = &["src/forward/l3/", "src/forward/held.rs", "src/host/send.rs"];

/// Counts verdicts by names of its own, for both families.
const VERDICTS: &str = "src/conform/trace.rs";

fn text(path: &str) -> Option<String> {
    std::fs::read_to_string(common::root().join(path)).ok()
}

/// The string literals between the parentheses that `call` opens, wherever it stands in the source.
fn arguments(source: &str, call: &str) -> Vec<Vec<String>> {
    let (text, bare) = (source.chars().collect::<Vec<_>>(), common::code(source).chars().collect::<Vec<_>>());
    let call: Vec<char> = call.chars().collect();
    let starts = (0..bare.len()).filter(|&at| bare[at..].starts_with(&call));
    starts.map(|start| literals(&text, &bare, start + call.len())).collect()
}

/// The literals from `at` to the parenthesis that closes there.
fn literals(text: &[char], bare: &[char], at: usize) -> Vec<String> {
    let (mut depth, mut end) = (1, at);
    while depth > 0 && end < bare.len() {
        depth += i32::from(bare[end] == '(') - i32::from(bare[end] == ')');
        end += 1;
    }
    let inside: String = text[at..end].iter().collect();
    inside.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A rule that is told with its RFC and function.
struct Told {
    name: String,
    rfc: String,
    function: String,
}

fn told(source: &str) -> Vec<Told> {
    let told = |literals: Vec<String>| {
        let [name, rfc, function] = &literals[..] else {
            panic!("Rule::new wants three literals: {literals:?}")
        };
        Told { name: name.clone(), rfc: rfc.clone(), function: function.clone() }
    };
    arguments(source, "Rule::new(").into_iter().filter(|l| !l.is_empty()).map(told).collect()
}

/// All names that some source can utter.
fn uttered(parts: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources(parts) {
        for call in [".rule(", ".rule_if("] {
            names.extend(arguments(&source, call).into_iter().flatten());
        }
        names.extend(told(&source).into_iter().map(|told| told.name));
    }
    names
}

fn sources(parts: &[&str]) -> Vec<String> {
    let wanted = |path: &&String| {
        path.ends_with(".rs") && !path.ends_with("tests.rs") && parts.iter().any(|of| path.starts_with(of))
    };
    common::files().iter().filter(wanted).map(|path| text(path).unwrap()).collect()
}

/// Names of packets' ends: drops, and what `conform` calls the other verdicts.
fn ends() -> BTreeSet<String> {
    let drops = DropReason::ALL.iter().map(|reason| reason.info().name.to_owned());
    drops.chain(arguments(&text(VERDICTS).unwrap(), ".add(").into_iter().flatten()).collect()
}

/// Whether a proof exists: a case by its folder, a test by its path.
fn exists(proof: &str) -> bool {
    if proof.starts_with("pcaps/") {
        return common::root().join(proof).join("out.pcapng").is_file();
    }
    let Some((modules, name)) = proof.rsplit_once("::") else { return false };
    let path = match (modules.strip_prefix("tests/"), modules.strip_prefix("fib::")) {
        (Some(of_tests), _) => format!("tests/{}", of_tests.replace("::", "/")),
        (_, Some(of_fib)) => format!("fib/src/{}", of_fib.replace("::", "/")),
        _ => format!("src/{}", modules.replace("::", "/")),
    };
    let beside = path.strip_suffix("/tests").unwrap_or(&path);
    let files = [format!("{path}.rs"), format!("{beside}.rs"), format!("{beside}/mod.rs")];
    let is_test = |text: &String| {
        let bare = common::code(text);
        bare.split("#[test]").skip(1).any(|rest| rest.trim_start().starts_with(&format!("fn {name}()")))
    };
    files.iter().filter_map(|file| text(file)).any(|text| is_test(&text))
}

/// What is wrong with the rows themselves.
fn faults(rows: &[Row], known: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut ids = BTreeSet::new();
    for row in rows {
        let id = &row.id;
        let mut say = |wrong: bool, what: String| found.extend(wrong.then(|| format!("{id}: {what}")));
        say(!ids.insert(id), "the id stands twice".into());
        say(row.function.is_empty(), "no kernel function".into());
        say(row.names.is_empty() && row.remark.is_empty(), "neither a name nor why there is none".into());
        say(row.rare && row.names.is_empty(), "nothing is counted, so nothing is rare".into());
        say(row.kept && row.proofs.is_empty(), "no proof".into());
        for proof in row.proofs.iter().filter(|proof| !exists(proof)) {
            say(true, format!("no such test or case: {proof}"));
        }
        for name in row.names.iter().filter(|name| !known.contains(*name)) {
            say(true, format!("nobody utters {name:?}"));
        }
    }
    found
}

/// Names of the source that no row lists.
fn unlisted(family: &Family, rows: &[Row]) -> Vec<String> {
    let listed: BTreeSet<&String> = rows.iter().flat_map(|row| &row.names).collect();
    let other = |name: &str| name.starts_with('V') && !name.starts_with(family.drops);
    let drops = DropReason::ALL.iter().map(|r| r.info().name).filter(|name| !other(name));
    let names = drops.map(str::to_owned).chain(uttered(family.source));
    names.filter(|name| !listed.contains(name)).collect()
}

/// Names that are told on another word than the table's: RFC and function must be those of one of their rows.
fn disagreements(family: &Family, rows: &[Row]) -> Vec<String> {
    let of_drops = DropReason::ALL.iter().map(|reason| reason.info()).map(|info| Told {
        name: info.name.to_owned(),
        rfc: info.rfc.to_owned(),
        function: info.function.to_owned(),
    });
    let all = of_drops.chain(sources(family.source).into_iter().flat_map(|source| told(&source)));
    let mut found = Vec::new();
    for Told { name, rfc, function } in all {
        let mut of_name = rows.iter().filter(|row| row.names.contains(&name)).peekable();
        if of_name.peek().is_some() && !of_name.any(|row| row.rfc == rfc && row.function == function) {
            found.push(format!("{name} is told as RFC {rfc:?}, {function}; no row of it says so"));
        }
    }
    found
}

#[test]
fn every_rule_has_its_names_and_proofs() {
    for family in &FAMILIES {
        let shared = uttered(SHARED).into_iter().chain(ends());
        let known = uttered(family.source).into_iter().chain(shared).collect();
        let found = faults(&page::read(family.page), &known);
        assert!(found.is_empty(), "docs/{}.md:\n{}", family.page, found.join("\n"));
    }
}

#[test]
fn every_name_has_its_rule() {
    for family in &FAMILIES {
        let found = unlisted(family, &page::read(family.page));
        assert!(found.is_empty(), "docs/{}.md lists no rule for:\n{}", family.page, found.join("\n"));
    }
}

#[test]
fn every_name_of_both_families_has_its_rule() {
    let rows: Vec<Row> = FAMILIES.iter().flat_map(|family| page::read(family.page)).collect();
    let listed: BTreeSet<&String> = rows.iter().flat_map(|row| &row.names).collect();
    let shared = uttered(SHARED);
    let missing: Vec<&String> = shared.iter().filter(|name| !listed.contains(name)).collect();
    assert!(missing.is_empty(), "no page lists a rule for {missing:?}");
}

#[test]
fn page_and_source_name_the_same_authorities() {
    for family in &FAMILIES {
        let found = disagreements(family, &page::read(family.page));
        assert!(found.is_empty(), "docs/{}.md:\n{}", family.page, found.join("\n"));
    }
}

/// The rules that a family's seeded faults break.
fn broken(family: &Family) -> BTreeSet<String> {
    let list = text(&format!("tests/faults/{}.toml", family.page.replace("ipv", "ip"))).unwrap();
    let named = list.split("rule = \"").skip(1).filter_map(|rest| rest.split('"').next());
    named.map(str::to_owned).collect()
}

/// Rules that are counted by a name, and often, and that no fault breaks.
fn unbroken(rows: &[Row], broken: &BTreeSet<String>) -> Vec<String> {
    let often = rows.iter().filter(|row| row.kept && !row.names.is_empty() && !row.rare);
    often.map(|row| row.id.clone()).filter(|id| !broken.contains(id)).collect()
}

/// The faults that are seeded to try `conform` name rules, too.
#[test]
fn seeded_faults_break_rules_of_the_page() {
    for family in &FAMILIES {
        let ids: BTreeSet<String> = page::read(family.page).into_iter().map(|row| row.id).collect();
        let strange: Vec<String> = broken(family).into_iter().filter(|id| !ids.contains(id)).collect();
        assert!(strange.is_empty(), "docs/{}.md has no {strange:?}", family.page);
    }
}

/// A family joins by `faults_are_whole: true`; this test then names the rules that its list in `tests/faults/` lacks.
#[test]
fn every_rule_has_a_fault() {
    for family in FAMILIES.iter().filter(|family| family.faults_are_whole) {
        let missing = unbroken(&page::read(family.page), &broken(family));
        assert!(missing.is_empty(), "no fault in tests/faults/ breaks docs/{}.md {missing:?}", family.page);
    }
}

#[test]
fn what_is_wrong_is_noticed() {
    let known = BTreeSet::from(["V6Short".to_owned()]);
    let faults_of =
        |rest: &str| faults(&page::rows(&format!("| A1 | A rule. | 1 | f | {rest} |")), &known).len();
    let good = "`pcaps/ip6-header` `forward::ip6::tests::receive_checks`";
    assert_eq!(faults_of(&format!("`V6Short` | {good}")), 0);
    assert_eq!(faults_of(&format!("the kernel's | {good}")), 0);
    assert_eq!(faults_of(&format!("| {good}")), 1);
    assert_eq!(faults_of("`V6Short` |"), 1);
    assert_eq!(faults_of(&format!("`V6Shorter` | {good}")), 1);
    for missing in
        ["pcaps/none", "forward::ip6::tests::none", "none::tests::receive_checks", "tests/guard::finds::x"]
    {
        assert_eq!(faults_of(&format!("`V6Short` | `{missing}`")), 1, "{missing}");
    }
    let twice = page::rows(&format!("| A1 | A. | | f | x | {good} |\n").repeat(2));
    assert_eq!(faults(&twice, &known).len(), 1);
    assert!(unlisted(&IP6, &twice).contains(&"V6Version".to_owned()));
    let wrong = page::rows(&format!("| A1 | A. | 1 | f | `V6Short` | {good} |\n"));
    assert_eq!(disagreements(&IP6, &wrong).len(), 1);
    let three = "| A1 | A. | | f | `V6Short` | x |\n| A2 | A. | | f | not named | x |\n| A3 | A. | | f | `V6Short` rare: x | x |";
    let none = BTreeSet::new();
    assert_eq!(unbroken(&page::rows(three), &none), ["A1"]);
    assert!(unbroken(&page::rows(three), &BTreeSet::from(["A1".to_owned()])).is_empty());
}

#[test]
fn names_are_found_where_they_are_uttered() {
    let source = "cx.rule(match (a, b) { _ => \"one (1)\", _ => \"two\" });\n// .rule(\"none\")\nf(\"x\")";
    assert_eq!(arguments(source, ".rule("), [["one (1)", "two"]]);
}
