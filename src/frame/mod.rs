//! A frame as a mutable slice with headroom, and the batch it travels in. Never a heap object.
//!
//! Ports lend the memory (ring slots, pool buffers), `forward/` reads and rewrites in place, ports send from it.

mod offload;
mod output;
mod scratch;

pub use offload::{GsoKind, Offload};
pub use output::{Output, Outputs, Source};
pub use scratch::Scratch;

use arrayvec::ArrayVec;

/// Most frames that travel together.
pub const BATCH: usize = 256;

/// For whom the link layer says a frame is (`skb->pkt_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PktType {
    /// The destination address is the interface's own.
    #[default]
    Host,
    /// ff:ff:ff:ff:ff:ff.
    Broadcast,
    /// A group address.
    Multicast,
    /// Another station's address.
    OtherHost,
}

/// What travels beside the bytes of a received frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meta {
    /// Interface index of the interface that received it.
    pub iif: u32,
    /// For whom the link layer says it is.
    pub pkt_type: PktType,
    /// The VLAN tag control word, where a tag stood in the header or beside the frame.
    pub vlan: Option<u16>,
    /// Checksum and segmentation left to do.
    pub offload: Offload,
    /// Bytes on the wire; more than `len()` when the port could not hold all.
    pub wire_len: u32,
    /// Of what this router said to itself: where the way is counted that it took.
    pub way: Option<u16>,
}

/// A received frame: `bytes` is the memory lent for it, the frame itself starts at `start` (headroom before it).
#[derive(Debug)]
pub struct Frame<'m> {
    memory: &'m mut [u8],
    start: usize,
    /// What travels beside the bytes.
    pub meta: Meta,
}

/// The frames of one round of the loop, all from one port.
pub type Batch<'m> = ArrayVec<Frame<'m>, BATCH>;

impl<'m> Frame<'m> {
    /// A frame in `memory` that starts (with its link-layer header) at `start`; `None` if that lies outside.
    pub fn new(memory: &'m mut [u8], start: usize, meta: Meta) -> Option<Self> {
        (start <= memory.len()).then_some(Frame { memory, start, meta })
    }

    /// From the link-layer header to the last byte received.
    pub fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..).unwrap_or_default()
    }

    /// The same, to rewrite in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..).unwrap_or_default()
    }

    /// Bytes held, link-layer header included.
    pub fn len(&self) -> usize {
        self.memory.len() - self.start
    }

    /// Whether no byte is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes `range` of the frame, for sending; empty if outside.
    pub fn range(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.bytes().get(range).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_never_reaches_outside_its_memory() {
        let mut memory = [1, 2, 3, 4];
        assert!(Frame::new(&mut memory, 5, Meta::default()).is_none());
        let mut f = Frame::new(&mut memory, 1, Meta::default()).unwrap();
        assert_eq!((f.bytes(), f.len(), f.is_empty()), (&[2, 3, 4][..], 3, false));
        f.bytes_mut()[0] = 9;
        assert_eq!(f.range(0..2), [9, 3]);
        assert_eq!(f.range(2..9), [] as [u8; 0]);
    }
}
