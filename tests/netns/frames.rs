//! Single frames: put onto a host's link as they are, and looked for on links by a mark that they carry.
//!
//! Frames are built with etherparse, not with warren's own builders.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use etherparse::PacketBuilder;
use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};
use warren::control::netlink::Socket;
use warren::sys::netns::Namespace;

/// A raw socket on a link: sends, and keeps all that comes in.
pub(crate) struct Wire {
    mac: [u8; 6],
    sender: Box<dyn DataLinkSender>,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Wire {
    pub(crate) fn open(space: &Namespace, link: &str) -> Self {
        let config =
            Config { read_timeout: Some(Duration::from_millis(50)), promiscuous: false, ..Config::default() };
        let channel = space.enter(|| {
            let interface = pnet_datalink::interfaces().into_iter().find(|i| i.name == link).unwrap();
            pnet_datalink::channel(&interface, config).unwrap()
        });
        let Channel::Ethernet(sender, receiver) = channel.unwrap() else { panic!("{link} is not Ethernet") };
        let (seen, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let reader = std::thread::spawn({
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            move || keep(receiver, &seen, &stop)
        });
        Self { mac: mac(space, link), sender, seen, stop, reader: Some(reader) }
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.sender.send_to(frame, None).unwrap().unwrap();
    }

    /// How many frames with this mark came in. (The socket sees its own host's frames too.)
    pub(crate) fn count(&self, mark: &[u8]) -> usize {
        let incoming = |frame: &Vec<u8>| frame[6..12] != self.mac;
        let marked = |frame: &Vec<u8>| frame.windows(mark.len()).any(|bytes| bytes == mark);
        self.seen.lock().unwrap().iter().filter(|frame| incoming(frame) && marked(frame)).count()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

fn keep(mut receiver: Box<dyn DataLinkReceiver>, seen: &Mutex<Vec<Vec<u8>>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if let Ok(frame) = receiver.next() {
            seen.lock().unwrap().push(frame.to_vec());
        }
    }
}

/// A link's address.
pub(crate) fn mac(space: &Namespace, link: &str) -> [u8; 6] {
    space.enter(|| Socket::open().unwrap().link(link).unwrap().mac.unwrap()).unwrap()
}

/// The link-local address that the kernel makes of a MAC (RFC 4291, appendix A).
pub(crate) fn link_local(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("fe80::{:02x}{b:02x}:{c:02x}ff:fe{d:02x}:{e:02x}{f:02x}", a ^ 2)
}

/// What a frame asks of who receives it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    /// An answer.
    Request,
    /// Nothing: hosts ignore a reply that they did not ask for, so nothing else comes of the frame.
    Reply,
}

/// Who sends to whom at layer 2.
#[derive(Clone, Copy)]
pub(crate) struct Macs {
    pub(crate) from: [u8; 6],
    pub(crate) to: [u8; 6],
}

/// An ICMP echo message of either family, with `mark` as its data.
pub(crate) fn echo(macs: Macs, from: &str, to: &str, hop_limit: u8, kind: Echo, mark: &[u8]) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(macs.from, macs.to);
    let mut frame = Vec::new();
    if let (Ok(from), Ok(to)) = (from.parse::<std::net::Ipv4Addr>(), to.parse::<std::net::Ipv4Addr>()) {
        let ip = ethernet.ipv4(from.octets(), to.octets(), hop_limit);
        let icmp =
            if kind == Echo::Request { ip.icmpv4_echo_request(7, 1) } else { ip.icmpv4_echo_reply(7, 1) };
        icmp.write(&mut frame, mark).unwrap();
    } else {
        let [from, to] = [from, to].map(|address| address.parse::<std::net::Ipv6Addr>().unwrap().octets());
        let ip = ethernet.ipv6(from, to, hop_limit);
        let icmp =
            if kind == Echo::Request { ip.icmpv6_echo_request(7, 1) } else { ip.icmpv6_echo_reply(7, 1) };
        icmp.write(&mut frame, mark).unwrap();
    }
    frame
}

/// The IPv4 frame with options (a multiple of four bytes) and flags and fragment offset as on the wire.
pub(crate) fn with_ipv4(mut frame: Vec<u8>, options: &[u8], fragment: u16) -> Vec<u8> {
    let (mut header, _) = etherparse::Ipv4Header::from_slice(&frame[14..]).unwrap();
    header.options = options.try_into().unwrap();
    header.total_len += u16::try_from(options.len()).unwrap();
    header.more_fragments = fragment & 0x2000 != 0;
    header.fragment_offset = (fragment & 0x1fff).try_into().unwrap();
    header.dont_fragment = false;
    header.header_checksum = header.calc_header_checksum();
    let mut bytes = Vec::new();
    header.write(&mut bytes).unwrap();
    frame.splice(14..34, bytes);
    frame
}

/// The IPv6 frame with an extension header of eight bytes (the first is filled in) of type `kind` behind the fixed one.
pub(crate) fn with_extension(mut frame: Vec<u8>, kind: u8, mut header: [u8; 8]) -> Vec<u8> {
    header[0] = std::mem::replace(&mut frame[20], kind);
    let len = u16::from_be_bytes([frame[18], frame[19]]) + 8;
    frame[18..20].copy_from_slice(&len.to_be_bytes());
    frame.splice(54..54, header);
    frame
}

/// The frame with an 802.1Q tag.
pub(crate) fn tagged(mut frame: Vec<u8>, id: u8) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0x00, 0, id]);
    frame
}
