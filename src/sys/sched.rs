//! How the scheduler treats a thread: the length of its turns (sched_setattr(2)). Called by `worker` at its start.
#![allow(unsafe_code)] // no crate wraps sched_setattr with the length of a turn.

use std::io;
use std::time::Duration;

/// `struct sched_attr` as of its first version (include/uapi/linux/sched/types.h).
#[repr(C)]
struct Attr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Asks for turns of about `slice` for the calling thread, which stays an ordinary one (SCHED_OTHER, nice 0). The kernel keeps
/// to 100 us to 100 ms. A thread with short turns gets no more time than others, but gets it sooner: it may interrupt one with
/// longer turns when it wakes (EEVDF, Linux 6.12 and later). Older kernels ignore the length.
///
/// # Errors
/// If the kernel or a sandbox refuses the call.
pub fn set_slice(slice: Duration) -> io::Result<()> {
    let attr = Attr {
        size: size_of::<Attr>() as u32,
        policy: libc::SCHED_OTHER.cast_unsigned(),
        flags: 0,
        nice: 0,
        priority: 0,
        runtime: u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX),
        deadline: 0,
        period: 0,
    };
    // SAFETY: the kernel reads `size` bytes from the pointer, which points to that many; thread 0 is the calling one.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_notes_the_slice() {
        let shown = std::thread::spawn(|| {
            set_slice(Duration::from_micros(300)).unwrap();
            std::fs::read_to_string("/proc/thread-self/sched").unwrap_or_default()
        });
        let shown = shown.join().unwrap();
        let slice = shown.lines().find_map(|line| line.strip_prefix("se.slice")?.split(':').nth(1));
        assert_eq!(slice.map(str::trim), Some("300000"), "needs Linux 6.12 with CONFIG_SCHED_DEBUG: {shown}");
    }
}
