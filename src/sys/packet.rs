//! AF_PACKET socket calls that rustix lacks: link-layer addresses, SOL_PACKET options, classic BPF filters.
//!
//! Every function is one system call with checked arguments; ring memory is mapped in `port::afpacket::ring`.
#![allow(unsafe_code)] // setsockopt(2), getsockopt(2) and sockaddr_ll, in one place.

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::net::{AddressFamily, SocketAddrAny, SocketFlags, SocketType};
use std::ffi::c_int;
use std::io;
use std::mem::{MaybeUninit, size_of};

/// A raw, non-blocking packet socket of protocol 0: nothing is queued before [`bind`] names one. (Only raw sockets
/// carry virtio_net headers.)
pub fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?)
}

/// A `sockaddr_ll`: interface index and Ethernet protocol (host byte order).
pub fn address(index: u32, protocol: u16) -> SocketAddrAny {
    let ll = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = size_of::<libc::sockaddr_ll>();
    // SAFETY: `ll` is a whole, initialised sockaddr_ll; `read` copies exactly its `len` bytes.
    unsafe { SocketAddrAny::read((&raw const ll).cast(), len as u32) }
}

/// Binds to an interface; a protocol other than 0 starts reception.
pub fn bind(fd: impl AsFd, index: u32, protocol: u16) -> io::Result<()> {
    Ok(rustix::net::bind(fd, &address(index, protocol))?)
}

/// What a packet socket is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// Interface index; `None` once the interface has gone.
    pub index: Option<u32>,
    /// `ARPHRD_*` type of the interface.
    pub hatype: u16,
    /// Its hardware address, where that has six bytes.
    pub mac: Option<[u8; 6]>,
}

/// Asks what `fd` is bound to.
pub fn bound(fd: impl AsFd) -> io::Result<Bound> {
    let name = rustix::net::getsockname(fd)?;
    let mut ll = MaybeUninit::<libc::sockaddr_ll>::zeroed();
    let len = (name.addr_len() as usize).min(size_of::<libc::sockaddr_ll>());
    // SAFETY: `name` holds `addr_len` initialised bytes, `ll` has room for `len`, and they do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(name.as_ptr().cast::<u8>(), ll.as_mut_ptr().cast::<u8>(), len) };
    // SAFETY: sockaddr_ll is plain integers: zeroes with any bytes over them are a valid value.
    let ll = unsafe { ll.assume_init() };
    Ok(Bound {
        // The kernel sets the index to -1 when the device is unregistered (packet_notifier).
        index: u32::try_from(ll.sll_ifindex).ok().filter(|&i| i != 0),
        hatype: ll.sll_hatype,
        mac: (ll.sll_halen == 6).then_some(ll.sll_addr).and_then(|a| a.first_chunk().copied()),
    })
}

/// Sets a `SOL_PACKET` option whose value is one or more 32-bit integers.
pub fn set_option(fd: impl AsFd, option: c_int, value: &[c_int]) -> io::Result<()> {
    set(fd, libc::SOL_PACKET, option, value.as_ptr().cast(), size_of_val(value))
}

/// Reads a `SOL_PACKET` option of `N` 32-bit integers.
pub fn get_option<const N: usize>(fd: impl AsFd, option: c_int) -> io::Result<[u32; N]> {
    let mut value = [0_u32; N];
    let mut len = size_of_val(&value) as libc::socklen_t;
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `len` bytes into `value`; any bytes are valid integers.
    let r =
        unsafe { libc::getsockopt(fd, libc::SOL_PACKET, option, value.as_mut_ptr().cast(), &raw mut len) };
    if r == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// One instruction of a classic BPF program: operation, jump if true, jump if false, operand.
pub type Instruction = (u16, u8, u8, u32);

/// Puts a classic BPF program before the socket, in place of the one there, atomically.
pub fn set_filter<const N: usize>(fd: impl AsFd, program: &[Instruction; N]) -> io::Result<()> {
    let mut words = program.map(|(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k });
    let program = libc::sock_fprog { len: N as u16, filter: words.as_mut_ptr() };
    let value: *const libc::sock_fprog = &raw const program;
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, value.cast(), size_of::<libc::sock_fprog>())
}

fn set(fd: impl AsFd, level: c_int, option: c_int, value: *const libc::c_void, len: usize) -> io::Result<()> {
    // SAFETY: both callers pass a live value of `len` bytes, which the kernel only reads.
    let r = unsafe { libc::setsockopt(fd.as_fd().as_raw_fd(), level, option, value, len as libc::socklen_t) };
    if r == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
