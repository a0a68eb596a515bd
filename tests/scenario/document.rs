//! The reference of the format, docs/scenario.md, says what the parser takes: no key, name, range or example differs.

use std::path::Path;
use warren::scenario::Scenario;
use warren::scenario::limits::range;
use warren::sysctl::{Conf4, Conf6, Global4, Global6, NeighConf};

const DOCUMENT: &str = include_str!("../../docs/scenario.md");

/// The section below a heading that begins so, without the sections that follow.
fn section(heading: &str) -> &str {
    let from = DOCUMENT.split_once(&format!("\n{heading}")).unwrap_or_else(|| panic!("no {heading:?}")).1;
    from.split("\n#").next().unwrap()
}

/// The first cells of the rows of the table whose head begins with these words.
fn rows<'d>(section: &'d str, head: &str) -> Vec<&'d str> {
    let table =
        section.split_once(&format!("| {head} |")).unwrap_or_else(|| panic!("no table of {head:?}")).1;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').nth(1).unwrap().trim().trim_matches('`')).collect()
}

/// The keys that the parser takes where `?` stands: it lists them itself when it finds another.
fn keys(text: &str) -> Vec<String> {
    let said = Scenario::parse(text, Path::new("s.toml")).unwrap_err().to_string();
    let (_, listed) = said.split_once("unknown field `?`, expected ").unwrap_or_else(|| panic!("{said}"));
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_key_stands_in_the_document() {
    for (heading, head, text) in [
        ("## `[[link]]`", "key", "[[link]]\n\"?\" = 1"),
        ("## `[[address]]`", "key", "[[address]]\n\"?\" = 1"),
        ("## `[[neighbour]]`", "key", "[[neighbour]]\n\"?\" = 1"),
        ("## `[[nexthop]]`", "key", "[[nexthop]]\n\"?\" = 1"),
        ("## `[[nexthop]]`", "key of a member", "[[nexthop]]\ngroup = [{ \"?\" = 1 }]"),
        ("## `[[route]]`", "key", "[[route]]\n\"?\" = 1"),
        ("## `[[route]]`", "key of a next hop", "[[route]]\nnexthop = [{ \"?\" = 1 }]"),
        ("## `[[route_list]]`", "key", "[[route_list]]\n\"?\" = 1"),
        ("## `[[rule]]`", "key", "[[rule]]\n\"?\" = 1"),
    ] {
        assert_eq!(rows(section(heading), head), keys(text), "{heading}, {head}");
    }
    for name in keys("\"?\" = 1") {
        let heading = if name == "sysctl" { "## `[sysctl]`" } else { &format!("## `[[{name}]]`") };
        assert!(DOCUMENT.contains(&format!("\n{heading}\n")), "{heading}");
    }
}

/// What the rows of a table of sysctls have to be.
fn sysctls(folder: &str, names: &[(&str, i64)]) -> Vec<String> {
    let row = |&(leaf, default): &(&str, i64)| {
        let icmp = leaf.strip_prefix("icmp_").filter(|_| folder == "net.ipv6");
        let name = icmp.map_or(leaf.to_owned(), |leaf| format!("icmp.{leaf}"));
        let range = match range(&format!("{folder}.{name}")).unwrap().into_inner() {
            (least, most) if (least, most) == (i32::MIN.into(), i32::MAX.into()) => "any".to_owned(),
            (least, most) => format!("{least} to {most}"),
        };
        let default = match leaf {
            "ip_forward" | "forwarding" => "1".to_owned(),
            "mtu" => "that of the link".to_owned(),
            _ => default.to_string(),
        };
        format!("| `{name}` | {range} | {default} |")
    };
    // A multicast routing daemon's, so nobody else may set it.
    names.iter().filter(|(leaf, _)| *leaf != "mc_forwarding").map(row).collect()
}

#[test]
fn every_sysctl_stands_in_the_document_with_range_and_default() {
    for (heading, folder, names) in [
        ("### `net.ipv4.NAME`", "net.ipv4", Global4::NAMES),
        ("### `net.ipv6.NAME`", "net.ipv6", Global6::NAMES),
        ("### `net.ipv4.conf.DEV.NAME`", "net.ipv4.conf.p0", Conf4::NAMES),
        ("### `net.ipv6.conf.DEV.NAME`", "net.ipv6.conf.p0", Conf6::NAMES),
        ("### `net.ipv4.neigh.DEV.NAME`", "net.ipv4.neigh.p0", NeighConf::NAMES),
        ("### `net.ipv4.neigh.DEV.NAME`", "net.ipv6.neigh.p0", NeighConf::NAMES),
    ] {
        let table = section(heading).lines().filter(|line| line.starts_with('|')).skip(2);
        let (is, should) = (table.collect::<Vec<_>>(), sysctls(folder, names));
        assert_eq!(is, should, "{heading} should be\n{}", should.join("\n"));
    }
}

/// The code blocks in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let code = DOCUMENT.split("```").skip(1).step_by(2);
    code.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

#[test]
fn the_examples_load_one_by_one_as_text_and_together_as_a_box() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("box.toml");
    std::fs::write(folder.path().join("table.txt"), blocks("text").concat()).unwrap();
    for example in blocks("toml") {
        Scenario::parse(example, &path).unwrap_or_else(|e| panic!("{e}:\n{example}"));
    }
    let whole = Scenario::parse(&blocks("toml").concat(), &path).unwrap();
    let loaded = whole.load(&path, 1, 0).unwrap_or_else(|e| panic!("{e}"));
    let sections = [whole.link.len(), whole.address.len(), whole.neighbour.len(), whole.nexthop.len()];
    let more = [whole.route.len(), whole.route_list.len(), whole.rule.len(), whole.sysctl.len()];
    assert!(!sections.contains(&0) && !more.contains(&0), "every section has an example");
    let state = loaded.shared.state.load();
    assert_eq!(state.ifaces.by_name("p0").unwrap().conf6.forwarding, 1, "on by default");
}
