//! What a batch wants sent: a list of byte ranges with the interface each leaves by, in order.

use super::{Frame, Offload, Scratch};

/// Where the bytes of an output lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Frame `n` of the batch, rewritten in place.
    Received(u16),
    /// The batch's scratch arena.
    Made,
}

/// One frame to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Output {
    /// Interface index to send on.
    pub oif: u32,
    /// Where the bytes lie.
    pub source: Source,
    /// First byte: of the frame for [`Source::Received`], of the arena for [`Source::Made`].
    pub start: u32,
    /// Bytes, link-layer header included.
    pub len: u32,
    /// Checksum and segmentation left to do.
    pub offload: Offload,
    /// Where the way that it takes is counted: of what goes over lo, the link that has the address.
    pub slot: u16,
}

/// The outputs of one batch with the memory of those that were made.
#[derive(Debug)]
pub struct Outputs {
    list: Vec<Output>,
    /// The arena of made packets.
    pub scratch: Scratch,
}

impl Outputs {
    /// Room for `frames` outputs and `bytes` of made packets, allocated once.
    pub fn new(frames: usize, bytes: usize) -> Self {
        Outputs { list: Vec::with_capacity(frames), scratch: Scratch::new(bytes) }
    }

    /// Adds an output; false (and nothing added) when the list is full.
    #[must_use]
    pub fn push(&mut self, output: Output) -> bool {
        let room = self.list.len() < self.list.capacity();
        if room {
            self.list.push(output);
        }
        room
    }

    /// Says of the last one where its way is counted.
    pub fn count_last_at(&mut self, slot: u16) {
        if let Some(last) = self.list.last_mut() {
            last.slot = slot;
        }
    }

    /// All outputs, in the order in which they were decided.
    pub fn iter(&self) -> impl Iterator<Item = &Output> {
        self.list.iter()
    }

    /// Number of outputs.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The bytes of an output of this batch.
    pub fn bytes<'a>(&'a self, output: &Output, batch: &'a [Frame<'_>]) -> &'a [u8] {
        let (start, len) = (output.start as usize, output.len as usize);
        match output.source {
            Source::Made => self.scratch.get(start, len),
            Source::Received(n) => batch.get(usize::from(n)).map_or(&[], |f| f.range(start..start + len)),
        }
    }

    /// Copies what the outputs from number `first` on take of frames that will not stay as long. What there is no room for is
    /// not sent.
    pub fn keep(&mut self, first: usize, frames: &[Frame<'_>]) {
        for at in first..self.list.len() {
            let Some(output) = self.list.get_mut(at) else { return };
            let Source::Received(n) = output.source else { continue };
            let (from, len) = (output.start as usize, output.len as usize);
            let bytes = frames.get(usize::from(n)).map_or(&[][..], |f| f.range(from..from + len));
            let copy = self.scratch.take(bytes.len()).map(|(start, copy)| {
                copy.copy_from_slice(bytes);
                start as u32
            });
            output.source = Source::Made;
            (output.start, output.len) = (copy.unwrap_or(0), copy.map_or(0, |_| bytes.len() as u32));
        }
        self.list.retain(|output| output.len > 0);
    }

    /// Forgets all, once the batch is sent.
    pub fn clear(&mut self) {
        self.list.clear();
        self.scratch.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Frame, Meta};
    use super::*;

    #[test]
    fn finds_the_bytes_of_both_sources() {
        let mut memory = *b"..frame";
        let batch = [Frame::new(&mut memory, 2, Meta::default()).unwrap()];
        let mut out = Outputs::new(2, 8);
        let (start, bytes) = out.scratch.take(4).unwrap();
        bytes.copy_from_slice(b"made");
        let base = Output {
            oif: 1,
            source: Source::Made,
            start: start as u32,
            len: 4,
            offload: Offload::default(),
            slot: 1,
        };
        assert!(out.push(base));
        assert!(out.push(Output { source: Source::Received(0), start: 1, len: 4, ..base }));
        assert!(!out.push(base), "the list is full");
        let got: Vec<_> = out.iter().map(|o| out.bytes(o, &batch)).collect();
        assert_eq!(got, [b"made", b"rame"]);
        out.keep(0, &batch);
        let got: Vec<_> = out.iter().map(|o| out.bytes(o, &[])).collect();
        assert_eq!(got, [b"made", b"rame"], "the frame may go");
        out.clear();
        assert!(out.is_empty());
    }
}
