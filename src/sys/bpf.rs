//! The few bpf(2) calls warren makes: maps, loading a checked-in program, links on an interface, trial runs, queries.
//!
//! No library: the ones there are bring ELF and BTF readers for what is one system call with eight argument layouts.
//! Every object is an `OwnedFd`; a [`Link`] detaches its program when it is dropped or when the process dies.
//! Called by `control::guard` and the AF_XDP port. Source: `include/uapi/linux/bpf.h`, `kernel/bpf/syscall.c`.
#![allow(unsafe_code)] // bpf(2) takes a union by pointer, with further pointers inside; no safe wrapper exists.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// What failed, the kernel's reason and, for a program, the verifier's log.
#[derive(Debug, thiserror::Error)]
#[error("bpf: cannot {action}: {source}{log}")]
pub struct BpfError {
    action: String,
    source: io::Error,
    log: String,
}

impl BpfError {
    fn new(action: impl Into<String>, source: io::Error) -> Self {
        Self { action: action.into(), source, log: String::new() }
    }

    /// The error number of the system call, for callers that treat "not there" or "not known" as an answer.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

/// The kinds of map in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_ARRAY`: all entries exist and begin as zero bytes.
    Array = 2,
    /// `BPF_MAP_TYPE_LPM_TRIE`: longest prefix match; a key is a prefix length (u32, host order) and the address bytes.
    LpmTrie = 11,
    /// `BPF_MAP_TYPE_XSKMAP`: AF_XDP sockets by queue number.
    XskMap = 17,
}

/// The kinds of program in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ProgramKind {
    /// `BPF_PROG_TYPE_SCHED_CLS`, to be attached by tcx.
    Tcx = 3,
    /// `BPF_PROG_TYPE_XDP`.
    Xdp = 6,
}

/// Where on an interface a program sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// `BPF_XDP`: in the driver or right behind it, before the packet taps.
    Xdp = 37,
    /// `BPF_TCX_INGRESS`: behind the packet taps, before netfilter's ingress hook and the protocols (Linux 6.6).
    TcxIngress = 46,
    /// `BPF_TCX_EGRESS`: in front of the queueing discipline (Linux 6.6).
    TcxEgress = 47,
}

const BPF_MAP_CREATE: u32 = 0;
const BPF_MAP_LOOKUP_ELEM: u32 = 1;
const BPF_MAP_UPDATE_ELEM: u32 = 2;
const BPF_MAP_DELETE_ELEM: u32 = 3;
const BPF_MAP_GET_NEXT_KEY: u32 = 4;
const BPF_PROG_LOAD: u32 = 5;
const BPF_PROG_TEST_RUN: u32 = 10;
const BPF_PROG_GET_FD_BY_ID: u32 = 13;
const BPF_OBJ_GET_INFO_BY_FD: u32 = 15;
const BPF_PROG_QUERY: u32 = 16;
const BPF_LINK_CREATE: u32 = 28;

const BPF_F_NO_PREALLOC: u32 = 1;
const VERIFIER_LOG_BYTES: u32 = 64 * 1024;
/// The kernel allows 64 programs at one tcx hook (`BPF_MPROG_MAX`).
const PROGRAMS_AT_A_HOOK_MAX: u32 = 64;

/// A map. Values are read and written by system call only.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    name: String,
    key_bytes: usize,
    value_bytes: usize,
}

impl Map {
    /// Creates an empty map. `name` has at most 15 letters, digits or underscores.
    pub fn create(
        kind: MapKind,
        name: &str,
        key_bytes: u32,
        value_bytes: u32,
        entries_max: u32,
    ) -> Result<Self, BpfError> {
        #[repr(C)]
        #[derive(Default)]
        struct Attr {
            map_type: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
            map_flags: u32,
            inner_map_fd: u32,
            numa_node: u32,
            map_name: [u8; 16],
        }
        let mut attr = Attr {
            map_type: kind as u32,
            key_size: key_bytes,
            value_size: value_bytes,
            max_entries: entries_max,
            map_flags: if kind == MapKind::LpmTrie { BPF_F_NO_PREALLOC } else { 0 },
            map_name: object_name(name),
            ..Attr::default()
        };
        // SAFETY: the attributes hold no pointer.
        let fd = unsafe { bpf_fd(BPF_MAP_CREATE, &mut attr) }
            .map_err(|e| BpfError::new(format!("create the map {name}"), e))?;
        Ok(Self {
            fd,
            name: name.to_owned(),
            key_bytes: key_bytes as usize,
            value_bytes: value_bytes as usize,
        })
    }

    /// Writes one entry, new or not.
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<(), BpfError> {
        let attr = Element { key: self.key(key)?, value: self.value(value)?, ..self.element() };
        // SAFETY: the kernel reads key_bytes and value_bytes, and both slices have just been checked to be that long.
        unsafe { self.call(BPF_MAP_UPDATE_ELEM, attr, "write to") }
    }

    /// Removes one entry. An entry that is not there is the error ENOENT.
    pub fn delete(&self, key: &[u8]) -> Result<(), BpfError> {
        let attr = Element { key: self.key(key)?, ..self.element() };
        // SAFETY: the kernel reads key_bytes, and the slice has just been checked to be that long.
        unsafe { self.call(BPF_MAP_DELETE_ELEM, attr, "delete from") }
    }

    /// The value that `key` finds (in a trie: that of the longest prefix which holds it), if any.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BpfError> {
        let mut value = vec![0; self.value_bytes];
        let attr = Element { key: self.key(key)?, value: value.as_mut_ptr() as u64, ..self.element() };
        // SAFETY: the kernel reads key_bytes (checked) and writes value_bytes, which is the length of `value`.
        let found = unsafe { self.call(BPF_MAP_LOOKUP_ELEM, attr, "read") };
        Ok(absent_is_none(found)?.map(|()| value))
    }

    /// The key behind `key` in the map's own order; with `None` the first one.
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, BpfError> {
        let mut next = vec![0; self.key_bytes];
        let key = key.map_or(Ok(0), |key| self.key(key))?;
        let attr = Element { key, value: next.as_mut_ptr() as u64, ..self.element() };
        // SAFETY: the kernel reads key_bytes (checked, or a null pointer) and writes key_bytes, the length of `next`.
        let found = unsafe { self.call(BPF_MAP_GET_NEXT_KEY, attr, "list") };
        Ok(absent_is_none(found)?.map(|()| next))
    }

    fn element(&self) -> Element {
        Element { map_fd: self.fd.as_raw_fd() as u32, ..Element::default() }
    }

    fn key(&self, key: &[u8]) -> Result<u64, BpfError> {
        self.sized(key, self.key_bytes, "key")
    }

    fn value(&self, value: &[u8]) -> Result<u64, BpfError> {
        self.sized(value, self.value_bytes, "value")
    }

    fn sized(&self, bytes: &[u8], want: usize, what: &str) -> Result<u64, BpfError> {
        if bytes.len() == want {
            return Ok(bytes.as_ptr() as u64);
        }
        let action =
            format!("use a {what} of {} bytes in the map {} (it has {want})", bytes.len(), self.name);
        Err(BpfError::new(action, io::ErrorKind::InvalidInput.into()))
    }

    /// # Safety
    /// `attr.key` and `attr.value` must point to as many bytes as the command reads or writes.
    unsafe fn call(&self, command: u32, mut attr: Element, verb: &str) -> Result<(), BpfError> {
        // SAFETY: the caller's promise.
        unsafe { bpf(command, &mut attr) }
            .map(drop)
            .map_err(|e| BpfError::new(format!("{verb} the map {}", self.name), e))
    }
}

impl AsRawFd for Map {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[repr(C)]
#[derive(Default)]
struct Element {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// A loaded program.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
    name: String,
}

impl Program {
    /// Loads instructions (64-bit words in host memory order, map descriptors already in place).
    /// The error holds the end of the verifier's log.
    pub fn load(kind: ProgramKind, name: &str, words: &[u64]) -> Result<Self, BpfError> {
        #[repr(C)]
        #[derive(Default)]
        struct Attr {
            prog_type: u32,
            insn_cnt: u32,
            insns: u64,
            license: u64,
            log_level: u32,
            log_size: u32,
            log_buf: u64,
            kern_version: u32,
            prog_flags: u32,
            prog_name: [u8; 16],
            prog_ifindex: u32,
            expected_attach_type: u32,
        }
        let hook = match kind {
            ProgramKind::Tcx => Hook::TcxIngress,
            ProgramKind::Xdp => Hook::Xdp,
        };
        let mut attr = Attr {
            prog_type: kind as u32,
            insn_cnt: u32::try_from(words.len()).unwrap_or(u32::MAX),
            insns: words.as_ptr() as u64,
            license: c"MIT".as_ptr() as u64,
            prog_name: object_name(name),
            expected_attach_type: hook as u32,
            ..Attr::default()
        };
        // SAFETY: insns points to insn_cnt words, license to a C string; both outlive the call.
        let error = match unsafe { bpf_fd(BPF_PROG_LOAD, &mut attr) } {
            Ok(fd) => return Ok(Self { fd, name: name.to_owned() }),
            Err(error) => error,
        };
        let mut log = vec![0; VERIFIER_LOG_BYTES as usize];
        attr.log_level = 1;
        attr.log_size = VERIFIER_LOG_BYTES;
        attr.log_buf = log.as_mut_ptr() as u64;
        // SAFETY: as above, and log_buf points to log_size writable bytes. A second success only closes its descriptor.
        let _ = unsafe { bpf_fd(BPF_PROG_LOAD, &mut attr) };
        let log = CStr::from_bytes_until_nul(&log).map_or_else(|_| String::new(), tail);
        Err(BpfError { action: format!("load the program {name}"), source: error, log })
    }

    /// The kernel's number for this program, as `ip link` and `bpftool` print it.
    pub fn id(&self) -> Result<u32, BpfError> {
        Ok(info(&self.fd)?.id)
    }

    /// Runs the program once on a copy of `frame` (which starts at its Ethernet header) and gives its return value.
    /// The frame appears to come in on the loopback device, whose MAC address is all zero.
    pub fn test_run(&self, frame: &[u8]) -> Result<i32, BpfError> {
        #[repr(C)]
        #[derive(Default)]
        struct Attr {
            prog_fd: u32,
            retval: u32,
            data_size_in: u32,
            data_size_out: u32,
            data_in: u64,
            data_out: u64,
            repeat: u32,
            duration: u32,
            ctx_size_in: u32,
            ctx_size_out: u32,
            ctx_in: u64,
            ctx_out: u64,
            flags: u32,
            cpu: u32,
            batch_size: u32,
            pad: u32,
        }
        let mut attr = Attr {
            prog_fd: self.fd.as_raw_fd() as u32,
            data_size_in: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            data_in: frame.as_ptr() as u64,
            ..Attr::default()
        };
        // SAFETY: data_in points to data_size_in bytes; nothing is written back but the attributes themselves.
        unsafe { bpf(BPF_PROG_TEST_RUN, &mut attr) }.map_err(|e| {
            BpfError::new(format!("try the program {} on {} bytes", self.name, frame.len()), e)
        })?;
        Ok(attr.retval as i32)
    }

    /// Attaches the program to an interface of the calling thread's network namespace, until the link is dropped.
    /// `flags` are those of the hook (XDP: `XDP_FLAGS_DRV_MODE` 4, `XDP_FLAGS_SKB_MODE` 2; tcx: 0).
    pub fn attach(&self, hook: Hook, ifindex: u32, flags: u32) -> Result<Link, BpfError> {
        #[repr(C)]
        #[derive(Default)]
        struct Attr {
            prog_fd: u32,
            target_ifindex: u32,
            attach_type: u32,
            flags: u32,
            relative_fd: u32,
            pad: u32,
            expected_revision: u64,
        }
        let mut attr = Attr {
            prog_fd: self.fd.as_raw_fd() as u32,
            target_ifindex: ifindex,
            attach_type: hook as u32,
            flags,
            ..Attr::default()
        };
        // SAFETY: the attributes hold no pointer.
        let fd = unsafe { bpf_fd(BPF_LINK_CREATE, &mut attr) }.map_err(|e| {
            BpfError::new(format!("attach the program {} to interface {ifindex} ({hook:?})", self.name), e)
        })?;
        Ok(Link { _fd: fd })
    }
}

/// A program's seat on an interface; dropping it detaches the program.
#[derive(Debug)]
pub struct Link {
    _fd: OwnedFd,
}

/// The numbers of the programs at a tcx hook of an interface, in the order they run. EINVAL: Linux before 6.6.
pub fn programs_at(hook: Hook, ifindex: u32) -> Result<Vec<u32>, BpfError> {
    #[repr(C)]
    #[derive(Default)]
    struct Attr {
        target_ifindex: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        prog_ids: u64,
        count: u32,
        pad: u32,
        prog_attach_flags: u64,
        link_ids: u64,
        link_attach_flags: u64,
        revision: u64,
    }
    let mut ids = vec![0u32; PROGRAMS_AT_A_HOOK_MAX as usize];
    let mut attr = Attr {
        target_ifindex: ifindex,
        attach_type: hook as u32,
        prog_ids: ids.as_mut_ptr() as u64,
        count: PROGRAMS_AT_A_HOOK_MAX,
        ..Attr::default()
    };
    // SAFETY: prog_ids points to `count` writable numbers; the kernel writes no more and sets `count`.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }
        .map_err(|e| BpfError::new(format!("list the programs at {hook:?} of interface {ifindex}"), e))?;
    ids.truncate(attr.count as usize);
    Ok(ids)
}

/// The name that a program was loaded under (at most 15 bytes, may be empty), for naming it in a message.
pub fn program_name(id: u32) -> Result<String, BpfError> {
    #[repr(C)]
    #[derive(Default)]
    struct Attr {
        prog_id: u32,
        next_id: u32,
        open_flags: u32,
    }
    let mut attr = Attr { prog_id: id, ..Attr::default() };
    // SAFETY: the attributes hold no pointer.
    let fd = unsafe { bpf_fd(BPF_PROG_GET_FD_BY_ID, &mut attr) }
        .map_err(|e| BpfError::new(format!("open program {id}"), e))?;
    let name = info(&fd)?.name;
    Ok(CStr::from_bytes_until_nul(&name).map_or_else(|_| String::new(), |n| n.to_string_lossy().into_owned()))
}

/// The head of `struct bpf_prog_info`; the kernel fills as much as it is given room for.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_prog_len: u32,
    xlated_prog_len: u32,
    jited_prog_insns: u64,
    xlated_prog_insns: u64,
    load_time: u64,
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; 16],
}

fn info(program: &OwnedFd) -> Result<ProgramInfo, BpfError> {
    #[repr(C)]
    struct Attr {
        bpf_fd: u32,
        info_len: u32,
        info: u64,
    }
    let mut info = ProgramInfo::default();
    let mut attr = Attr {
        bpf_fd: program.as_raw_fd() as u32,
        info_len: size_of::<ProgramInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: `info` points to info_len writable bytes, any value of which is a valid ProgramInfo; the lengths inside
    // are zero, so the kernel follows none of the pointers inside.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }.map_err(|e| BpfError::new("ask about a program", e))?;
    Ok(info)
}

/// # Safety
/// As for [`bpf`]; the command must be one that returns a new descriptor.
unsafe fn bpf_fd<T>(command: u32, attr: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let fd = unsafe { bpf(command, attr) }?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
/// `attr` must be laid out as `union bpf_attr` is for this command, and the pointers in it must be good for what the
/// command reads and writes.
unsafe fn bpf<T>(command: u32, attr: &mut T) -> io::Result<i32> {
    // SAFETY: the pointer and the size belong together; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn absent_is_none(found: Result<(), BpfError>) -> Result<Option<()>, BpfError> {
    match found {
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
        other => other.map(Some),
    }
}

/// A name as the kernel takes it: cut to 15 bytes, filled with zeros.
fn object_name(name: &str) -> [u8; 16] {
    let mut to = [0; 16];
    to.iter_mut().take(15).zip(name.bytes()).for_each(|(to, from)| *to = from);
    to
}

/// The last lines of a verifier log, where it says what is wrong.
fn tail(log: &CStr) -> String {
    let log = log.to_string_lossy();
    let mut lines: Vec<&str> = log.lines().rev().take(12).collect();
    lines.reverse();
    format!("\nthe verifier says:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r0 = 7; exit`
    const SEVEN: [u64; 2] = [0x0000_0007_0000_00b7, 0x0000_0000_0000_0095];

    #[test]
    fn a_trie_finds_the_longest_prefix() {
        let map = Map::create(MapKind::LpmTrie, "t_trie", 8, 1, 8).unwrap();
        let key = |bits: u32, address: [u8; 4]| [bits.to_ne_bytes(), address].concat();
        map.update(&key(8, [10, 0, 0, 0]), &[1]).unwrap();
        map.update(&key(16, [10, 1, 0, 0]), &[2]).unwrap();
        assert_eq!(map.lookup(&key(32, [10, 1, 2, 3])).unwrap(), Some(vec![2]));
        assert_eq!(map.lookup(&key(32, [10, 2, 2, 3])).unwrap(), Some(vec![1]));
        assert_eq!(map.lookup(&key(32, [11, 0, 0, 1])).unwrap(), None);

        let mut seen = Vec::new();
        let mut at = map.next_key(None).unwrap();
        while let Some(found) = at {
            at = map.next_key(Some(&found)).unwrap();
            seen.push(found);
        }
        seen.sort();
        assert_eq!(seen, [key(8, [10, 0, 0, 0]), key(16, [10, 1, 0, 0])]);

        map.delete(&key(16, [10, 1, 0, 0])).unwrap();
        assert_eq!(map.lookup(&key(32, [10, 1, 2, 3])).unwrap(), Some(vec![1]));
        assert_eq!(map.delete(&key(16, [10, 1, 0, 0])).unwrap_err().errno(), Some(libc::ENOENT));
    }

    #[test]
    fn a_key_or_value_of_the_wrong_size_is_refused() {
        let map = Map::create(MapKind::Array, "t_array", 4, 8, 1).unwrap();
        map.update(&[0; 4], &[1; 8]).unwrap();
        assert!(map.update(&[0; 4], &[1; 7]).is_err());
        assert!(map.update(&[0; 3], &[1; 8]).is_err());
        assert!(map.lookup(&[]).is_err());
        assert!(map.next_key(Some(&[0; 5])).is_err());
        assert_eq!(map.lookup(&[0; 4]).unwrap(), Some(vec![1; 8]));
    }

    #[test]
    fn a_program_runs_and_has_a_name() {
        let program = Program::load(ProgramKind::Xdp, "t_seven", &SEVEN).unwrap();
        assert_eq!(program.test_run(&[0; 60]).unwrap(), 7);
        assert_eq!(program_name(program.id().unwrap()).unwrap(), "t_seven");
        let nowhere = program.attach(Hook::Xdp, i32::MAX as u32, 0).unwrap_err().to_string();
        assert!(nowhere.contains("t_seven") && nowhere.contains("2147483647"), "{nowhere}");
    }

    #[test]
    fn the_verifier_is_quoted() {
        let error = Program::load(ProgramKind::Tcx, "t_bad", &SEVEN[..1]).unwrap_err().to_string();
        assert!(error.contains("t_bad") && error.contains("last insn"), "{error}");
    }

    #[test]
    fn nobody_sits_on_loopback() {
        assert_eq!(programs_at(Hook::TcxIngress, 1).unwrap(), Vec::<u32>::new());
        assert_eq!(programs_at(Hook::TcxEgress, i32::MAX as u32).unwrap_err().errno(), Some(libc::ENODEV));
    }
}
