//! Reading netlink attributes, and putting a request's bytes together. Used by every decoder and encoder of this folder.
//!
//! Invariant: reading is total. The walk ends where the bytes stop making sense (as the kernel's `nla_ok` does), a value that is too short
//! is [`Malformed`], a longer one is read from its start, since newer kernels append fields.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{Emitable, Nla};

use super::{Error, Family, Result};

/// A message of a known type holds an attribute (0: its fixed header) whose value does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("attribute {kind} with a value of {len} bytes does not fit")]
pub struct Malformed {
    /// Number of the attribute within its message or nest; 0 for the fixed header.
    pub kind: u16,
    /// Length of its value in bytes.
    pub len: usize,
}

type Read<T> = std::result::Result<T, Malformed>;

/// The two flag bits of an attribute's type (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const TYPE_FLAGS: u16 = 0xc000;

/// One attribute: its number without flag bits, and its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attr<'a> {
    pub kind: u16,
    pub value: &'a [u8],
}

/// Walks over the attributes in `bytes`.
pub(super) fn attrs(bytes: &[u8]) -> impl Iterator<Item = Attr<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let ([l0, l1, k0, k1], _) = rest.split_first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Attr { kind: u16::from_ne_bytes([*k0, *k1]) & !TYPE_FLAGS, value })
    })
}

/// Splits a message into its fixed header and its attributes.
pub(super) fn header<const N: usize>(body: &[u8]) -> Read<(&[u8; N], &[u8])> {
    body.split_first_chunk().ok_or(Malformed { kind: 0, len: body.len() })
}

impl<'a> Attr<'a> {
    pub(super) fn bad(&self) -> Malformed {
        Malformed { kind: self.kind, len: self.value.len() }
    }

    fn first<const N: usize>(&self) -> Read<[u8; N]> {
        self.value.first_chunk().copied().ok_or(self.bad())
    }

    pub(super) fn u8(&self) -> Read<u8> {
        self.first().map(u8::from_ne_bytes)
    }

    pub(super) fn u16(&self) -> Read<u16> {
        self.first().map(u16::from_ne_bytes)
    }

    pub(super) fn u32(&self) -> Read<u32> {
        self.first().map(u32::from_ne_bytes)
    }

    pub(super) fn i32(&self) -> Read<i32> {
        self.first().map(i32::from_ne_bytes)
    }

    pub(super) fn u64(&self) -> Read<u64> {
        self.first().map(u64::from_ne_bytes)
    }

    pub(super) fn u32_be(&self) -> Read<u32> {
        self.first().map(u32::from_be_bytes)
    }

    pub(super) fn u64_be(&self) -> Read<u64> {
        self.first().map(u64::from_be_bytes)
    }

    /// Text up to the first zero byte; what is not UTF-8 is replaced (the kernel allows any bytes in a link's name).
    pub(super) fn text(&self) -> String {
        let end = self.value.iter().position(|b| *b == 0).unwrap_or(self.value.len());
        String::from_utf8_lossy(self.value.get(..end).unwrap_or_default()).into_owned()
    }

    /// An Ethernet address; `None` for any other length (tunnels, InfiniBand, no address).
    pub(super) fn mac(&self) -> Option<[u8; 6]> {
        self.value.try_into().ok()
    }

    pub(super) fn ip(&self, family: Family) -> Read<IpAddr> {
        match family {
            Family::V4 => self.first().map(|b: [u8; 4]| Ipv4Addr::from(b).into()),
            Family::V6 => self.first().map(|b: [u8; 16]| Ipv6Addr::from(b).into()),
        }
    }

    /// An address with the prefix length from the message's header.
    pub(super) fn prefix(&self, family: Family, len: u8) -> Read<IpNet> {
        IpNet::new(self.ip(family)?, len).map_err(|_| self.bad())
    }

    /// `struct rtvia`: a gateway of either family, for example IPv6 for an IPv4 route.
    pub(super) fn via(&self) -> Read<IpAddr> {
        let [f0, f1] = self.first()?;
        let family = u8::try_from(u16::from_ne_bytes([f0, f1])).ok().and_then(Family::from_number);
        let address = Attr { kind: self.kind, value: self.value.get(2..).unwrap_or_default() };
        address.ip(family.ok_or(self.bad())?)
    }

    /// The attributes nested in this one.
    pub(super) fn nested(&self) -> impl Iterator<Item = Attr<'a>> + use<'a> {
        attrs(self.value)
    }

    /// A row of numbers, such as one family's devconf.
    pub(super) fn numbers(&self) -> Vec<i32> {
        let (chunks, _) = self.value.as_chunks();
        chunks.iter().copied().map(i32::from_ne_bytes).collect()
    }
}

/// The whole family's prefix: what a missing destination means.
pub(super) fn everything(family: Family) -> IpNet {
    match family {
        Family::V4 => ipnet::Ipv4Net::default().into(),
        Family::V6 => ipnet::Ipv6Net::default().into(),
    }
}

/// A message's bytes; `attributes` are those it holds.
///
/// # Errors
/// [`Error::TooLong`] if an attribute passes 65,531 bytes, the most that its 16-bit length can say.
pub(super) fn body(message: &impl Emitable, attributes: &[impl Nla]) -> Result<Vec<u8>> {
    if attributes.iter().any(|a| a.value_len() > usize::from(u16::MAX) - 4) {
        return Err(Error::TooLong);
    }
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::DefaultNla;

    #[test]
    fn the_walk_agrees_with_the_librarys_writer() {
        let written: Vec<_> = (0..6u16).map(|n| DefaultNla::new(n, vec![n as u8; usize::from(n)])).collect();
        let mut bytes = vec![0; written.as_slice().buffer_len()];
        written.as_slice().emit(&mut bytes);
        let read: Vec<_> = attrs(&bytes).map(|a| DefaultNla::new(a.kind, a.value.to_vec())).collect();
        assert_eq!(read, written);
    }

    #[test]
    fn the_walk_stops_at_lengths_that_lie() {
        for lie in [[0, 0, 1, 0], [3, 0, 1, 0], [9, 0, 1, 0]] {
            let mut bytes = lie.to_vec();
            bytes.extend([0; 4]);
            assert_eq!(attrs(&bytes).count(), 0, "{lie:?}");
        }
        // The last attribute may lack its padding.
        assert_eq!(attrs(&[5, 0, 1, 0, 7]).map(|a| a.u8()).collect::<Vec<_>>(), [Ok(7)]);
    }

    #[test]
    fn values_must_be_long_enough_and_may_be_longer() {
        let short = Attr { kind: 4, value: &[1, 0, 0] };
        assert_eq!(short.u32(), Err(Malformed { kind: 4, len: 3 }));
        assert_eq!(Attr { kind: 4, value: &[1, 0, 0, 0, 9] }.u32(), Ok(u32::from_ne_bytes([1, 0, 0, 0])));
        assert_eq!(
            Attr { kind: 1, value: &[10, 0, 0, 1] }.prefix(Family::V4, 33),
            Err(Malformed { kind: 1, len: 4 })
        );
        assert_eq!(Attr { kind: 18, value: &[9, 9, 1, 1, 1, 1] }.via(), Err(Malformed { kind: 18, len: 6 }));
        assert_eq!(Attr { kind: 3, value: b"eth0\0junk" }.text(), "eth0");
    }

    #[test]
    fn too_long_an_attribute_is_refused() {
        let long = [DefaultNla::new(1, vec![0; 65_532])];
        assert!(matches!(body(&long.as_slice(), &long), Err(Error::TooLong)));
        let fits = [DefaultNla::new(1, vec![0; 65_531])];
        assert_eq!(body(&fits.as_slice(), &fits).unwrap().len(), 65_536);
    }
}
