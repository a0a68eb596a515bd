//! A worker between ports of memory: what comes in leaves rewritten, is held, is lost and counted, or goes unread.

use super::*;
use crate::forward::Scope;
use crate::forward::l3::limit::Limits;
use crate::iface::{Addr4, LinkKind};
use crate::neigh::Ask;
use crate::port::memory;
use crate::port::post::{Lease, Post, pairs};
use crate::port::wait::Waker;
use crate::port::{Rx, Tx};
use crate::state::{LinkInfo, Writer};
use crate::stats::{Link, Mib, Own, WorkerStats};
use crossbeam_channel::Receiver;
use std::net::{IpAddr, Ipv4Addr};
use warren_fib::{Hops, Neighbour, Nud, Place, Prefix, Route};

const HOST: [u8; 6] = [2, 0, 0, 0, 1, 1];

/// A router with p2 (10.0.2.254/24) and p3 (10.0.3.254/24), and 10.0.3.1 behind p3.
struct Router {
    worker: Worker,
    writer: Writer,
    post: Post,
    news: Receiver<News>,
    lease: Lease,
    stats: Arc<WorkerStats>,
    watch: Watch,
}

fn mac(index: u32) -> [u8; 6] {
    [2, 0, 0, 0, 0, index as u8]
}

fn router() -> Router {
    let (mut writer, shared) = Writer::new(1, 1).unwrap();
    for index in [2, 3] {
        let name = format!("p{index}");
        let kind = LinkKind::Ethernet;
        writer.set_link(LinkInfo { index, name, kind, mac: mac(index), mtu: 1500, up: true, carrier: true });
        let addr = Ipv4Addr::new(10, 0, index as u8, 254);
        writer.update_iface(index, |i| {
            i.conf4.forwarding = 1;
            let subnet =
                Addr4 { addr, peer: addr, prefix_len: 24, broadcast: None, scope: 0, secondary: false };
            i.addrs4.push(subnet);
        });
        let prefix = Prefix::new(addr, 24).unwrap();
        writer
            .insert4(Route { scope: 253, ..Route::new(prefix, Hops::one(index, None)) }, Place::New)
            .unwrap();
    }
    let known = Neighbour { lladdr: HOST, state: Nud::PERMANENT };
    writer.set_neighbour(3, IpAddr::V4(Ipv4Addr::new(10, 0, 3, 1)), Some(known));
    writer.publish();
    let lease = Lease::default();
    lease.extend(u64::MAX);
    let control = Waker::new().unwrap();
    let (mut posts, mut desks, news) = pairs(1, &lease, &control).unwrap();
    let forwarder = Forwarder::new(Arc::new(Limits::new(64, 1)), Scope::Split);
    let stats = Arc::clone(&forwarder.stats);
    let watch = Watch::default();
    let worker = Worker::new(&shared, forwarder, desks.pop().unwrap(), watch.clone()).unwrap();
    Router { worker, writer, post: posts.pop().unwrap(), news, lease, stats, watch }
}

/// A UDP packet from 10.0.2.1 with a TTL of 64, in a frame to p2.
fn frame(to: Ipv4Addr) -> Vec<u8> {
    let mut bytes = Vec::new();
    let from = Ipv4Addr::new(10, 0, 2, 1).octets();
    etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 1, 2], mac(2))
        .ipv4(from, to.octets(), 64)
        .udp(5, 6)
        .write(&mut bytes, b"payload")
        .unwrap();
    bytes
}

fn receiving(frames: &[Vec<u8>]) -> Order {
    let mut rx = memory::Rx::new(1, 0);
    frames.iter().for_each(|f| rx.load(2, mac(2), 0, f.len() as u32, f).unwrap());
    Order::Receive(2, Box::new(Rx::Memory(rx)))
}

fn sending() -> Order {
    Order::Send(3, Box::new(Tx::Memory(memory::Tx::default())))
}

impl Router {
    fn order(&self, orders: impl IntoIterator<Item = Order>) {
        orders.into_iter().for_each(|order| self.post.order(order).unwrap());
    }

    /// What was sent on p3 since its sending half was handed over; it is taken back for that.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        self.order([Order::Forget(3)]);
        self.worker.round();
        let unused = self.news.try_iter().find_map(|news| match news {
            News::Unused(tx) => Some(*tx),
            _ => None,
        });
        let Some(Tx::Memory(tx)) = unused else { panic!("no sending half came back") };
        tx.sent().map(|(bytes, _)| bytes.to_vec()).collect()
    }
}

#[test]
fn a_frame_leaves_rewritten_and_counted() {
    let mut r = router();
    let to = Ipv4Addr::new(10, 0, 3, 1);
    r.order([sending(), receiving(&[frame(to), frame(to)])]);
    assert_eq!(r.worker.round(), Round::Busy);
    assert_eq!(r.worker.round(), Round::Empty);
    let sent = r.sent();
    assert_eq!(sent.len(), 2);
    let packet = etherparse::SlicedPacket::from_ethernet(&sent[0]).unwrap();
    let Some(etherparse::LinkSlice::Ethernet2(link)) = packet.link else { panic!("Ethernet") };
    assert_eq!((link.destination(), link.source()), (HOST, mac(3)));
    let Some(etherparse::NetSlice::Ipv4(ip)) = packet.net else { panic!("IPv4") };
    assert_eq!((ip.header().ttl(), ip.header().destination_addr()), (63, to));
    assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
    let counts = r.stats.snapshot();
    assert_eq!((counts.mib(Mib::IpForwDatagrams), counts.own(Own::TxFailed)), (2, 0));
}

#[test]
fn what_cannot_be_sent_is_counted() {
    let mut r = router();
    r.order([receiving(&[frame(Ipv4Addr::new(10, 0, 3, 1))])]);
    r.worker.round();
    let slot = r.writer.draft().ifaces.get(3).unwrap().slot;
    let counts = r.stats.snapshot();
    assert_eq!((counts.own(Own::TxFailed), counts.link(slot, Link::TxDropped)), (1, 1));
}

#[test]
fn without_a_lease_frames_go_unread() {
    let mut r = router();
    r.lease.extend(1);
    r.order([sending(), receiving(&[frame(Ipv4Addr::new(10, 0, 3, 1))])]);
    assert_eq!(r.worker.round(), Round::Busy);
    assert_eq!(r.sent(), Vec::<Vec<u8>>::new());
    let counts = r.stats.snapshot();
    assert_eq!((counts.own(Own::LapsedFrames), counts.mib(Mib::IpInReceives)), (1, 0));
}

#[test]
fn a_held_packet_leaves_when_its_neighbour_is_known() {
    let mut r = router();
    let to = Ipv4Addr::new(10, 0, 3, 2);
    r.order([sending(), receiving(&[frame(to)])]);
    r.worker.round();
    let asks: Vec<_> = r.news.try_iter().collect();
    assert!(matches!(asks[..], [News::Ask(Ask::Resolve { oif: 3, next })] if next == to), "{asks:?}");
    let known = Neighbour { lladdr: [2, 0, 0, 0, 1, 9], state: Nud::REACHABLE };
    r.writer.set_neighbour(3, to.into(), Some(known));
    r.writer.publish_routes();
    r.worker.round();
    assert_eq!(r.stats.snapshot().own(Own::HeldReleased), 0, "nobody told the worker");
    r.post.call().unwrap();
    r.worker.round();
    let sent = r.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(&sent[0][..6], [2, 0, 0, 0, 1, 9]);
}

#[test]
fn ports_go_back_empty_and_stop_ends_the_work() {
    let mut r = router();
    let to = Ipv4Addr::new(10, 0, 3, 1);
    let frames = vec![frame(to); 300];
    r.order([sending(), receiving(&frames), Order::Stop]);
    let mut rounds = 0;
    while r.worker.round() != Round::Over {
        rounds += 1;
        assert!(rounds < 10, "the worker ends");
    }
    assert_eq!(r.stats.snapshot().mib(Mib::IpForwDatagrams), 300, "all that was in the ring");
    let back: Vec<_> = r.news.try_iter().collect();
    assert!(matches!(back[..], [News::Returned(2, _, None)]), "{back:?}");
}

#[test]
fn who_captures_sees_frames_as_they_came_and_what_became_of_them() {
    use crate::drop::DropReason;
    use crate::port::capture::Direction;
    let mut r = router();
    let to = Ipv4Addr::new(10, 0, 3, 1);
    let mut late = frame(to);
    late[22] = 1; // a TTL of 1, with a checksum to match
    late[24] = late[24].wrapping_add(63);
    let mut foreign = frame(to);
    foreign[5] = 0x77;
    let capture = r.watch.open(2).unwrap();
    r.order([sending(), receiving(&[frame(to), late.clone(), foreign])]);
    r.worker.round();
    let seen: Vec<_> = capture.frames.try_iter().collect();
    let came: Vec<_> = seen.iter().map(|s| (s.direction, s.dropped, &s.bytes)).collect();
    let (first, second) = (frame(to), late);
    let expect = [(Direction::In, None, &first), (Direction::In, Some(DropReason::V4Ttl), &second)];
    assert_eq!(came[..2], expect, "as received; the frame for another host is the kernel's");
    assert_eq!(came.len(), 2, "what leaves by p3 is not asked for, and no route leads back by p2");
    drop(capture);
    let capture = r.watch.open(3).unwrap();
    r.order([receiving(&[frame(to)])]);
    r.worker.round();
    let seen: Vec<_> = capture.frames.try_iter().collect();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].direction, seen[0].bytes[22]), (Direction::Out, 63));
}
