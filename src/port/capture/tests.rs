//! Capture files against Wireshark's tools, and against damage.

use super::*;
use pcap_file::Endianness;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use std::io::Cursor;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What is compared: interface, time, wire length, bytes.
type Row = (usize, u64, u32, Vec<u8>);

const TIME: u64 = 1_700_000_000_123_456_789;

fn frame(n: u8, len: usize) -> Vec<u8> {
    let mut f = [&[2, 0, 0, 0, 0, 1][..], &[2, 0, 0, 0, 0, 2], &[0x88, 0xb5, n]].concat();
    f.resize(len, n);
    f
}

fn plain(interface: usize, time: u64, bytes: &[u8]) -> Packet<'_> {
    Packet { interface, time, wire_len: bytes.len() as u32, bytes, direction: None, comment: "" }
}

/// Three packets on two links, as our writer writes them.
fn sample() -> Vec<u8> {
    let mut w = Writer::new("sample", Vec::new()).unwrap();
    assert_eq!((w.add_interface("p0").unwrap(), w.add_interface("höhe-1").unwrap()), (0, 1));
    let (a, b, c) = (frame(1, 60), frame(2, 61), frame(3, 1514));
    w.write(&Packet { direction: Some(Direction::In), ..plain(0, TIME, &a) }).unwrap();
    let comment = "dropped: V6HopLimit (RFC 8200 3)\nsecond line";
    w.write(&Packet { direction: Some(Direction::Out), comment, ..plain(1, TIME + 1, &b) }).unwrap();
    w.write(&Packet { wire_len: 9000, ..plain(0, TIME + 2_000_000_000, &c) }).unwrap();
    w.finish().unwrap()
}

fn rows(mut reader: Reader) -> Result<Vec<Row>, CaptureError> {
    let mut rows = Vec::new();
    while let Some(p) = reader.next_packet() {
        let p = p?;
        rows.push((p.interface, p.time, p.wire_len, p.bytes.to_vec()));
    }
    assert!(reader.next_packet().is_none(), "nothing follows the end");
    Ok(rows)
}

fn read(bytes: &[u8]) -> Result<Vec<Row>, CaptureError> {
    rows(Reader::new("test", Cursor::new(bytes.to_vec()))?)
}

fn tool(name: &str, args: &[&str]) -> String {
    let output = Command::new(name).args(args).output();
    let output = output.unwrap_or_else(|e| panic!("{name}: {e} (Debian package tshark)"));
    assert!(output.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The fields that tshark shows of each packet of a file.
fn tshark(file: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut args = vec!["-r", file.to_str().unwrap(), "-T", "fields"];
    args.extend(fields.iter().flat_map(|f| ["-e", f]));
    tool("tshark", &args).lines().map(|l| l.split('\t').map(String::from).collect()).collect()
}

/// Reads the file with tshark as well and asserts that both say the same; returns our rows.
fn agreed(file: &Path) -> Vec<Row> {
    let ours = rows(Reader::open(file).unwrap()).unwrap();
    let shown: Vec<Vec<String>> = ours
        .iter()
        .map(|(interface, time, wire_len, bytes)| {
            let time = format!("{}.{:09}", time / 1_000_000_000, time % 1_000_000_000);
            vec![interface.to_string(), time, wire_len.to_string(), bytes.len().to_string()]
        })
        .collect();
    let fields = ["frame.interface_id", "frame.time_epoch", "frame.len", "frame.cap_len"];
    let mut theirs = tshark(file, &fields);
    for row in &mut theirs {
        if row[0].is_empty() {
            row[0] = "0".into(); // a classic file has no interfaces
        }
    }
    assert_eq!(shown, theirs, "{}", file.display());
    ours
}

#[test]
fn tshark_reads_what_we_write() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.pcapng");
    std::fs::write(&file, sample()).unwrap();
    agreed(&file);
    let shown = tshark(&file, &["frame.interface_name", "frame.packet_flags_direction", "frame.comment"]);
    assert_eq!(shown[0], ["p0", "0x00000001", ""]);
    assert_eq!(shown[1][..2], ["höhe-1", "0x00000002"]);
    assert!(shown[1][2].starts_with("dropped: V6HopLimit (RFC 8200 3)"), "{:?}", shown[1]);
    assert_eq!(shown[2], ["p0", "", ""]);
}

#[test]
fn what_is_written_is_read_again_and_always_the_same() {
    let bytes = sample();
    assert_eq!(bytes, sample());
    let mut reader = Reader::new("test", Cursor::new(bytes)).unwrap();
    let first = frame(1, 60);
    let expect = Packet { direction: Some(Direction::In), ..plain(0, TIME, &first) };
    assert_eq!(reader.next_packet().unwrap().unwrap(), expect);
    let p = reader.next_packet().unwrap().unwrap();
    assert_eq!((p.interface, p.time, p.direction), (1, TIME + 1, Some(Direction::Out)));
    assert_eq!(p.comment, "dropped: V6HopLimit (RFC 8200 3)\nsecond line");
    let p = reader.next_packet().unwrap().unwrap();
    assert_eq!((p.wire_len, p.bytes.len(), p.direction, p.comment), (9000, 1514, None, ""));
    assert!(reader.next_packet().is_none());
    let names: Vec<_> = reader.interfaces().iter().filter_map(|i| i.name.as_deref()).collect();
    assert_eq!(names, ["p0", "höhe-1"]);
}

#[test]
fn reads_what_editcap_and_mergecap_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("in.pcapng"), sample()).unwrap();
    let [input, merged] = ["in.pcapng", "merged.pcapng"].map(|n| path(n).to_str().unwrap().to_owned());
    for (format, unit) in [("pcap", 1000), ("nsecpcap", 1), ("pcapng", 1)] {
        let file = path(format);
        tool("editcap", &["-F", format, &input, file.to_str().unwrap()]);
        let rows = agreed(&file);
        assert_eq!(rows[1].1, (TIME + 1) / unit * unit);
        assert_eq!((rows[1].3.clone(), rows[2].2), (frame(2, 61), 9000));
        // Cut to 20 bytes a packet: the wire length stays.
        let cut = path(&format!("{format}-cut"));
        tool("editcap", &["-F", format, "-s", "20", &input, cut.to_str().unwrap()]);
        let rows = agreed(&cut);
        assert_eq!((rows[1].2, rows[1].3.clone()), (61, frame(2, 20)));
    }
    tool("mergecap", &["-w", &merged, &input, &input]);
    assert_eq!(agreed(Path::new(&merged)).len(), 6);
    // tshark adds blocks of its own that concern no packet; a second section starts interfaces anew.
    let two = path("two.pcapng");
    tool("tshark", &["-r", &input, "-W", "n", "-w", two.to_str().unwrap()]);
    let one = std::fs::read(&two).unwrap();
    std::fs::write(&two, [&one[..], &sample()].concat()).unwrap();
    let rows = rows(Reader::open(&two).unwrap()).unwrap();
    assert_eq!(rows.iter().map(|r| r.0).collect::<Vec<_>>(), [0, 1, 0, 2, 3, 2]);
}

/// A classic file in the given byte order.
fn classic(big: bool, magic: u32, fraction: u32, link: u32) -> Vec<u8> {
    let words = |w: &[u32]| -> Vec<u8> {
        w.iter().flat_map(|w| if big { w.to_be_bytes() } else { w.to_le_bytes() }).collect()
    };
    let version = if big { [0, 2, 0, 4] } else { [2, 0, 4, 0] };
    let (start, rest) = (words(&[magic]), words(&[0, 0, 65_535, link]));
    let packet = words(&[1_700_000_000, fraction, 60, 1500]);
    [start, version.into(), rest, packet, frame(7, 60)].concat()
}

#[test]
fn both_byte_orders_of_classic_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("classic");
    for big in [false, true] {
        for (magic, fraction, nanos) in
            [(0xa1b2_c3d4, 654_321, 654_321_000), (0xa1b2_3c4d, 987_654_321, 987_654_321)]
        {
            std::fs::write(&file, classic(big, magic, fraction, 1)).unwrap();
            assert_eq!(agreed(&file), [(0, 1_700_000_000_000_000_000 + nanos, 1500, frame(7, 60))]);
        }
    }
}

#[test]
fn both_byte_orders_and_all_resolutions_of_pcapng() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("next");
    // (if_tsresol, units, nanoseconds): default, milli, nano, 2^-10, pico.
    let times = [
        (None, 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (Some(3), 1_700_000_000_123, 1_700_000_000_123_000_000),
        (Some(9), TIME, TIME),
        (Some(0x8a), (1_700_000_000 << 10) + 512, 1_700_000_000_500_000_000),
        (Some(12), 17_000_000_123_456_789, 17_000_000_123_456),
    ];
    for order in [Endianness::Little, Endianness::Big] {
        let mut w = PcapNgWriter::with_endianness(Vec::new(), order).unwrap();
        for (resolution, ..) in times {
            let mut block = InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0);
            block.options.extend(resolution.map(InterfaceDescriptionOption::IfTsResol));
            w.write_block(&block.into_block()).unwrap();
        }
        for (n, (_, units, _)) in times.iter().enumerate() {
            let block = EnhancedPacketBlock {
                interface_id: n as u32,
                timestamp: Duration::from_nanos(*units), // the library writes the number as it is
                original_len: 60,
                data: frame(n as u8, 60).into(),
                options: vec![],
            };
            w.write_block(&block.into_block()).unwrap();
        }
        std::fs::write(&file, w.into_inner()).unwrap();
        let got: Vec<_> = agreed(&file).iter().map(|r| r.1).collect();
        assert_eq!(got, times.map(|(.., nanos)| nanos));
    }
}

/// A little-endian pcapng section header, and a block around a body.
fn section() -> Vec<u8> {
    block(0x0a0d_0d0a, &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat())
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &len].concat()
}

#[test]
fn simple_packets_are_cut_at_the_snap_length() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("simple");
    let simple = |len: u32, data: &[u8]| block(3, &[&len.to_le_bytes()[..], data].concat());
    let bytes = frame(5, 64);
    let all =
        [section(), block(1, &[1, 0, 0, 0, 22, 0, 0, 0]), simple(18, &bytes[..20]), simple(60, &bytes[..24])];
    std::fs::write(&file, all.concat()).unwrap();
    let rows = rows(Reader::open(&file).unwrap()).unwrap();
    assert_eq!(rows, [(0, 0, 18, bytes[..18].to_vec()), (0, 0, 60, bytes[..22].to_vec())]);
    assert_eq!(tshark(&file, &["frame.len", "frame.cap_len"]), [["18", "18"], ["60", "22"]]);
}

#[test]
fn each_error_names_the_file_the_packet_and_the_cause() {
    let ethernet = block(1, &[1, 0, 0, 0, 0, 0, 0, 0]);
    let cooked = block(1, &[113, 0, 0, 0, 0, 0, 0, 0]);
    let packet = block(6, &[[0; 20], [0; 20]].concat());
    let late = block(6, &[&[0; 4][..], &[0xff; 8], &[0; 8]].concat());
    // A name resolution block whose record reaches over its end: of no use here, so never looked into.
    let names = block(4, &[1, 0, 0xff, 0xff]);
    let long = [&6_u32.to_le_bytes()[..], &(64_u32 << 20).to_le_bytes(), &[0; 4]].concat();
    for (bytes, expect) in [
        (vec![], "test: neither pcap nor pcapng: it is empty"),
        (
            b"GET / HTTP/1.1\r\nHost: example\r\n".to_vec(),
            "test: neither pcap nor pcapng: it begins with 47 45 54 20",
        ),
        (classic(true, 0xa1b2_c3d4, 0, 113), "test: packet 1: its link type is LINUX_SLL, only ETHERNET"),
        ([section(), packet.clone()].concat(), "test: packet 1: it names interface 0, which no"),
        ([section(), cooked, packet.clone()].concat(), "packet 1: its link type is LINUX_SLL"),
        ([section(), ethernet.clone(), packet, vec![6]].concat(), "packet 2: the file ends in the middle"),
        ([section(), ethernet.clone(), late].concat(), "packet 1: its time is out of range"),
        ([section(), ethernet.clone(), names.clone(), long].concat(), "it is longer than 1048576 bytes"),
        ([section(), ethernet.clone(), names, block(2, &[0; 20])].concat(), "obsolete packet block"),
        ([section(), ethernet.repeat(MAX_INTERFACES + 1)].concat(), "more than 4096 interface blocks"),
        ([section(), vec![6, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0]].concat(), "claims to be 11 bytes long"),
    ] {
        let e = read(&bytes).unwrap_err().to_string();
        assert!(e.contains(expect), "{e:?} should say {expect:?}");
    }
    let e = Reader::open(Path::new("/no/such.pcap")).err().unwrap().to_string();
    assert!(e.starts_with("/no/such.pcap: cannot open it: No such file"), "{e}");
}

#[test]
fn a_file_cut_anywhere_gives_the_packets_before_the_cut_and_one_error() {
    for whole in [sample(), classic(false, 0xa1b2_c3d4, 0, 1)] {
        let all = read(&whole).unwrap();
        let mut clean = 0;
        for len in 1..whole.len() {
            let Ok(mut reader) = Reader::new("test", Cursor::new(whole[..len].to_vec())) else { continue };
            let mut got = 0;
            let end = loop {
                match reader.next_packet() {
                    Some(Ok(p)) => assert_eq!(p.bytes, all[got].3),
                    Some(Err(e)) => break e.to_string(),
                    None => break String::new(),
                }
                got += 1;
            };
            clean += usize::from(end.is_empty());
            let cut = format!("test: packet {}: the file ends in the middle of a record", got + 1);
            assert!(end.is_empty() || end.starts_with(&cut), "{end}");
            assert!(reader.next_packet().is_none());
        }
        assert!(clean < 10, "only a cut between records goes unnoticed: {clean}");
    }
}

#[test]
fn damage_never_panics_and_reading_ends() {
    let seeds = [sample(), classic(false, 0xa1b2_c3d4, 0, 1), classic(true, 0xa1b2_3c4d, 0, 1)];
    bolero::check!().with_type::<(u8, Vec<(u16, u8)>, Vec<u8>)>().for_each(|(seed, damage, tail)| {
        let mut bytes = seeds[usize::from(*seed) % seeds.len()].clone();
        for (at, value) in damage {
            let at = usize::from(*at) % bytes.len();
            bytes[at] = *value;
        }
        bytes.extend(tail);
        for bytes in [&bytes, tail] {
            let Ok(mut reader) = Reader::new("test", Cursor::new(bytes.clone())) else { continue };
            let mut packets = 0;
            while let Some(Ok(p)) = reader.next_packet() {
                assert!(p.bytes.len() <= MAX_PACKET && p.interface < MAX_INTERFACES);
                packets += 1;
            }
            assert!(packets <= bytes.len() / 16, "a packet takes bytes");
            assert!(reader.next_packet().is_none());
        }
    });
}

#[test]
fn the_writer_refuses_what_no_reader_takes() {
    let mut w = Writer::new("test", Vec::new()).unwrap();
    let e = w.write(&plain(0, 0, &[0; 60])).unwrap_err().to_string();
    assert!(e.contains("packet 1: it names interface 0"), "{e}");
    w.add_interface("p0").unwrap();
    assert!(w.write(&plain(0, 0, &vec![0; MAX_PACKET + 1])).unwrap_err().to_string().contains("longer"));
    let comment = "ü".repeat(40_000);
    w.write(&Packet { comment: &comment, ..plain(0, 0, &frame(1, 60)) }).unwrap();
    let mut reader = Reader::new("test", Cursor::new(w.finish().unwrap())).unwrap();
    let cut = reader.next_packet().unwrap().unwrap().comment.to_owned();
    assert!(comment.starts_with(&cut) && cut.len() > 65_000);
    // /dev/full refuses at the flush.
    let mut w = Writer::create(Path::new("/dev/full")).unwrap();
    w.add_interface("p0").unwrap();
    let e = w.finish().unwrap_err().to_string();
    assert!(e.starts_with("/dev/full: cannot write to it: No space"), "{e}");
}
