//! The TPACKET_V2 receive ring: memory shared with the kernel, cut into slots that change hands by a status word.
//!
//! Invariant: a slot is touched only between the kernel's store of TP_STATUS_USER and our store of
//! TP_STATUS_KERNEL, and lent at most once in between. Called by `afpacket::Rx` only.
#![allow(unsafe_code)] // Shared ring memory (mmap).

use super::Profile;
use crate::sys::packet;
use rustix::fd::AsFd;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::mem::size_of;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where `struct sockaddr_ll` stands in a slot: behind the slot header, at a multiple of TPACKET_ALIGNMENT.
const ADDRESS: usize = size_of::<libc::tpacket2_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);
/// First byte of a slot that is ours to lend.
const LENT_FROM: usize = libc::TPACKET2_HDRLEN;

/// A filled slot.
#[derive(Debug)]
pub(super) struct Slot<'m> {
    /// From behind the slot header to the last byte of the frame.
    pub(super) memory: &'m mut [u8],
    /// Where the frame starts in `memory`; the virtio_net header ends there.
    pub(super) start: usize,
    /// Length of the frame before the kernel cut it to the slot.
    pub(super) wire_len: u32,
    /// `PACKET_HOST` and so on.
    pub(super) pkt_type: u8,
    /// The VLAN tag control word that the kernel took out of the frame.
    pub(super) vlan: Option<u16>,
}

/// The ring, as seen from the process.
#[derive(Debug)]
pub(super) struct Ring {
    base: NonNull<u8>,
    bytes: usize,
    slot: usize,
    block: usize,
    slots: usize,
    /// Next slot the kernel fills.
    head: usize,
    /// Slots before `head` that are lent.
    lent: usize,
}

// SAFETY: the mapping belongs to this value alone, and no method works on a shared reference except `ready`, which
// only loads an atomic.
unsafe impl Send for Ring {}

impl Ring {
    /// Asks for a ring on `fd` and maps it. EINVAL if the profile's numbers do not fit each other.
    pub(super) fn map(fd: impl AsFd, profile: Profile) -> io::Result<Ring> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let per_block = profile.block.checked_div(profile.slot).unwrap_or(0);
        let slots = per_block.checked_mul(profile.blocks).filter(|&n| n > 0).ok_or_else(invalid)?;
        let bytes = profile.block.checked_mul(profile.blocks).ok_or_else(invalid)? as usize;
        let request = [profile.block, profile.blocks, profile.slot, slots].map(u32::cast_signed);
        packet::set_option(&fd, libc::PACKET_RX_RING, &request)?;
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY: the kernel chooses an unused address range; it is unmapped only by `drop`.
        let base = unsafe { mmap(null_mut(), bytes, protection, flags, fd, 0) }?;
        Ok(Ring {
            base: NonNull::new(base.cast()).ok_or_else(invalid)?,
            bytes,
            slot: profile.slot as usize,
            block: profile.block as usize,
            slots: slots as usize,
            head: 0,
            lent: 0,
        })
    }

    /// Start of slot `n`, which is less than `slots`. Slots do not straddle blocks.
    fn at(&self, n: usize) -> NonNull<u8> {
        let per_block = self.block / self.slot;
        let offset = n / per_block * self.block + n % per_block * self.slot;
        debug_assert!(offset + self.slot <= self.bytes, "slot {n} lies in the ring");
        // SAFETY: `n < slots = per_block * blocks`, so the whole slot lies within the mapping of `bytes`.
        unsafe { self.base.add(offset) }
    }

    fn status(&self, n: usize) -> &AtomicU32 {
        // SAFETY: a slot starts with the u32 `tp_status`, aligned to 16; both sides access it atomically, always.
        unsafe { AtomicU32::from_ptr(self.at(n).cast().as_ptr()) }
    }

    /// Whether a filled slot waits that is not lent yet.
    pub(super) fn ready(&self) -> bool {
        self.status(self.head).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0 && self.lent < self.slots
    }

    /// Takes all lent slots back and gives them to the kernel.
    pub(super) fn release(&mut self) {
        while self.lent > 0 {
            let n = (self.head + self.slots - self.lent) % self.slots;
            // Release: what was read from and written to the slot happens before the kernel fills it again.
            self.status(n).store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.lent -= 1;
        }
    }

    /// Takes back what was lent before, then lends up to `most` filled slots, oldest first.
    pub(super) fn lend<'m>(&'m mut self, most: usize, mut each: impl FnMut(Slot<'m>)) {
        self.release();
        while self.lent < most.min(self.slots) && self.ready() {
            let n = self.head;
            self.head = (n + 1) % self.slots;
            self.lent += 1;
            // SAFETY: the status says that the slot is ours, and `lent < slots` that it was not lent since the
            // release above. `'m` keeps `self` borrowed, so nothing releases it while the caller holds it.
            if let Some(slot) = unsafe { self.slot(n) } {
                each(slot);
            }
        }
    }

    /// The content of slot `n`; `None` if the kernel's offsets do not lie within it.
    ///
    /// # Safety
    /// The slot must belong to the process (TP_STATUS_USER) for all of `'m`, and be lent only once in that time.
    unsafe fn slot<'m>(&self, n: usize) -> Option<Slot<'m>> {
        let at = self.at(n);
        // SAFETY: the slot starts with a tpacket2_hdr (plain integers), aligned to 16, which the kernel has written.
        let header = unsafe { at.cast::<libc::tpacket2_hdr>().read() };
        // SAFETY: LENT_FROM, the end of the address, is less than the least slot the kernel accepts.
        let address = unsafe { at.add(ADDRESS) };
        // SAFETY: there stands a sockaddr_ll (plain integers), which the kernel has written.
        let address = unsafe { address.cast::<libc::sockaddr_ll>().read_unaligned() };
        let start = usize::from(header.tp_mac).checked_sub(LENT_FROM)?;
        let len = start.checked_add(header.tp_snaplen as usize)?;
        if len > self.slot - LENT_FROM {
            return None;
        }
        // SAFETY: LENT_FROM as above.
        let memory = unsafe { at.add(LENT_FROM) };
        // SAFETY: the bytes lie within this slot (checked above), behind the status word, and are initialised
        // (the kernel clears ring pages). The caller vouches that nobody else has them during `'m`.
        let memory = unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), len) };
        Some(Slot {
            memory,
            start,
            wire_len: header.tp_len,
            pkt_type: address.sll_pkttype,
            vlan: (header.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some(header.tp_vlan_tci),
        })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `map` mapped; slots lent from it borrow `self`, so none is left.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "the range was mapped by us: {unmapped:?}");
    }
}
