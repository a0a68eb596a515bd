//! Frames from a seed: mostly good ones of both families, some with one thing wrong.

use warren::frame::{Meta, PktType};
use warren::wire::eth::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthHdr};
use warren::wire::ip4::Ip4Hdr;
use warren::wire::ip6::Ip6Hdr;
use warren::wire::proto;
use zerocopy::IntoBytes;

/// SplitMix64 (Steele et al. 2014).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// How many frames, and from which seed.
pub fn plan() -> (usize, u64) {
    let number = |name, default| std::env::var(name).map_or(default, |v: String| v.parse().unwrap());
    let (frames, seed) = (number("WARREN_FRAMES", 100_000), number("WARREN_SEED", 1));
    println!("WARREN_FRAMES={frames} WARREN_SEED={seed}");
    (frames as usize, seed)
}

fn ipv4(r: &mut Rng, common: bool) -> Vec<u8> {
    let host = r.next() as u8;
    let src = if common || r.below(4) > 0 {
        format!("10.0.1.{}", 1 + r.below(200))
    } else {
        r.pick(&["0.0.0.0", "127.0.0.1", "224.0.0.1", "10.0.2.254", "198.51.100.1"]).to_owned()
    };
    let net = if common { r.pick(&[9, 10, 11]) } else { 9 + r.below(8) };
    let dst = match r.below(20) {
        0 if !common => {
            r.pick(&["0.0.0.0", "255.255.255.255", "10.0.1.254", "10.0.2.255", "239.1.1.1"]).to_owned()
        }
        _ => format!("10.{net}.1.{host}"),
    };
    let options: &[u8] = match r.below(8) {
        0 if !common => &[7, 7, 4, 0, 0, 0, 0, 0],
        1 if !common => &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        2 if !common => &[148, 4, 0, 0],
        3 if !common => &[131, 7, 4, 10, 0, 2, 1, 0],
        _ => &[],
    };
    let data = r.below(if common { 1340 } else { 1500 }) as usize;
    let ttl = if common { 2 + r.below(60) } else { r.below(4) };
    let mut h = Ip4Hdr::new(
        (20 + options.len() + data) as u16,
        ttl as u8,
        proto::UDP,
        src.parse().unwrap(),
        dst.parse().unwrap(),
    );
    h.ver_ihl = 0x45 + (options.len() / 4) as u8;
    h.tos = r.next() as u8;
    h.frag.set(r.pick(&[0, 0x4000, 0, 0x4000, 0x2000, 0x00b9]));
    h.set_checksum(options);
    [h.as_bytes(), options, &payload(r, data)].concat()
}

fn ipv6(r: &mut Rng, common: bool) -> Vec<u8> {
    let src = if common || r.below(4) > 0 {
        format!("2001:db8:1::{:x}", 1 + r.below(200))
    } else {
        r.pick(&["::", "::1", "ff02::1", "fe80::1", "2001:db8:77::1"]).to_owned()
    };
    let net = if common { r.pick(&[9, 0x10, 0x11]) } else { 9 + r.below(14) };
    let dst = match r.below(20) {
        0 if !common => r
            .pick(&["::", "::1", "fe80::9", "ff02::1", "ff01::1", "2001:db8:1::fe", "2001:db8:2::77"])
            .to_owned(),
        _ => format!("2001:db8:{net:x}::{:x}", r.next() as u16),
    };
    let options: &[u8] = match r.below(8) {
        0 if !common => &[17, 0, 1, 4, 0, 0, 0, 0],
        1 if !common => &[17, 0, 5, 2, 0, 0, 1, 0],
        2 if !common => &[17, 0, 0x9e, 0, 1, 2, 0, 0],
        3 if !common => &[17, 9, 0xc2, 4, 0, 1, 0, 0],
        _ => &[],
    };
    let data = r.below(if common { 1340 } else { 1480 }) as usize;
    let next = if options.is_empty() { r.pick(&[proto::UDP, proto::TCP, proto::ICMPV6, 59, 44]) } else { 0 };
    let hops = if common { 2 + r.below(60) } else { r.below(4) };
    let mut h = Ip6Hdr::new(
        (options.len() + data) as u16,
        next,
        hops as u8,
        src.parse().unwrap(),
        dst.parse().unwrap(),
    );
    h.set_traffic_class(r.next() as u8);
    h.set_flow_label(r.next() as u32);
    [h.as_bytes(), options, &payload(r, data)].concat()
}

fn payload(r: &mut Rng, len: usize) -> Vec<u8> {
    let seed = r.next();
    (0..len).map(|i| (seed >> (i % 8 * 8)) as u8).collect()
}

/// A frame to the router's first link, and how the link layer saw it. Three of four are common ones.
pub fn frame(r: &mut Rng) -> (Vec<u8>, Meta) {
    let (v4, common) = (r.below(2) == 0, r.below(4) > 0);
    let packet = if v4 { ipv4(r, common) } else { ipv6(r, common) };
    let ethertype = if v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
    let eth = EthHdr::new([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 1, 1], ethertype);
    let mut bytes = [eth.as_bytes(), &packet].concat();
    if r.below(8) == 0 {
        bytes.extend(vec![0xee; r.below(20) as usize]);
    }
    let pkt_type = if !common && r.below(6) == 0 { PktType::Broadcast } else { PktType::Host };
    (bytes, Meta { iif: super::router::IN, pkt_type, ..Meta::default() })
}

/// The frame with some bytes changed, cut or added.
pub fn damage(r: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=r.below(6) {
        let at = r.below(bytes.len().clamp(1, 120) as u64) as usize;
        match r.below(8) {
            0 => bytes.truncate(at.max(14)),
            1 => bytes.extend([r.next() as u8; 3]),
            2 => bytes.insert(at.min(bytes.len()), r.next() as u8),
            _ => {
                if let Some(b) = bytes.get_mut(at) {
                    *b = r.next() as u8;
                }
            }
        }
    }
}
