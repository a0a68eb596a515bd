//! Bytes for the packets that a batch makes (ICMP errors, fragments): one arena, emptied when the batch is sent.

/// A bump arena. `take` is O(1) and never allocates; a full arena answers `None`, which callers count.
#[derive(Debug)]
pub struct Scratch {
    bytes: Box<[u8]>,
    used: usize,
}

impl Scratch {
    /// An arena of `capacity` bytes, allocated once.
    pub fn new(capacity: usize) -> Self {
        Scratch { bytes: vec![0; capacity].into_boxed_slice(), used: 0 }
    }

    /// `len` zeroed bytes and the offset that [`Scratch::get`] finds them by later.
    pub fn take(&mut self, len: usize) -> Option<(usize, &mut [u8])> {
        let start = self.used;
        let end = start.checked_add(len)?;
        let bytes = self.bytes.get_mut(start..end)?;
        self.used = end;
        bytes.fill(0);
        Some((start, bytes))
    }

    /// Bytes taken earlier; empty if outside.
    pub fn get(&self, start: usize, len: usize) -> &[u8] {
        self.bytes.get(start..start.saturating_add(len)).unwrap_or_default()
    }

    /// The same, to finish them.
    pub fn get_mut(&mut self, start: usize, len: usize) -> &mut [u8] {
        self.bytes.get_mut(start..start.saturating_add(len)).unwrap_or_default()
    }

    /// Forgets all, at the end of a batch.
    pub fn clear(&mut self) {
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_is_none_and_clear_makes_room() {
        let mut s = Scratch::new(10);
        assert_eq!(s.take(6).map(|t| t.0), Some(0));
        assert!(s.take(5).is_none());
        assert_eq!(s.take(4).map(|t| t.0), Some(6));
        s.get_mut(6, 4).copy_from_slice(b"abcd");
        assert_eq!(s.get(6, 4), b"abcd");
        assert_eq!(s.get(8, 4), b"");
        s.clear();
        assert_eq!(s.take(10).map(|(o, b)| (o, b.to_vec())), Some((0, vec![0; 10])));
    }
}
