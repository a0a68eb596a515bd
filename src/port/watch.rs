//! Copies of frames for whoever captures: made by workers while somebody does, taken by the control socket.
//!
//! Invariant: a worker never waits for it. While nobody captures it costs one load a batch; a copy that finds no room
//! is lost, and the next one says how many were.

use super::capture::Direction;
use crate::drop::DropReason;
use arc_swap::ArcSwapOption;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Copies that wait for the one who captures.
const ROOM: usize = 1024;

/// A frame as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Received or sent.
    pub direction: Direction,
    /// Why it was dropped, if it was.
    pub dropped: Option<DropReason>,
    /// Bytes on the wire.
    pub wire_len: u32,
    /// From the link-layer header on.
    pub bytes: Vec<u8>,
    /// Frames before this one that found no room.
    pub missed: u64,
}

/// What is being captured.
#[derive(Debug)]
pub struct Session {
    link: u32,
    frames: Sender<Seen>,
    missed: AtomicU64,
}

impl Session {
    /// Offers a frame of the link. False if there was no room.
    pub fn offer(&self, frame: Seen) -> bool {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        let ok = self.frames.try_send(Seen { missed, ..frame }).is_ok();
        if !ok {
            self.missed.fetch_add(missed + 1, Ordering::Relaxed);
        }
        ok
    }
}

/// Where workers look whether somebody captures. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    session: ArcSwapOption<Session>,
    taken: AtomicBool,
}

/// The end of the one who captures. Workers stop copying when it is dropped.
#[derive(Debug)]
pub struct Capture {
    /// Frames, in order for each worker.
    pub frames: Receiver<Seen>,
    watch: Watch,
}

impl Watch {
    /// Captures what is received and sent on the interface with this index; `None` if somebody captures already.
    pub fn open(&self, link: u32) -> Option<Capture> {
        if self.0.taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (sender, frames) = bounded(ROOM);
        self.0.session.store(Some(Arc::new(Session { link, frames: sender, missed: AtomicU64::new(0) })));
        Some(Capture { frames, watch: self.clone() })
    }

    /// The session, if frames of this interface are wanted.
    pub fn of(&self, link: u32) -> Option<Arc<Session>> {
        if !self.0.taken.load(Ordering::Relaxed) {
            return None;
        }
        let session = self.0.session.load();
        session.as_ref().filter(|s| s.link == link).map(Arc::clone)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.watch.0.session.store(None);
        self.watch.0.taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u64) -> Seen {
        let direction = Direction::In;
        Seen { time: number, direction, dropped: None, wire_len: 1, bytes: vec![7], missed: 0 }
    }

    #[test]
    fn one_link_for_one_at_a_time() {
        let watch = Watch::default();
        assert!(watch.of(2).is_none());
        let capture = watch.open(2).unwrap();
        assert!(watch.of(2).is_some() && watch.of(3).is_none() && watch.open(3).is_none());
        drop(capture);
        assert!(watch.of(2).is_none() && watch.open(3).is_some());
    }

    #[test]
    fn what_finds_no_room_is_told_by_the_next() {
        let watch = Watch::default();
        let capture = watch.open(2).unwrap();
        let session = watch.of(2).unwrap();
        let kept = (0..ROOM as u64 + 5).filter(|&n| session.offer(frame(n))).count();
        assert_eq!(kept, ROOM);
        assert_eq!(capture.frames.recv().unwrap(), frame(0));
        assert!(session.offer(frame(9999)));
        let last = capture.frames.try_iter().last().unwrap();
        assert_eq!((last.time, last.missed), (9999, 5));
        drop(capture);
        assert!(!session.offer(frame(0)), "a worker that still holds the session is not held up");
    }
}
