//! The story of a packet as text: aligned, in colour on terminals only.

use super::notes::{Note, Notes, TRUNCATED};
use super::{Sent, Story, describe};
use crate::cli::counters::Counters;
use crate::forward::observe::Rule;
use std::fmt::Error;

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const DIM: &str = "2";
/// Bytes in a line of a dump.
const ROW: usize = 16;

/// Writes with or without colour.
struct Out {
    text: String,
    colour: bool,
}

impl Out {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn title(&mut self, title: &str) {
        let title = self.paint(BOLD, title);
        self.line("");
        self.line(&title);
    }
}

/// The whole story.
pub fn tell(story: &Story<'_>, colour: bool) -> Result<String, Error> {
    let mut out = Out { text: String::new(), colour };
    let (number, file, link) = (story.number, &story.file, &story.link);
    let bytes = &story.arrival.bytes;
    let title = out.paint(BOLD, &format!("packet {number} of {file}: {} bytes in by {link}", bytes.len()));
    out.line(&title);
    out.line(&format!("  {}", describe::frame(bytes)));
    if !story.notes.list.is_empty() {
        out.title("steps (a check looks for the fault it names)");
        steps(&mut out, &story.notes);
    }
    out.title("decision");
    match &story.notes.decision {
        Some(decided) => {
            let source = out.paint(DIM, &source(&decided.rule));
            out.line(&format!("  {} ({source})", decided.text));
        }
        None => out.line(&format!("  {TRUNCATED}")),
    }
    for (sent, place) in story.sent.iter().zip(1..) {
        // Messages to the sender go out before the packet itself.
        let same = story.notes.forwarded && place == story.sent.len();
        departure(&mut out, story, sent, same)?;
    }
    counters(&mut out, &story.counters);
    if let Some((notes, moved, sent)) = &story.later {
        out.title("later, as the next hop does not answer");
        steps(&mut out, notes);
        for one in sent {
            departure(&mut out, story, one, false)?;
        }
        counters(&mut out, moved);
    }
    Ok(out.text)
}

fn steps(out: &mut Out, notes: &Notes) {
    let longest = |of: fn(&Note) -> String| notes.list.iter().map(|n| of(n).len()).max().unwrap_or(0);
    let widths = (longest(|note| function(note).to_owned()), longest(rfc));
    for note in &notes.list {
        let line = step(out, note, widths);
        out.line(&line);
    }
}

/// One step: what was done or looked for, and on whose word; the widths are those of the longest function and RFC.
fn step(out: &Out, note: &Note, (functions, rfcs): (usize, usize)) -> String {
    let (mark, text) = match note {
        Note::Check { reason, ok } => {
            let info = reason.info();
            let mark = if *ok { out.paint(GREEN, "passed") } else { out.paint(RED, "FAILED") };
            (mark, format!("{}: {}", info.name, info.text))
        }
        Note::Step(rule, found) => ("->    ".to_owned(), format!("{}: {found}", rule.name)),
        Note::Rule(rule) => ("rule  ".to_owned(), rule.name.to_owned()),
        Note::Reply(rule, found) => ("reply ".to_owned(), format!("{}: {found}", rule.name)),
    };
    let source = out.paint(DIM, &format!("{:<functions$}  {:<rfcs$}", function(note), rfc(note)));
    format!("  {mark}  {source}  {text}")
}

/// RFC and section; empty where only the kernel decides.
fn rfc(note: &Note) -> String {
    let rfc = match note {
        Note::Check { reason, .. } => reason.info().rfc,
        Note::Step(rule, _) | Note::Reply(rule, _) | Note::Rule(rule) => rule.rfc,
    };
    if rfc.is_empty() { String::new() } else { format!("RFC {rfc}") }
}

/// On whose word a rule stands.
fn source(rule: &Rule) -> String {
    if rule.rfc.is_empty() {
        rule.function.to_owned()
    } else {
        format!("{}, RFC {}", rule.function, rule.rfc)
    }
}

fn function(note: &Note) -> &'static str {
    match note {
        Note::Check { reason, .. } => reason.info().function,
        Note::Step(rule, _) | Note::Reply(rule, _) | Note::Rule(rule) => rule.function,
    }
}

/// A frame that left: what changed of the packet, or all of a new one.
fn departure(out: &mut Out, story: &Story<'_>, sent: &Sent, same: bool) -> Result<(), Error> {
    let seconds = sent.time.saturating_sub(story.arrival.time) as f64 / 1e9;
    let when = if seconds > 0.0 { format!(" after {seconds} s") } else { String::new() };
    out.title(&format!("out by {}, {} bytes{when}", sent.link, sent.bytes.len()));
    out.line(&format!("  {}", describe::frame(&sent.bytes)));
    let (old, new) = (&story.arrival.bytes, &sent.bytes);
    for (at, row) in new.chunks(ROW).enumerate() {
        let before = old.chunks(ROW).nth(at).unwrap_or_default();
        let offset = at * ROW;
        if !same {
            out.line(&format!("    {offset:04x}  {}", hex(row, |_| true)));
        } else if !before.starts_with(row) {
            let changed = |i: usize| before.get(i) != row.get(i);
            let (minus, plus) = (out.paint(RED, "-"), out.paint(GREEN, "+"));
            out.line(&format!("  {minus} {offset:04x}  {}", hex(before, |_| true)));
            out.line(&format!("  {plus} {offset:04x}  {}", hex(row, changed)));
        }
    }
    if same && old.len() > new.len() {
        out.line(&format!("  {} bytes of padding are cut off", old.len() - new.len()));
    }
    Ok(())
}

/// Bytes in hexadecimal; those not to be shown as dots.
fn hex(row: &[u8], show: impl Fn(usize) -> bool) -> String {
    let byte = |(i, b): (usize, &u8)| if show(i) { format!("{b:02x}") } else { "..".into() };
    row.iter().enumerate().map(byte).collect::<Vec<_>>().join(" ")
}

fn counters(out: &mut Out, counters: &Counters) {
    if *counters == Counters::default() {
        return;
    }
    out.title("counters");
    let groups = std::iter::once(("netns", &counters.netns))
        .chain(counters.dev.iter().map(|(name, values)| (name.as_str(), values)))
        .chain(std::iter::once(("drops", &counters.drops)));
    for (group, values) in groups {
        for (name, value) in values {
            out.line(&format!("  {group:<8} {name:<28} +{value}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drop::DropReason;
    use crate::forward::decision::{Decision, Verdict};
    use crate::forward::observe::Observer;

    /// Drops for which no RFC asks: the kernel decides alone.
    const KERNEL_ONLY: [&str; 9] = [
        "NoScratch",
        "NoPort",
        "GsoTooBig",
        "V6Disabled",
        "V6UnicastInL2Multicast",
        "V6Blackhole",
        "V6MulticastNotMember",
        "V6ForwardingOff",
        "V6OutDisabled",
    ];

    fn says_all(note: &Note, rule: Rule) {
        let Rule { name, rfc, function } = rule;
        let out = Out { text: String::new(), colour: false };
        let (object, text) = (note.json(), step(&out, note, (0, 0)));
        assert_eq!((&object["rfc"], &object["function"]), (&rfc.into(), &function.into()), "{object}");
        assert!(object.as_object().unwrap().values().any(|value| value == name), "{object}");
        assert!(!function.is_empty() && text.contains(function) && text.contains(name), "{text}");
        assert_eq!(text.contains("RFC"), !rfc.is_empty(), "{text}");
        assert!(text.contains(rfc), "{text}");
    }

    #[test]
    fn every_drop_has_its_rule_and_its_authorities() {
        let mut alone = Vec::new();
        for reason in DropReason::ALL.iter().filter(|r| !r.info().name.starts_with("V4")) {
            let info = reason.info();
            let rule = Rule::new(info.name, info.rfc, info.function);
            says_all(&Note::Check { reason: *reason, ok: false }, rule);
            let mut notes = Notes::default();
            notes.decided(&Decision::bare(Verdict::Drop(*reason)));
            let decided = notes.decision.unwrap();
            assert_eq!((decided.rule.rfc, decided.rule.function), (info.rfc, info.function));
            assert_eq!(decided.json()["function"], info.function);
            assert!(decided.text.contains(info.name), "{}", decided.text);
            if info.rfc.is_empty() {
                alone.push(info.name);
            }
        }
        assert_eq!(alone, KERNEL_ONLY);
    }

    #[test]
    fn steps_and_messages_have_theirs() {
        let rule = Rule::new("next hop", "4861 5.2", "ip6_finish_output2");
        says_all(&Note::Step(rule, "fe80::1 on p1".into()), rule);
        says_all(&Note::Reply(rule, "fe80::1 on p1".into()), rule);
        let alone = Rule::new("no error: no route back", "", "icmpv6_route_lookup");
        says_all(&Note::Reply(alone, "ICMPv6 3/0".into()), alone);
        says_all(&Note::Rule(rule), rule);
    }
}
