//! The program against the claim rule written in Rust, run by the kernel on generated frames; and its words against its
//! source. Needs root (bpf), clang and llvm-objcopy.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;

use bolero::TypeGenerator;

use super::*;

const TO_KERNEL: i32 = -1;
const DROP: i32 = 2;

const LEFT: [&str; 8] = [
    "0.0.0.0/32",
    "10.1.0.0/16",
    "192.0.2.1/32",
    "224.0.0.0/4",
    "2001:db8::/64",
    "2001:db8:1::1/128",
    "fe80::/10",
    "ff00::/8",
];

/// Inside, at the edge of and outside `LEFT`.
const TO4: [[u8; 4]; 8] = [
    [0, 0, 0, 0],
    [0, 0, 0, 1],
    [10, 0, 255, 255],
    [10, 1, 255, 255],
    [10, 2, 0, 0],
    [192, 0, 2, 1],
    [223, 255, 255, 255],
    [239, 1, 2, 3],
];
const TO6: [&str; 8] = [
    "::",
    "2001:db8::ffff:ffff:ffff:ffff",
    "2001:db8:0:1::",
    "2001:db8:1::1",
    "2001:db8:1::2",
    "fe7f:ffff::1",
    "febf::1",
    "ff02::1",
];

fn left() -> Vec<IpNet> {
    LEFT.iter().map(|prefix| prefix.parse().unwrap()).collect()
}

/// The claim rule as the module doc of `guard` states it, for untagged frames.
fn claims(frame: &[u8], host: bool, left: &[IpNet]) -> bool {
    let is_left = |to: std::net::IpAddr| left.iter().any(|prefix| prefix.contains(&to));
    let Some((ethernet, packet)) = frame.split_at_checked(14) else { return false };
    if !host {
        return false;
    }
    match ethernet[12..] {
        [0x08, 0x00] if packet.len() >= 20 => {
            let to = Ipv4Addr::from(<[u8; 4]>::try_from(&packet[16..20]).unwrap());
            let header = packet.len().min(4 * usize::from(packet[0] & 15));
            let alert = packet.get(20..header).is_some_and(|options| options.contains(&148));
            !is_left(to.into()) && !alert
        }
        [0x86, 0xdd] if packet.len() >= 40 => {
            let to = Ipv6Addr::from(<[u8; 16]>::try_from(&packet[24..40]).unwrap());
            let alert = match (packet[6], packet.get(41)) {
                (0, Some(0..=7)) => {
                    let end = packet.len().min(40 + 8 + 8 * usize::from(packet[41]));
                    packet[42.min(end)..end].windows(2).any(|pair| pair == [5, 2])
                }
                (0, Some(_)) => true,
                _ => false,
            };
            !is_left(to.into()) && !alert
        }
        _ => false,
    }
}

/// A frame near the edges of the rule.
#[derive(Debug, TypeGenerator)]
struct Case {
    mac: u8,
    ethertype: u8,
    version_ihl: u8,
    to: u8,
    next_header: u8,
    hop_by_hop_units: u8,
    options: [u8; 80],
    len: u8,
}

impl Case {
    fn frame(&self) -> Vec<u8> {
        let mut frame = vec![0; 14 + 40 + 80];
        // The trial run's loopback device has the MAC address 0.
        frame[0..6].copy_from_slice(match self.mac % 8 {
            0 => &[0xff; 6],
            1 => &[2, 0, 0, 0, 0, 9],
            2 => &[0x33, 0x33, 0, 0, 0, 1],
            _ => &[0; 6],
        });
        let (ethertype, begin) = match self.ethertype % 16 {
            0..7 => ([0x08, 0x00], 20),
            7..14 => ([0x86, 0xdd], 40),
            14 => ([0x81, 0x00], 20),
            _ => ([0x08, 0x06], 20),
        };
        frame[12..14].copy_from_slice(&ethertype);
        let packet = &mut frame[14..];
        packet[0] = self.version_ihl;
        // Mostly harmless bytes, with now and then one of those that matter.
        for (to, from) in packet[begin..].iter_mut().zip(self.options) {
            *to = match from {
                0..6 => 148,
                6..20 => 5,
                20..60 => 2,
                other => other,
            };
        }
        if begin == 20 {
            packet[16..20].copy_from_slice(&TO4[usize::from(self.to) % 8]);
        } else {
            packet[6] = if self.next_header < 200 { 0 } else { self.next_header };
            let to: Ipv6Addr = TO6[usize::from(self.to) % 8].parse().unwrap();
            packet[24..40].copy_from_slice(&to.octets());
            packet[41] = self.hop_by_hop_units % 10;
        }
        // Trial runs take no frame that is shorter than its IP header; `tests/guard` sends such frames over a veth.
        frame.truncate(14 + begin + usize::from(self.len));
        frame
    }
}

/// Tries `words` on generated frames and counts those dropped and those passed, so that a caller sees both were tried.
fn agrees_with_the_rule(words: &[u64]) {
    let left = left();
    let tcx = Tcx::from_words(words, &left).unwrap();
    let seen = std::sync::Mutex::new([0u32; 2]);
    bolero::check!().with_iterations(20_000).with_type::<Case>().for_each(|case| {
        let frame = case.frame();
        let host = frame[..6] == [0; 6];
        let claimed = claims(&frame, host, &left);
        tcx.renew().unwrap();
        let want = if claimed { DROP } else { TO_KERNEL };
        assert_eq!(tcx.program.test_run(&frame).unwrap(), want, "{frame:02x?}");
        seen.lock().unwrap()[usize::from(claimed)] += 1;
    });
    let [passed, dropped] = *seen.lock().unwrap();
    assert!(passed > 100 && dropped > 100, "one-sided: {passed} passed, {dropped} dropped");
}

#[test]
fn the_program_follows_the_rule() {
    agrees_with_the_rule(WORDS);
}

/// Frames of which each differs from a claimed one in one point.
#[test]
fn each_clause_matters() {
    let left = left();
    let tcx = Tcx::new(&left).unwrap();
    tcx.renew().unwrap();
    let check = |name: &str, frame: &[u8], claimed: bool| {
        let got = tcx.program.test_run(frame).unwrap();
        assert_eq!(got == DROP, claimed, "program: {name}");
        assert_eq!(claims(frame, frame[..6] == [0; 6], &left), claimed, "rule: {name}");
    };
    let v4 = |ihl: u8, options: &[u8]| {
        let mut frame = vec![0; 34];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x40 | ihl;
        frame[30..34].copy_from_slice(&[198, 51, 100, 1]);
        [&frame, options].concat()
    };
    check("plain IPv4", &v4(5, &[]), true);
    check("router alert", &v4(6, &[148, 4, 0, 0]), false);
    check("the same bytes as payload", &v4(5, &[148, 4, 0, 0]), true);
    check("alert behind the option area", &v4(6, &[1, 1, 1, 1, 148, 4, 0, 0]), true);
    check(
        "alert as the last byte of the longest header",
        &v4(15, &[[1; 39].as_slice(), &[148]].concat()),
        false,
    );
    check("alert cut off by the frame's end", &v4(15, &[1; 20]), true);
    check("header length 0", &v4(0, &[148; 40]), true);
    let v6 = |next: u8, options: &[u8]| {
        let mut frame = vec![0; 54];
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        frame[20] = next;
        frame[38..40].copy_from_slice(&[0x20, 0x02]);
        [&frame, options].concat()
    };
    check("plain IPv6", &v6(6, &[]), true);
    check("hop-by-hop with PadN", &v6(0, &[6, 0, 1, 4, 0, 0, 0, 0]), true);
    check("router alert", &v6(0, &[6, 0, 5, 2, 0, 0, 1, 0]), false);
    check("alert in the last two bytes", &v6(0, &[6, 0, 1, 2, 0, 0, 5, 2]), false);
    check("half an alert at the end", &v6(0, &[6, 0, 1, 3, 0, 0, 0, 5, 2]), true);
    check("length not readable", &v6(0, &[6]), true);
    check("the longest that is looked at", &v6(0, &[&[6, 7], [1; 60].as_slice(), &[5, 2]].concat()), false);
    check("the same without alert", &v6(0, &[&[6, 7], [1; 62].as_slice()].concat()), true);
    check("longer", &v6(0, &[6, 8]), false);
    check("not first", &v6(60, &[0, 0, 5, 2, 0, 0, 1, 0]), true);
}

#[test]
fn left_follows_changes_and_the_lease_ends() {
    let mut tcx = Tcx::new(&[]).unwrap();
    let mut frame = vec![0; 60];
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[30..34].copy_from_slice(&[10, 1, 2, 3]);
    assert_eq!(tcx.program.test_run(&frame).unwrap(), TO_KERNEL, "not renewed yet");
    tcx.renew().unwrap();
    assert_eq!(tcx.program.test_run(&frame).unwrap(), DROP);
    let [wide, narrow]: [IpNet; 2] = ["10.0.0.0/8", "10.1.2.3/32"].map(|p| p.parse().unwrap());
    tcx.leave(&[wide, narrow]).unwrap();
    tcx.leave(&[wide]).unwrap();
    tcx.claim(&[narrow]).unwrap();
    assert_eq!(tcx.program.test_run(&frame).unwrap(), TO_KERNEL, "10/8 still holds it");
    tcx.claim(&[wide, narrow]).unwrap();
    tcx.renew().unwrap();
    assert_eq!(tcx.program.test_run(&frame).unwrap(), DROP);
    std::thread::sleep(std::time::Duration::from_millis(1050));
    assert_eq!(tcx.program.test_run(&frame).unwrap(), TO_KERNEL, "one second without renewal");
}

/// `WARREN_UPDATE=1 cargo test the_words_are_this_source` writes `words.rs` anew.
/// Another compiler than the recorded one gives other words; those have to follow the rule all the same.
#[test]
fn the_words_are_this_source() {
    let (compiler, built) = compile();
    if std::env::var_os("WARREN_UPDATE").is_some() {
        std::fs::write(here("words.rs"), words_file(&compiler, &built)).unwrap();
    } else if compiler == words::COMPILER {
        assert!(
            built == WORDS,
            "words.rs is stale: run `WARREN_UPDATE=1 cargo test the_words_are_this_source`"
        );
    }
    agrees_with_the_rule(&built);
}

fn here(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control/guard/tcx").join(file)
}

fn compile() -> (String, Vec<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let [object, code] = ["guard.o", "guard.bin"].map(|name| dir.path().join(name));
    // Debian keeps asm/types.h, which linux/bpf.h wants, in a folder per architecture.
    let asm = format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    let flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-target", "bpf", &asm, "-c"];
    run(Command::new("clang").args(flags).arg(here("guard.bpf.c")).arg("-o").arg(&object));
    run(Command::new("llvm-objcopy").args(["-O", "binary", "-j", ".text"]).args([&object, &code]));
    let code = std::fs::read(code).unwrap();
    let words = code.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    (run(Command::new("clang").arg("-dumpversion")).trim().to_owned(), words)
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; install clang and llvm"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn words_file(compiler: &str, words: &[u64]) -> String {
    let lines: String = words.iter().map(|word| format!("    {word:#018x},\n")).collect();
    format!(
        "//! `guard.bpf.c` compiled: instructions as 64-bit words. Written by the test `the_words_are_this_source`, not by hand.\n\
         //! Read by `tcx.rs`, which puts map descriptors in place of the constants 0x77617272656e000N.\n\n\
         /// The version of clang that made the words.\n\
         #[cfg(test)]\n\
         pub(super) const COMPILER: &str = \"{compiler}\";\n\n\
         /// The program, entered at the first word.\n\
         #[rustfmt::skip]\n\
         pub(super) const WORDS: &[u64] = &[\n{lines}];\n"
    )
}
