//! The few bpf(2) calls warren makes: maps, loading a checked-in program, links on an interface, trial runs, queries.
//!
//! No library: the ones there are bring ELF and BTF readers for what is one system call with eight argument layouts.
//! Every object is an `OwnedFd`; a [`Link`] detaches its program when it is dropped or when the process dies.
//! Called by `control::guard` and the AF_XDP port. Source: `include/uapi/linux/bpf.h`, `kernel/bpf/syscall.c`.
#![allow(unsafe_code)] // bpf(2) takes a union by pointer, with further pointers inside; no safe wrapper exists.

mod map;
mod program;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

pub use map::{Map, MapKind};
pub use program::{Hook, Link, Program, ProgramKind, program_name, programs_at};

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

/// A name as the kernel takes it: cut to 15 bytes, filled with zeros.
fn object_name(name: &str) -> [u8; 16] {
    let mut to = [0; 16];
    to.iter_mut().take(15).zip(name.bytes()).for_each(|(to, from)| *to = from);
    to
}
