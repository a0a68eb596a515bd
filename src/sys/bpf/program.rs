//! Programs: loading, trial runs, seats on an interface, and who else sits there.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{BpfError, bpf, bpf_fd, object_name};

const BPF_PROG_LOAD: u32 = 5;
const BPF_PROG_TEST_RUN: u32 = 10;
const BPF_PROG_GET_FD_BY_ID: u32 = 13;
const BPF_OBJ_GET_INFO_BY_FD: u32 = 15;
const BPF_PROG_QUERY: u32 = 16;
const BPF_LINK_CREATE: u32 = 28;

const VERIFIER_LOG_BYTES: u32 = 64 * 1024;
/// How often a load is tried: the verifier gives up with EAGAIN when a signal comes.
const LOAD_TRIES: u32 = 5;
/// The kernel allows 64 programs at one tcx hook (`BPF_MPROG_MAX`).
const PROGRAMS_AT_A_HOOK_MAX: u32 = 64;

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
        let mut left = LOAD_TRIES;
        let error = loop {
            left -= 1;
            // SAFETY: insns points to insn_cnt words, license to a C string; both outlive the call.
            match unsafe { bpf_fd(BPF_PROG_LOAD, &mut attr) } {
                Ok(fd) => return Ok(Self { fd, name: name.to_owned() }),
                Err(error) if left > 0 && error.raw_os_error() == Some(libc::EAGAIN) => {}
                Err(error) => break error,
            }
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
