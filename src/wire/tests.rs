//! Every view and walk of this module, on bytes that nobody meant to send.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::eth::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthHdr};
use super::icmp::IcmpHdr;
use super::ip4::Ip4Hdr;
use super::ip6::{ExtHdr, FragHdr, Ip6Hdr, RoutingHdr};
use super::l4::{TcpHdr, UdpHdr};
use super::ndisc::{MacOption, RedirectHdr, RedirectedOption};
use super::{arp::ArpHdr, csum, dissect, icmp, ip4, ip6, l4};

/// A view holds exactly the first bytes, or there are too few of them.
fn views<T: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned>(bytes: &[u8], len: usize) {
    assert_eq!(size_of::<T>(), len);
    match T::ref_from_prefix(bytes) {
        Ok((view, rest)) => assert_eq!([view.as_bytes(), rest].concat(), bytes),
        Err(_) => assert!(bytes.len() < len),
    }
}

#[test]
fn hostile_bytes_harm_nothing() {
    bolero::check!().with_type::<(Vec<u8>, u8)>().for_each(|(bytes, kind)| {
        views::<EthHdr>(bytes, EthHdr::LEN);
        views::<ArpHdr>(bytes, ArpHdr::LEN);
        views::<Ip4Hdr>(bytes, Ip4Hdr::LEN);
        views::<Ip6Hdr>(bytes, Ip6Hdr::LEN);
        views::<ExtHdr>(bytes, 2);
        views::<FragHdr>(bytes, 8);
        views::<RoutingHdr>(bytes, 4);
        views::<IcmpHdr>(bytes, IcmpHdr::LEN);
        views::<RedirectHdr>(bytes, 40);
        views::<MacOption>(bytes, 8);
        views::<RedirectedOption>(bytes, 8);
        views::<UdpHdr>(bytes, 8);
        views::<TcpHdr>(bytes, 20);

        assert!(ip4::options(bytes).count() <= 40);
        assert!(ip6::skip_ext(bytes, 0, *kind).is_none_or(|(at, ..)| at <= bytes.len() + 2048));
        let (src, dst) = l4::ports(*kind, bytes);
        assert!(bytes.len() >= 4 || (src, dst) == ([0; 2], [0; 2]));
        for ethertype in [ETHERTYPE_IPV4, ETHERTYPE_IPV6] {
            let found = dissect::dissect(bytes, ethertype, false);
            assert!(bytes.len() >= 20 || found == dissect::Dissected::default());
        }
        let mut message = bytes.clone();
        assert_eq!(icmp::set_csum4(&mut message), bytes.len() >= 8);
        assert!(bytes.len() < 8 || csum::checksum(&message) == 0);
    });
}
