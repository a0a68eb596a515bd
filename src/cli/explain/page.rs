//! On whose word a rule stands that the path only names: read from the pages of rules, which `tests/rules.rs` holds to the
//! source. Called by `notes`.

use crate::forward::observe::Rule;
use std::collections::BTreeMap;
use std::sync::LazyLock;

type Rules = BTreeMap<&'static str, Rule>;

/// The pages; their format is told at their heads.
static IPV4: LazyLock<Rules> = LazyLock::new(|| rules(include_str!("../../../docs/ipv4.md")));
static IPV6: LazyLock<Rules> = LazyLock::new(|| rules(include_str!("../../../docs/ipv6.md")));

/// The rule of this name for a family; some are the same for both and stand on one page. One that no page lists stands on
/// nobody's word.
pub fn rule(name: &'static str, ipv4: bool) -> Rule {
    let pages = if ipv4 { [&IPV4, &IPV6] } else { [&IPV6, &IPV4] };
    pages.iter().find_map(|page| page.get(name)).copied().unwrap_or(Rule::new(name, "", ""))
}

/// The rules of a page by their names; of several lines with a name the first one counts.
fn rules(page: &'static str) -> Rules {
    let mut rules = BTreeMap::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, _, rfc, function, names, ..] = cells[..] else { continue };
        // Each other part is between back quotes.
        for name in names.split('`').skip(1).step_by(2) {
            rules.entry(name).or_insert(Rule::new(name, rfc, function));
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_its_line() {
        let page = "| id | rule | RFC | Linux | counted as | proof |\n|---|---|---|---|---|---|\n\
            | R1 | A. | 8200 3 | ip6_rcv | `one` `two` rare: so | `x` |\n| R2 | B. | | f | `two` | `y` |\n";
        let rules = rules(page);
        assert_eq!(rules.get("one"), Some(&Rule::new("one", "8200 3", "ip6_rcv")));
        assert_eq!(rules.get("two"), Some(&Rule::new("two", "8200 3", "ip6_rcv")));
        assert_eq!(rules.len(), 2);
    }

    #[test]
    fn the_pages_are_there() {
        let found = rule("source choice: interface", false);
        assert_eq!((found.rfc, found.function), ("6724 5 rule 5", "ipv6_get_saddr_eval"));
        let functions = [true, false].map(|ipv4| rule("route lookup", ipv4).function);
        assert_eq!(functions, ["ip_rcv_finish_core", "ip6_route_input"]);
        assert_eq!(rule("nothing of the kind", true), Rule::new("nothing of the kind", "", ""));
    }
}
