//! The ring and the sender on veth pairs of the running kernel.

use super::*;
use crate::frame::GsoKind;
use crate::port;
use crate::port::testnet::{Net, transfer};
use crate::port::wait::{Sleep, Waker};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
const PLAIN: Offload = Offload {
    needs_csum: false,
    data_valid: false,
    gso: GsoKind::None,
    ecn: false,
    gso_size: 0,
    hdr_len: 0,
    csum_start: 0,
    csum_offset: 0,
};
/// A small ring, which tests can fill: 32 slots.
const TINY: Profile = Profile { slot: 2048, block: 64 << 10, blocks: 1 };

/// An Ethernet frame of an experimental type with `len` bytes in all; the first of them behind the type is `n`.
fn frame(to: [u8; 6], n: u8, len: usize) -> Vec<u8> {
    let mut f = [&to[..], &A, &[0x88, 0xb5, n]].concat();
    f.extend((f.len()..len).map(|i| (i * 31 + usize::from(n)) as u8));
    f
}

fn rx(net: &Net, name: &str, profile: Profile, admit: Option<Admit>) -> Rx {
    let index = net.index(name);
    let rx = net.enter(|| open(index, profile, 1)).unwrap().pop().unwrap();
    if let Some(admit) = admit {
        rx.gate().unwrap().open(admit).unwrap();
    }
    rx
}

fn tx(net: &Net, name: &str) -> Tx {
    let index = net.index(name);
    net.enter(|| Tx::open(index, Queueing::Qdisc)).unwrap()
}

fn send(tx: &mut Tx, frames: &[Vec<u8>]) -> Sent {
    tx.send(frames.iter().map(|f| (&**f, &PLAIN)))
}

type Got = Vec<(Vec<u8>, Meta)>;

/// Adds what waits at `rx` to `got`.
fn take(rx: &mut Rx, got: &mut Got) {
    let mut batch = Batch::new();
    rx.receive(&mut batch).unwrap();
    got.extend(batch.iter().map(|f| (f.bytes().to_vec(), f.meta)));
}

/// Repeats `step` until it says true; a busy machine may take its time.
fn until(what: &str, mut step: impl FnMut() -> bool) {
    let start = Instant::now();
    while !step() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} did not come");
    }
}

/// Receives `n` frames.
fn receive(rx: &mut Rx, n: usize) -> Got {
    let mut got = Vec::new();
    until(&format!("{n} frames"), || {
        take(rx, &mut got);
        got.len() >= n
    });
    assert_eq!(got.len(), n);
    got
}

/// Asserts that no frame comes for a while.
fn silent(rx: &mut Rx) {
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(rx.receive(&mut Batch::new()).unwrap(), 0);
}

#[test]
fn frames_come_back_identical_and_in_order() {
    let (left, right) = Net::pair();
    let mut rx = rx(&right, "p1", Profile::LARGE, Some(Admit::Host));
    // More than one batch, one system call and one round of the ring; all lengths an MTU of 1500 allows.
    let frames: Vec<_> = (0..1000).map(|n| frame(B, n as u8, 60 + n * 7 % 1455)).collect();
    let mut tx = tx(&left, "p0");
    for some in frames.chunks(150) {
        assert_eq!(send(&mut tx, some), Sent { sent: some.len() as u32, ..Default::default() });
        for ((bytes, meta), frame) in receive(&mut rx, some.len()).iter().zip(some) {
            assert_eq!(bytes, frame);
            assert_eq!((meta.iif, meta.wire_len as usize), (rx.index(), frame.len()));
            assert_eq!((meta.vlan, meta.offload), (None, PLAIN));
        }
    }
    let s = rx.statistics().unwrap();
    assert_eq!(s, Statistics { received: 1000, dropped: 0, unreadable: 0 });
    assert_eq!(rx.mac(), B);
}

#[test]
fn the_kernel_says_for_whom_a_frame_is_and_the_gate_heeds_it() {
    let (left, right) = Net::pair();
    let all = [
        (B, PktType::Host),
        ([2, 0, 0, 0, 0, 0xc], PktType::OtherHost),
        ([0xff; 6], PktType::Broadcast),
        ([1, 0, 0x5e, 0, 0, 5], PktType::Multicast),
    ];
    let frames: Vec<_> = all.iter().map(|(to, _)| frame(*to, 1, 60)).collect();
    let mut tx = tx(&left, "p0");
    let mut open = rx(&right, "p1", TINY, Some(Admit::All));
    let mut host = rx(&right, "p1", TINY, Some(Admit::Host));
    let mut closed = rx(&right, "p1", TINY, None);
    assert_eq!(send(&mut tx, &frames).sent, 4);
    let types: Vec<_> = receive(&mut open, 4).iter().map(|(_, m)| m.pkt_type).collect();
    assert_eq!(types, all.map(|(_, t)| t));
    assert_eq!(receive(&mut host, 1)[0].0, frames[0]);
    silent(&mut host);
    silent(&mut closed);

    let gate = host.gate().unwrap();
    gate.close().unwrap();
    send(&mut tx, &frames);
    receive(&mut open, 4);
    silent(&mut host);
    gate.open(Admit::Host).unwrap();
    send(&mut tx, &frames);
    receive(&mut host, 1);
    assert_eq!(closed.statistics().unwrap(), Statistics::default());
}

#[test]
fn a_vlan_tag_shows_beside_the_frame() {
    let (left, right) = Net::pair();
    let mut rx = rx(&right, "p1", TINY, Some(Admit::Host));
    let inner = frame(B, 3, 60);
    let tagged = [&inner[..12], &[0x81, 0, 0x60, 7], &inner[12..]].concat();
    assert_eq!(send(&mut tx(&left, "p0"), &[tagged]).sent, 1);
    let got = receive(&mut rx, 1);
    assert_eq!(got[0].1.vlan, Some(0x6007), "priority 3, VLAN 7");
    assert_eq!(got[0].0, inner, "the tag is taken out of the frame");
}

#[test]
fn outgoing_frames_are_not_received() {
    let (left, right) = Net::pair();
    let mut own = rx(&left, "p0", TINY, Some(Admit::All));
    let mut far = rx(&right, "p1", TINY, Some(Admit::All));
    send(&mut tx(&left, "p0"), &[frame(B, 1, 60)]);
    receive(&mut far, 1);
    silent(&mut own);
    assert_eq!(own.statistics().unwrap(), Statistics::default(), "not even a slot is spent on them");
}

#[test]
fn a_full_ring_drops_and_counts_and_no_slot_is_lent_twice() {
    let (left, right) = Net::pair();
    let mut rx = rx(&right, "p1", TINY, Some(Admit::Host));
    let frames: Vec<_> = (0..100).map(|n| frame(B, n, 60)).collect();
    assert_eq!(send(&mut tx(&left, "p0"), &frames).sent, 100);
    until("100 frames", || rx.statistics().unwrap().received + rx.statistics().unwrap().dropped == 100);
    {
        // A batch takes 256 frames, the ring holds 32: going round it must stop at the first lent slot.
        let mut batch = Batch::new();
        assert_eq!(rx.receive(&mut batch).unwrap(), 32);
        let mut starts: Vec<_> = batch.iter().map(|f| f.bytes().as_ptr()).collect();
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), 32, "32 different slots");
        for (frame, sent) in batch.iter_mut().zip(&frames) {
            assert_eq!(frame.bytes(), sent);
            frame.bytes_mut().fill(0);
        }
    }
    assert_eq!(rx.statistics().unwrap(), Statistics { received: 32, dropped: 68, unreadable: 0 });
    rx.release();
    send(&mut tx(&left, "p0"), &frames[..5]);
    receive(&mut rx, 5); // released slots are filled again
}

#[test]
fn a_frame_longer_than_its_slot_says_so() {
    let (left, right) = Net::pair();
    left.run("ip link set p0 mtu 9000");
    right.run("ip link set p1 mtu 9000");
    let mut small = rx(&right, "p1", TINY, Some(Admit::Host));
    let mut large = rx(&right, "p1", Profile::LARGE, Some(Admit::Host));
    let long = frame(B, 9, 9014);
    send(&mut tx(&left, "p0"), std::slice::from_ref(&long));
    let got = receive(&mut small, 1);
    assert_eq!(got[0].1.wire_len, 9014);
    assert_eq!(got[0].0, long[..got[0].0.len()]);
    assert!((1900..2048).contains(&got[0].0.len()));
    assert_eq!(receive(&mut large, 1)[0].0, long);
}

#[test]
fn what_cannot_be_sent_is_told_apart() {
    let (left, right) = Net::pair();
    let mut tx = tx(&left, "p0");
    let mut rx = rx(&right, "p1", TINY, Some(Admit::Host));
    let (good, long, short) = (frame(B, 1, 60), frame(B, 2, 3000), vec![0; 5]);
    let got = send(&mut tx, &[good.clone(), long.clone(), good.clone(), short, long, good.clone()]);
    assert_eq!(got, Sent { sent: 3, too_long: 2, refused: 1, ..Default::default() });
    receive(&mut rx, 3); // those behind a bad frame still go
    // A queue of nothing: each frame is lost at the qdisc.
    left.run("tc qdisc replace dev p0 root pfifo limit 0");
    let got = send(&mut tx, &[good.clone(), good.clone()]);
    assert_eq!(got, Sent { no_room: 2, ..Default::default() }, "through the qdisc, not past it");
    left.run("ip link set p0 down");
    assert_eq!(send(&mut tx, &vec![good.clone(); 70]), Sent { down: 70, ..Default::default() });
    left.run("ip link del p0");
    assert_eq!(send(&mut tx, &vec![good; 70]), Sent { gone: 70, ..Default::default() });
}

#[test]
fn going_down_and_going_away_are_told_apart() {
    let (left, right) = Net::pair();
    let mut port = port::Rx::Packet(rx(&right, "p1", TINY, Some(Admit::Host)));
    let sleep = Sleep::new(Waker::new().unwrap()).unwrap();
    sleep.add(&port).unwrap();
    let mut error = || {
        sleep.wait(Some(Duration::from_secs(10))).unwrap();
        (0..SILENCE).try_fold(0, |sum, _| Ok(sum + port.receive(&mut Batch::new())?))
    };
    right.run("ip link set p1 down");
    let e = error().unwrap_err();
    assert!(matches!(&e, PortError::Down { interface } if interface == "p1"), "{e}");
    right.run("ip link set p1 up");
    left.ready("p0");
    send(&mut tx(&left, "p0"), &[frame(B, 1, 60)]);
    assert_eq!(error().unwrap(), 1, "frames come again");
    left.run("ip link del p0");
    // Down comes first if the worker is quick between the two notices of one deletion.
    let e =
        error().or_else(|e| if matches!(e, PortError::Down { .. }) { error() } else { Err(e) }).unwrap_err();
    assert!(matches!(&e, PortError::Gone { interface } if interface == "p1"), "{e}");
    let e = right.enter(|| open(4711, TINY, 1)).unwrap_err();
    assert!(e.to_string().contains("interface 4711: cannot bind"), "{e}");
}

#[test]
fn fanout_keeps_a_flow_with_one_worker_in_both_directions() {
    let (left, right) = Net::pair();
    let index = right.index("p1");
    let mut queues = right.enter(|| open(index, TINY, 2)).unwrap();
    for q in &queues {
        q.gate().unwrap().open(Admit::All).unwrap();
    }
    // UDP over IPv4 between 10.0.0.1:p and 10.0.0.2:9, each flow both ways.
    let udp = |p: u16, back: bool| {
        let (mut from, mut to) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let (mut sport, mut dport) = (p, 9);
        if back {
            (from, to, sport, dport) = (to, from, dport, sport);
        }
        let ip = [&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0][..], &from, &to].concat();
        let udp = [sport.to_be_bytes(), dport.to_be_bytes(), [0, 8], [0, 0]].concat();
        [&B[..], &A, &[8, 0], &ip, &udp].concat()
    };
    let mut tx = tx(&left, "p0");
    let mut owner = HashMap::new();
    for port in 1000..1064_u16 {
        send(&mut tx, &[udp(port, false), udp(port, true)]);
        let mut got = [vec![], vec![]];
        until("both frames", || {
            queues.iter_mut().zip(&mut got).for_each(|(q, got)| take(q, got));
            got[0].len() + got[1].len() == 2
        });
        assert_ne!(got[0].len(), 1, "flow {port} is split");
        owner.insert(port, got[0].len() == 2);
    }
    let first = owner.values().filter(|&&o| o).count();
    assert!((1..64).contains(&first), "both work: {first} of 64 flows at the first");
    // An outgoing frame reaches no member.
    send(&mut self::tx(&right, "p1"), &[frame(A, 1, 60)]);
    queues.iter_mut().for_each(silent);
    assert_eq!(queues.iter_mut().map(|q| q.statistics().unwrap().received).sum::<u64>(), 128);
}

#[test]
fn tcp_with_default_offloads_crosses_a_bridge_of_two_ports() {
    let (left, middle, right) = (Net::new(), Net::new(), Net::new());
    left.veth("p0", "0a", &middle, "r0", "a0");
    right.veth("p1", "0b", &middle, "r1", "b0");
    left.run("ip addr add 10.0.0.1/24 dev p0");
    right.run("ip addr add 10.0.0.2/24 dev p1");
    let ports = ["r0", "r1"].map(|name| {
        let rx = rx(&middle, name, Profile::LARGE, Some(Admit::All));
        (port::Rx::Packet(rx), port::Tx::Packet(tx(&middle, name)))
    });
    transfer(&left, &right, ports);
}

/// Reads a packet from a TUN queue, once there is one.
fn read(queue: &OwnedFd, buffer: &mut [u8]) -> usize {
    let mut len = Err(Errno::AGAIN);
    until("a packet", || {
        len = rustix::io::read(queue, &mut *buffer);
        len != Err(Errno::AGAIN)
    });
    len.unwrap()
}

#[test]
fn a_device_without_ethernet_header_takes_packets() {
    use crate::sys::tun;
    let net = Net::new();
    let flags = libc::IFF_TUN | libc::IFF_NO_PI;
    let (queue, name) = net.enter(|| tun::open("t%d", flags)).unwrap();
    assert_eq!(name, "t0");
    net.run("ip link set t0 up");
    let index = net.index("t0");
    let mut tx = tx(&net, "t0");
    assert!(tx.bare());
    let v4 = [&[0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0, 0][..], &[10, 0, 0, 1], &[10, 0, 0, 2]].concat();
    let v6 = [&[0x60, 0, 0, 0, 0, 0, 59, 64][..], &[0; 32]].concat();
    let got = send(&mut tx, &[v4.clone(), vec![0x10; 20], v6.clone(), vec![]]);
    assert_eq!(got, Sent { sent: 2, refused: 2, ..Default::default() });
    let mut buffer = [0; 2000];
    for packet in [v4, v6] {
        let n = read(&queue, &mut buffer);
        assert_eq!(buffer[..n], packet);
    }
    let e = net.enter(|| open(index, TINY, 1)).unwrap_err();
    assert!(matches!(&e, PortError::NotEthernet { hatype: libc::ARPHRD_NONE, .. }), "{e}");
}

#[test]
fn a_super_frame_leaves_a_device_without_ethernet_header_in_segments() {
    use crate::sys::tun;
    let net = Net::new();
    let (queue, _) = net.enter(|| tun::open("t0", libc::IFF_TUN | libc::IFF_NO_PI)).unwrap();
    net.run("ip link set t0 up");
    let (from, to) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let pseudo = |len: u16| [&from[..], &to, &[0, 6], &len.to_be_bytes()].concat();
    let mut frame =
        [&A[..], &B, &[8, 0, 0x45, 0], &4040_u16.to_be_bytes(), &[0, 0, 0, 0, 64, 6, 0, 0]].concat();
    frame.extend([from, to].concat());
    frame.extend([0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    frame.extend((0..4000).map(|i| i as u8));
    let ip = internet_checksum::checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&ip);
    // A sender with offloads leaves the sum of the pseudo-header where the checksum goes.
    let begun = internet_checksum::checksum(&pseudo(4020)).map(|b| !b);
    frame[50..52].copy_from_slice(&begun);
    let work = Offload {
        needs_csum: true,
        gso: GsoKind::Tcp4,
        gso_size: 1000,
        hdr_len: 54,
        csum_start: 34,
        csum_offset: 16,
        ..PLAIN
    };
    let sent = tx(&net, "t0").send([(&frame[14..], &work.skip(14))].into_iter());
    assert_eq!(sent, Sent { sent: 1, ..Default::default() });
    let mut buffer = [0; 2000];
    for n in 0..4 {
        let len = read(&queue, &mut buffer);
        assert_eq!((len, &buffer[40..len]), (1040, &frame[54 + 1000 * n..54 + 1000 * (n + 1)]));
        let all = [&pseudo(1020), &buffer[20..len]].concat();
        assert_eq!(internet_checksum::checksum(&all), [0, 0], "segment {n} has a right checksum");
    }
}

#[test]
fn big_tcp_is_cut_at_the_slot_and_says_so() {
    use std::io::{Read, Write};
    let (left, right) = Net::pair();
    for (net, name, address) in [(&left, "p0", "fd00::1"), (&right, "p1", "fd00::2")] {
        net.run(&format!("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.{name}.disable_ipv6=0"));
        net.run(&format!("ip addr add {address}/64 dev {name} nodad"));
        net.run(&format!("ip link set {name} gso_max_size 200000 gro_max_size 200000"));
    }
    let mut rx = rx(&right, "p1", Profile::LARGE, Some(Admit::All));
    let listener = right.enter(|| std::net::TcpListener::bind("[fd00::2]:7000")).unwrap();
    std::thread::scope(|s| {
        s.spawn(|| listener.accept().unwrap().0.read_to_end(&mut Vec::new()).unwrap());
        let mut giver = left.enter(|| std::net::TcpStream::connect("[fd00::2]:7000")).unwrap();
        s.spawn(move || giver.write_all(&vec![7; 32 << 20]).unwrap());
        let mut got = Vec::new();
        until("a cut frame", || {
            take(&mut rx, &mut got);
            got.retain(|(bytes, meta)| bytes.len() < meta.wire_len as usize);
            !got.is_empty()
        });
        let (bytes, meta) = &got[0];
        assert_eq!(meta.offload.gso, GsoKind::Tcp6);
        assert!(bytes.len() > 65_550 && meta.wire_len > 69_000, "{} of {}", bytes.len(), meta.wire_len);
    });
}
