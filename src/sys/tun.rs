//! The ioctls of `/dev/net/tun`: open a TUN or TAP queue and set the virtio_net header and offloads.
#![allow(unsafe_code)] // ioctl(2), in one place.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{IntegerSetter, Opcode, Setter, Updater, ioctl};
use std::ffi::c_int;
use std::io;

const TUNSETIFF: Opcode = libc::TUNSETIFF as Opcode;
const TUNSETOFFLOAD: Opcode = libc::TUNSETOFFLOAD as Opcode;
const TUNSETVNETHDRSZ: Opcode = libc::TUNSETVNETHDRSZ as Opcode;

/// Longest interface name the kernel takes.
pub const NAME_MAX: usize = libc::IFNAMSIZ - 1;

/// `struct ifreq` with the flags member of its union.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: i16,
    rest: [u8; 22],
}

/// Opens one non-blocking queue of the device `name`, creating the device if there is none, with `IFF_*` flags.
/// Returns the queue and the name the kernel gave (`%d` in `name` asks it to number). The device vanishes with
/// its last queue unless it was made persistent.
pub fn open(name: &str, flags: c_int) -> io::Result<(OwnedFd, String)> {
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags: flags as i16, rest: [0; 22] };
    match request.name.get_mut(..name.len()) {
        Some(to) if name.len() <= NAME_MAX && !name.contains('\0') => to.copy_from_slice(name.as_bytes()),
        _ => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "interface names have at most 15 bytes"));
        }
    }
    let fd =
        rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    // SAFETY: TUNSETIFF takes a struct ifreq, reads name and flags and writes the name back; `Request` is its layout.
    let call = unsafe { Updater::<TUNSETIFF, Request>::new(&mut request) };
    // SAFETY: `fd` is a tun descriptor and `call` matches the request, as said above.
    unsafe { ioctl(&fd, call) }?;
    let given = request.name.split(|&b| b == 0).next().unwrap_or_default();
    Ok((fd, String::from_utf8_lossy(given).into_owned()))
}

/// Sets the length of the virtio_net header before each frame.
pub fn set_header_len(fd: impl AsFd, len: c_int) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads one int.
    let call = unsafe { Setter::<TUNSETVNETHDRSZ, c_int>::new(len) };
    // SAFETY: `call` matches the request, as said above; on another descriptor the kernel answers ENOTTY.
    Ok(unsafe { ioctl(fd, call) }?)
}

/// Tells the kernel which unfinished work (`TUN_F_*`) it may hand over with a frame.
pub fn set_offload(fd: impl AsFd, flags: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    let call = unsafe { IntegerSetter::<TUNSETOFFLOAD>::new_usize(flags as usize) };
    // SAFETY: `call` matches the request, as said above; on another descriptor the kernel answers ENOTTY.
    Ok(unsafe { ioctl(fd, call) }?)
}
