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
    lab.write("section.pcapng", &[[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0].as_slice(), &[7; 20]].concat());
    // A classic capture of raw IP (link type 101) with one packet.
    let mut raw = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0];
    raw.extend([1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0x60, 0, 0, 0]);
    lab.write("raw.pcap", &raw);
    for command in ["replay", "explain"] {
        says(&lab, &format!("{command} cut.pcapng -s s.toml"), 1, &["cut.pcapng: packet 124", "cut short"]);
        says(&lab, &format!("{command} empty.pcapng -s s.toml"), 1, &["empty.pcapng", "it is empty"]);
        let text = refused(&lab, &format!("{command} text.pcapng -s s.toml"), 1);
        let words = "warren: text.pcapng: neither pcap nor pcapng: it begins with 74 68 69 73\n";
        assert_eq!(text, words, "no words of a library");
        let section = refused(&lab, &format!("{command} section.pcapng -s s.toml"), 1);
        let words = "warren: section.pcapng: neither pcap nor pcapng: its section header is damaged\n";
        assert_eq!(section, words, "no words of a library");
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
        ("[[link]]\nname = \"p0\"\nmac = \"2:2\"\n", &["s2.toml:3: `2:2` is not a MAC address"]),
        ("[[link]]\nname = \"p0\"\n[[link]]\nname = \"p0\"\n", &["link 2 (p0)", "of this name already"]),
        ("[[link]]\nname = \"p0\"\nindex = 0\n", &["link 1 (p0)", "index 0 is not between 2 and 2147483647"]),
        ("[[nexthop]]\nid = 1\nbuckets = 0\n", &["nexthop 1 (1): ids, weights and buckets count from 1"]),
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
        ("[sysctl]\n\"net.ipv6.conf.p7.mtu\" = 1280\n", &["sysctl net.ipv6.conf.p7.mtu: no such interface"]),
        ("", &["s2.toml", "no [[link]]"]),
    ] {
        lab.write("s2.toml", text.as_bytes());
        lab.write("list.txt", b"10.0.0.0/8\n10.0.0/8\n");
        says(&lab, "replay in.pcapng -s s2.toml", 1, parts);
    }
}

#[test]
fn scenario_files_that_are_no_text() {
    let lab = Lab::new(&[udp6("2001:db8:1::9", "2001:db8:9::1", 64, 8)]);
    for command in
        ["replay in.pcapng", "explain in.pcapng", "route get 10.0.0.1", "run --standalone --io tap"]
    {
        says(&lab, &format!("{command} -s none.toml"), 1, &["none.toml: cannot open it: No such file"]);
        says(&lab, &format!("{command} -s ."), 1, &[".: cannot open it: Is a directory"]);
    }
    lab.write("s2.toml", b"[[link]]\nname = \"p\xff\"\n");
    says(&lab, "replay in.pcapng -s s2.toml", 1, &["s2.toml:2: this is no text in UTF-8"]);
    lab.write(
        "s2.toml",
        b"[[link]]\nname = \"p0\"\n[[route_list]]\nfile = \"l\"\nnexthop = [{ dev = \"p0\" }]\n",
    );
    says(&lab, "replay in.pcapng -s s2.toml", 1, &["l: cannot open it: No such file"]);
    lab.write("l", b"10.0.0.0/8\n\xff\n");
    says(&lab, "replay in.pcapng -s s2.toml", 1, &["l:2: this is no text in UTF-8"]);
}

/// Every command that reads a scenario refuses it before anything else is done.
#[test]
fn links_that_no_kernel_has() {
    let lab = Lab::new(&[udp6("2001:db8:1::9", "2001:db8:9::1", 64, 8)]);
    let mut cases = Vec::new();
    for mtu in ["0", "3", "67", "65536", "-1", "9223372036854775807"] {
        let said =
            format!("{mtu} bytes cannot be a link's MTU: Ethernet takes 68 to 65535, IPv6 at least 1280");
        cases.push((format!("[[link]]\nname = \"p0\"\nmtu = {mtu}\n"), 3, said));
    }
    for name in ["", "a/b", ".", "..", "0123456789abcdef", "p 0", "p:0", "p%d", "all", "default", "\u{e0}"] {
        let said = format!("{name:?} cannot be a link's name: the kernel takes 1 to 15 bytes without");
        cases.push((format!("[[link]]\nname = \"{name}\"\n"), 2, said));
    }
    for mac in ["01:00:5e:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"] {
        let said = format!("{mac} cannot be a link's address: it is");
        cases.push((format!("[[link]]\nname = \"p0\"\nmac = \"{mac}\"\n"), 3, said));
    }
    for (text, line, said) in cases {
        lab.write("s2.toml", text.as_bytes());
        let said = format!("s2.toml:{line}: {said}");
        says(&lab, "replay in.pcapng -s s2.toml", 1, &[&said]);
        says(&lab, "run --standalone --io tap -s s2.toml", 1, &[&said]);
        says(&lab, "conform -s s2.toml", 1, &[&said]);
    }
}

#[test]
fn values_that_cannot_be_read_are_repeated_with_a_cure() {
    let lab = Lab::new(&[udp6("2001:db8:1::9", "2001:db8:9::1", 64, 8)]);
    for (text, said) in [
        (
            "[[address]]\ndev = \"p0\"\nprefix = \"10.0.0.1\"",
            "s2.toml:3: \"10.0.0.1\" has no prefix length: write \"10.0.0.1/24\"",
        ),
        (
            "[[address]]\ndev = \"p0\"\nprefix = \"fe80::1\"",
            "s2.toml:3: \"fe80::1\" has no prefix length: write \"fe80::1/64\"",
        ),
        (
            "[[address]]\ndev = \"p0\"\nprefix = \"10.0.0.1/33\"",
            "s2.toml:3: \"10.0.0.1/33\" is no address with a prefix length such as \"10.0.0.1/24\"",
        ),
        ("[[neighbour]]\ndev = \"p0\"\nto = \"ten\"", "s2.toml:3: \"ten\" is no IP address such as"),
        ("[[neighbour]]\ndev = \"p0\"\nlladdr = \"2:2\"\n", "s2.toml:3: `2:2` is not a MAC address"),
        ("[[route]]\ndst = \"default\"\nvia = \"10.0.1\"", "s2.toml:3: \"10.0.1\" is no IP address"),
        ("[[route]]\ndst = \"default\"\nsrc = \"x\"", "s2.toml:3: \"x\" is no IP address"),
        ("[[route]]\ndst = \"::/0\"\n\nnexthop = [{ via = \"\" }]", "s2.toml:4: \"\" is no IP address"),
        ("[[nexthop]]\nid = 1\nvia = \"10.0.0.256\"", "s2.toml:3: \"10.0.0.256\" is no IP address"),
        (
            "[[route]]\ndst = \"::/0\"\nmetric = -1",
            "s2.toml:3: integer `-1` where a number from 0 to 4294967295 is wanted",
        ),
        ("[[route]]\ndst = \"::/0\"\nhoplimit = 256", "`256` where a number from 0 to 255 is wanted"),
        ("[[rule]]\npref = 99999999999999999999", "s2.toml:2: integer `99999999999999999999` where a number"),
        ("[[rule]]\npref = 9999999999999999999", "s2.toml:2: integer `9999999999999999999` where a number"),
        (
            "[[link]]\nname = \"p0\"\nmtu = 9999999999999999999",
            "s2.toml:3: integer `9999999999999999999` where",
        ),
        ("[[rule]]\ndport = 9999999999999999999", "s2.toml:2: a number above 9223372036854775807"),
        (
            "[sysctl]\n\"net.ipv4.ip_forward\" = 99999999999999999999",
            "where a number of at most 64 bits is wanted",
        ),
        ("[[nexthop]]\nbuckets = 1.5", "s2.toml:2: floating point `1.5` where a number from 0 to 65535"),
        ("[[link]]\nname = 5", "s2.toml:2: integer `5` where a text in quotes is wanted"),
        ("[[link]]\nname = \"p0\"\nup = 1", "s2.toml:3: integer `1` where true or false is wanted"),
        ("[link]\nname = \"p0\"", "s2.toml:1: a table where a list is wanted: write [[...]] or [{ ... }]"),
        ("[[rule]]\npref = 1\ndport = true", "s2.toml:3: true where a number or a text in quotes is wanted"),
    ] {
        lab.write("s2.toml", text.as_bytes());
        says(&lab, "replay in.pcapng -s s2.toml", 1, &[said]);
    }
}

#[test]
fn sysctls_that_the_kernel_would_not_take() {
    let lab = Lab::new(&[udp6("2001:db8:1::9", "2001:db8:9::1", 64, 8)]);
    for (text, said) in [
        ("\"net.ipv4.ip_default_ttl\" = 99999", "net.ipv4.ip_default_ttl: 99999 is not between 1 and 255"),
        ("\"net.ipv4.ip_default_ttl\" = \"0\"", "net.ipv4.ip_default_ttl: 0 is not between 1 and 255"),
        ("\"net.ipv6.conf.p9.mtu\" = 1279", "net.ipv6.conf.p9.mtu: 1279 is not between 1280 and 2147483647"),
        ("\"net.ipv4.ip_forward\" = 4294967296", "4294967296 is not between -2147483648 and 2147483647"),
        ("\"net.ipv4.conf.all.mc_forwarding\" = 1", "mc_forwarding: only a multicast routing daemon sets it"),
        ("\"net.ipv4.no_such\" = 1", "sysctl net.ipv4.no_such: not one that forwarding reads"),
        ("\"net.ipv6.icmp_ratelimit\" = 1", "sysctl net.ipv6.icmp_ratelimit: not one that forwarding reads"),
        ("\"net.ipv4.ip_forward\" = true", "sysctl net.ipv4.ip_forward: true where a number is wanted"),
        ("\"net.ipv4.ip_forward\" = \"on\"", "sysctl net.ipv4.ip_forward: \"on\" where a number is wanted"),
        ("\"net.ipv6.icmp.ratemask\" = \"x\"", "sysctl net.ipv6.icmp.ratemask: \"x\" is no list"),
        ("net.ipv4.ip_forward = 1", "quote the name: \"net.ipv4.ip_forward\" = 1"),
    ] {
        lab.write("s2.toml", format!("[sysctl]\n\n{text}\n").as_bytes());
        says(&lab, "replay in.pcapng -s s2.toml", 1, &["s2.toml:3: ", said]);
    }
    lab.write("s2.toml", b"[sysctl.net.ipv4]\nip_forward = 1\n");
    says(&lab, "replay in.pcapng -s s2.toml", 1, &["s2.toml:1: quote the name: \"net.ipv4.ip_forward\" = 1"]);
    lab.write("s2.toml", b"[[link]]\nname = \"p0\"\n[sysctl]\n\"net.ipv6.conf.p0.mtu\" = 1501\n");
    let said = "sysctl net.ipv6.conf.p0.mtu: 1501 is over the link's own, 1500";
    says(&lab, "replay in.pcapng -s s2.toml", 1, &[said]);
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
        ("explain in.pcapng -s s.toml --packet 0", "--packet"),
        ("explain in.pcapng -s s.toml --packet -1", "'-1'"),
        ("explain in.pcapng -s s.toml --packet 1.5", "--packet"),
        ("explain in.pcapng -s s.toml --packet 99999999999999999999", "--packet"),
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
