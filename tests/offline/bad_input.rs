//! Bad input: one clear line on stderr, the right exit code, never a panic.

use crate::lab::{Lab, mixture, udp6};

/// The one line that a failing command prints, with its exit code.
#[track_caller]
fn refused(lab: &Lab, words: &str, code: i32) -> String {
    let out = lab.run(words);
    let line = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(code), "warren {words}: {line}");
    assert_eq!(line.lines().count(), 1, "warren {words}: {line}");
    assert!(line.starts_with("warren: "), "{line}");
    line
}

#[track_caller]
fn says(lab: &Lab, words: &str, code: i32, parts: &[&str]) {
    let line = refused(lab, words, code);
    for part in parts {
        assert!(line.contains(part), "warren {words} lacks {part:?}: {line}");
    }
}

#[test]
fn a_closed_stderr_changes_no_exit_code() {
    let lab = Lab::new(&mixture());
    for (words, code) in
        [("replay none.pcapng -s s.toml", 1), ("bogus", 2), ("route get 10.250.0.1 -s s.toml", 1)]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = lab.command(words).stdout(std::process::Stdio::null()).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(code), "warren {words}");
    }
}

#[test]
fn a_capture_is_not_written_over() {
    let lab = Lab::new(&mixture());
    let before = lab.read("in.pcapng");
    says(&lab, "replay in.pcapng -s s.toml --annotate ./in.pcapng", 2, &["is the capture to play"]);
    lab.write("out.pcapng", &before);
    says(&lab, "replay out.pcapng -s s.toml --out .", 2, &["is the capture to play"]);
    assert!(lab.read("in.pcapng") == before && lab.read("out.pcapng") == before);
}

#[test]
fn captures_that_cannot_be_read() {
    let lab = Lab::new(&mixture());
    let whole = lab.read("in.pcapng");
    lab.write("cut.pcapng", &whole[..whole.len() - 7]);
    lab.write("empty.pcapng", b"");
    lab.write("text.pcapng", b"this is no capture at all, only text");
    // A classic capture of raw IP (link type 101) with one packet.
    let mut raw = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0];
    raw.extend([1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0x60, 0, 0, 0]);
    lab.write("raw.pcap", &raw);
    for command in ["replay", "explain"] {
        says(&lab, &format!("{command} cut.pcapng -s s.toml"), 1, &["cut.pcapng: packet 124", "cut short"]);
        says(&lab, &format!("{command} empty.pcapng -s s.toml"), 1, &["empty.pcapng", "it is empty"]);
        says(&lab, &format!("{command} text.pcapng -s s.toml"), 1, &["text.pcapng: neither pcap nor pcapng"]);
        says(&lab, &format!("{command} none.pcapng -s s.toml"), 1, &["none.pcapng", "No such file"]);
        says(&lab, &format!("{command} raw.pcap -s s.toml"), 1, &["raw.pcap: packet 1", "link type is RAW"]);
    }
}

#[test]
fn scenarios_that_cannot_be_read() {
    let lab = Lab::new(&[udp6("2001:db8:1::9", "2001:db8:9::1", 64, 8)]);
    for (text, parts) in [
        ("[[link]]\nname = \"p0\"\nspeed = 10\n", &["s2.toml:3: unknown field `speed`"][..]),
        ("[[link]\n", &["s2.toml:1: "]),
        ("[[link]]\nname = \"p0\"\nmtu = \"big\"\n", &["s2.toml:3: "]),
        ("[[link]]\nname = \"p0\"\nmac = \"2:2\"\n", &["s2.toml: link 1 (p0)", "not a MAC address"]),
        ("[[link]]\nname = \"p0\"\n[[link]]\nname = \"p0\"\n", &["link 2 (p0)", "of this name already"]),
        ("[[link]]\nname = \"p0\"\nindex = 1\n", &["link 1 (p0)", "index 1 is that of lo"]),
        (
            "[[link]]\nname = \"p0\"\n[[route]]\ndst = \"10.0.0.0/8\"\ndev = \"p9\"\n",
            &["route 1 (10.0.0.0/8): no link named \"p9\""],
        ),
        (
            "[[link]]\nname = \"p0\"\n[[route]]\ndst = \"10.0.0.0/8\"\nvia = \"10.1.1.1\"\n",
            &["route 1", "not on any link"],
        ),
        ("[[link]]\nname = \"p0\"\n[[route]]\ndst = \"default\"\ndev = \"p0\"\n", &["of which family"]),
        (
            "[[link]]\nname = \"p0\"\n[[route]]\ndst = \"10.0.0.0/8\"\nnhid = 3\n",
            &["nexthop object 3, which does not exist"],
        ),
        (
            "[[link]]\nname = \"p0\"\n[[address]]\ndev = \"p0\"\nprefix = \"10.0.0.1/8\"\nflags = [\"odd\"]\n",
            &["address 1 (10.0.0.1/8)", "unknown flag \"odd\""],
        ),
        (
            "[[link]]\nname = \"p0\"\n[[neighbour]]\ndev = \"p0\"\nto = \"10.0.0.2\"\n",
            &["neighbour 1 (10.0.0.2)", "lladdr"],
        ),
        ("[[link]]\nname = \"p0\"\n[[rule]]\npref = 9\ntable = 9\n", &["rule 1 (pref 9)", "of which family"]),
        (
            "[[link]]\nname = \"p0\"\n[[route_list]]\nfile = \"list.txt\"\nnexthop = [{ dev = \"p0\" }]\n",
            &["list.txt:2: ", "is no prefix"],
        ),
        ("[sysctl]\n\"net.ipv4.no_such\" = 1\n", &["sysctl net.ipv4.no_such: not one that forwarding reads"]),
        ("[sysctl]\n\"net.ipv6.conf.p7.mtu\" = 1\n", &["sysctl net.ipv6.conf.p7.mtu: no such interface"]),
        ("", &["s2.toml", "no [[link]]"]),
    ] {
        lab.write("s2.toml", text.as_bytes());
        lab.write("list.txt", b"10.0.0.0/8\n10.0.0/8\n");
        says(&lab, "replay in.pcapng -s s2.toml", 1, parts);
    }
    says(&lab, "replay in.pcapng -s none.toml", 1, &["none.toml: No such file"]);
}

#[test]
fn links_that_do_not_exist() {
    let lab = Lab::new(&[udp6("2001:db8:1::9", "2001:db8:9::1", 64, 8)]);
    says(&lab, "replay in.pcapng -s s.toml --in p9", 1, &["no link named \"p9\"", "lo, p0, p1"]);
    lab.capture("far.pcapng", "eth7", &[udp6("2001:db8:1::9", "2001:db8:9::1", 64, 8)]);
    says(&lab, "replay far.pcapng -s s.toml", 1, &["far.pcapng: packet 1", "\"eth7\"", "--in"]);
    assert!(lab.prints("replay far.pcapng -s s.toml --in p0").starts_with("1 frame in, 1 frame out"));
    says(&lab, "route get 2001:db8:9::1 iif p9 -s s.toml", 1, &["no link named \"p9\""]);
    says(&lab, "explain in.pcapng -s s.toml --packet 2", 1, &["no packet 2", "it has 1"]);
}

#[test]
fn command_lines_that_make_no_sense() {
    let lab = Lab::new(&[]);
    for (words, part) in [
        ("dance", "unrecognized subcommand"),
        ("replay", "required arguments"),
        ("replay in.pcapng", "--scenario"),
        ("replay in.pcapng -s s.toml --loop 0", "--loop"),
        ("replay in.pcapng -s s.toml --loop many", "--loop"),
        ("replay in.pcapng -s s.toml --fast", "--fast"),
        ("route get nowhere -s s.toml", "\"nowhere\" cannot be an address"),
        ("route get 10.0.0.1 from -s s.toml", "wants a value"),
        ("completions tcsh", "tcsh"),
    ] {
        says(&lab, words, 2, &[part]);
    }
}

#[test]
fn help_version_and_completions_are_no_errors() {
    let lab = Lab::new(&[]);
    assert!(lab.prints("--version").starts_with("warren 0."));
    assert!(lab.prints("--help").contains("Examples:"));
    for command in ["replay", "explain", "route get", "snapshot", "completions"] {
        assert!(lab.prints(&format!("{command} --help")).contains("Usage: warren"));
    }
    assert!(lab.prints("completions bash").contains("_warren"));
}
