//! Checksum and segmentation work that a sender left undone, carried beside the frame as virtio_net_hdr does.
//!
//! A router passes it on unchanged; only the size of the segments matters to it.

/// What kind of super-frame a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum GsoKind {
    /// An ordinary frame.
    #[default]
    None,
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP, to be cut at layer 4.
    UdpL4,
    /// UDP, to be cut into IP fragments.
    Udp,
}

/// The fields of `struct virtio_net_hdr` (linux/virtio_net.h), decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offload {
    /// The layer-4 checksum is only begun: sum from `csum_start`, store at `csum_start + csum_offset`.
    pub needs_csum: bool,
    /// The layer-4 checksum was found right already.
    pub data_valid: bool,
    /// Segmentation to do.
    pub gso: GsoKind,
    /// The ECN bit of the virtio type (TCP with CWR).
    pub ecn: bool,
    /// Payload bytes of each segment; 0 for ordinary frames.
    pub gso_size: u16,
    /// Header bytes that each segment repeats, from the link-layer header on.
    pub hdr_len: u16,
    /// From the start of the frame.
    pub csum_start: u16,
    /// From `csum_start`.
    pub csum_offset: u16,
}

const F_NEEDS_CSUM: u8 = 1;
const F_DATA_VALID: u8 = 2;
const GSO_ECN: u8 = 0x80;

impl Offload {
    /// Bytes of the header on AF_PACKET and TAP (without the merge-buffers field).
    pub const LEN: usize = 10;

    /// Decodes the header; fields are in the machine's byte order, as AF_PACKET and TAP use it. An unknown
    /// segmentation type yields `None`: such a frame cannot be passed on.
    pub fn decode(b: &[u8; Self::LEN]) -> Option<Offload> {
        let [flags, kind, a0, a1, b0, b1, c0, c1, d0, d1] = *b;
        let gso = match kind & !GSO_ECN {
            0 => GsoKind::None,
            1 => GsoKind::Tcp4,
            3 => GsoKind::Udp,
            4 => GsoKind::Tcp6,
            5 => GsoKind::UdpL4,
            _ => return None,
        };
        Some(Offload {
            needs_csum: flags & F_NEEDS_CSUM != 0,
            data_valid: flags & F_DATA_VALID != 0,
            gso,
            ecn: kind & GSO_ECN != 0,
            hdr_len: u16::from_ne_bytes([a0, a1]),
            gso_size: u16::from_ne_bytes([b0, b1]),
            csum_start: u16::from_ne_bytes([c0, c1]),
            csum_offset: u16::from_ne_bytes([d0, d1]),
        })
    }

    /// Encodes the header for sending. DATA_VALID is a receive-side hint and is not sent.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let kind = match self.gso {
            GsoKind::None => 0,
            GsoKind::Tcp4 => 1,
            GsoKind::Udp => 3,
            GsoKind::Tcp6 => 4,
            GsoKind::UdpL4 => 5,
        };
        let [a0, a1] = self.hdr_len.to_ne_bytes();
        let [b0, b1] = self.gso_size.to_ne_bytes();
        let [c0, c1] = self.csum_start.to_ne_bytes();
        let [d0, d1] = self.csum_offset.to_ne_bytes();
        [u8::from(self.needs_csum), kind | if self.ecn { GSO_ECN } else { 0 }, a0, a1, b0, b1, c0, c1, d0, d1]
    }

    /// The same work for the frame without its first `n` bytes, as when it is sent from its IP header on.
    #[must_use]
    pub fn skip(self, n: u16) -> Offload {
        Offload {
            hdr_len: self.hdr_len.saturating_sub(n),
            csum_start: self.csum_start.saturating_sub(n),
            ..self
        }
    }

    /// The same work where `by` bytes more stand in front of the data, or fewer.
    #[must_use]
    pub fn moved(self, by: isize) -> Offload {
        let moved = |at: u16| u16::try_from(at as isize + by).unwrap_or(0);
        Offload { hdr_len: moved(self.hdr_len), csum_start: moved(self.csum_start), ..self }
    }

    /// Whether the frame stands for several.
    pub fn is_gso(&self) -> bool {
        self.gso != GsoKind::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decoded_encodes_to_the_same_bytes() {
        bolero::check!().with_type::<[u8; 10]>().for_each(|b| {
            if let Some(o) = Offload::decode(b) {
                let mut expect = *b;
                expect[0] &= F_NEEDS_CSUM;
                assert_eq!(o.encode(), expect);
            }
        });
    }

    #[test]
    fn a_veth_tcp_super_frame() {
        let b = [1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0];
        let o = Offload::decode(&b).unwrap();
        assert_eq!(o.gso, GsoKind::Tcp4);
        if cfg!(target_endian = "little") {
            assert_eq!((o.hdr_len, o.gso_size, o.csum_start, o.csum_offset), (66, 1448, 34, 16));
        }
        assert!(o.needs_csum && o.is_gso());
    }
}
