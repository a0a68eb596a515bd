//! The guard as a BPF program at the tcx ingress hook: about 0.1 us a frame, gone with the process.
//!
//! `tcx/guard.bpf.c` is the source, `tcx/words.rs` the same compiled, so that loading needs no compiler. The program reads
//! three maps that this file keeps: `left` of each family and the time of the last renewal. Called by [`super::Guard`].
//! The links belong to descriptors of this process, so the kernel removes them however the process ends.

mod words;

use std::collections::HashMap;
use std::os::fd::AsRawFd;

use ipnet::IpNet;
use rustix::time::{ClockId, clock_gettime};

use super::GuardError;
use crate::sys::bpf::{Hook, Link, Map, MapKind, Program, ProgramKind, program_name, programs_at};
use words::WORDS;

/// The name of the program in the kernel; how warren knows its own programs from foreign ones.
pub(super) const PROGRAM: &str = "warren_guard";

/// Prefixes that `left` may hold for each family. Past this the caller has to leave the whole family.
const LEFT_MAX: u32 = 1 << 20;

/// `MAP(0)` of the C source; the low byte is the slot.
const MAP_MARK: u64 = 0x7761_7272_656e_0000;
/// The first half of `lddw`, the instruction that loads 64 bits, and of the same with `BPF_PSEUDO_MAP_FD` as source.
const LDDW: u64 = 0x18;
const LDDW_MAP_SOURCE: u64 = 1 << 12;

const LOOPBACK: u32 = 1;

#[derive(Debug)]
pub(super) struct Tcx {
    left4: Map,
    left6: Map,
    renewed: Map,
    program: Program,
    links: HashMap<u32, Link>,
}

impl Tcx {
    pub(super) fn new(left: &[IpNet]) -> Result<Self, GuardError> {
        // Linux before 6.6 loads the program too, and refuses only the link: ask first.
        programs_at(Hook::TcxIngress, LOOPBACK)?;
        Self::from_words(WORDS, left)
    }

    fn from_words(words: &[u64], left: &[IpNet]) -> Result<Self, GuardError> {
        let left4 = Map::create(MapKind::LpmTrie, "warren_left4", 4 + 4, 1, LEFT_MAX)?;
        let left6 = Map::create(MapKind::LpmTrie, "warren_left6", 4 + 16, 1, LEFT_MAX)?;
        let renewed = Map::create(MapKind::Array, "warren_renewed", 4, 8, 1)?;
        let words = with_maps(words, [&left4, &left6, &renewed].map(Map::as_raw_fd));
        let program = Program::load(ProgramKind::Tcx, PROGRAM, &words)?;
        let mut tcx = Self { left4, left6, renewed, program, links: HashMap::new() };
        tcx.leave(left)?;
        Ok(tcx)
    }

    pub(super) fn attach(&mut self, ifindex: u32) -> Result<(), GuardError> {
        if !self.links.contains_key(&ifindex) {
            let link = self.program.attach(Hook::TcxIngress, ifindex, 0)?;
            self.links.insert(ifindex, link);
        }
        Ok(())
    }

    pub(super) fn detach(&mut self, ifindex: u32) {
        self.links.remove(&ifindex);
    }

    pub(super) fn leave(&mut self, prefixes: &[IpNet]) -> Result<(), GuardError> {
        for prefix in prefixes {
            let (map, key) = self.entry(prefix);
            map.update(&key, &[1])?;
        }
        Ok(())
    }

    pub(super) fn claim(&mut self, prefixes: &[IpNet]) -> Result<(), GuardError> {
        for prefix in prefixes {
            let (map, key) = self.entry(prefix);
            match map.delete(&key) {
                Err(error) if error.errno() != Some(libc::ENOENT) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn renew(&self) -> Result<(), GuardError> {
        let now = clock_gettime(ClockId::Monotonic);
        let now_ns = now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs();
        self.set_renewed(now_ns)
    }

    pub(super) fn stand_aside(&self) -> Result<(), GuardError> {
        self.set_renewed(0)
    }

    fn set_renewed(&self, at_ns: u64) -> Result<(), GuardError> {
        Ok(self.renewed.update(&0u32.to_ne_bytes(), &at_ns.to_ne_bytes())?)
    }

    fn entry(&self, prefix: &IpNet) -> (&Map, Vec<u8>) {
        let bits = u32::from(prefix.prefix_len()).to_ne_bytes();
        match prefix {
            IpNet::V4(net) => (&self.left4, [&bits[..], &net.network().octets()].concat()),
            IpNet::V6(net) => (&self.left6, [&bits[..], &net.network().octets()].concat()),
        }
    }
}

/// See [`super::stands_on`].
pub(super) fn stands_on(ifindex: u32) -> Result<bool, GuardError> {
    match programs_at(Hook::TcxIngress, ifindex) {
        Ok(ids) => Ok(ids.into_iter().any(|id| program_name(id).is_ok_and(|name| name == PROGRAM))),
        // No tcx in this kernel, no right to ask, or no such interface any more.
        Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EPERM | libc::ENODEV)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Puts map descriptors in place of the constants that name them: `lddw rX, MAP(n)` becomes `lddw rX, map fd`.
fn with_maps(words: &[u64], descriptors: [i32; 3]) -> Vec<u64> {
    let mut words = words.to_vec();
    let mut at = 0;
    while let Some([first, second]) = words.get_mut(at..at + 2) {
        let constant = (*first >> 32) | (*second >> 32 << 32);
        let map =
            constant.checked_sub(MAP_MARK).and_then(|slot| descriptors.get(usize::try_from(slot).ok()?));
        let is_lddw = *first & 0xff == LDDW;
        if let (true, Some(map)) = (is_lddw, map) {
            *first = (*first & 0xffff_ffff) | LDDW_MAP_SOURCE | (u64::from(map.unsigned_abs()) << 32);
            *second = 0;
        }
        at += if is_lddw { 2 } else { 1 };
    }
    words
}

#[cfg(test)]
mod tests;
