//! What can go wrong on a netlink socket. Each message names the request and carries the kernel's own words.

use std::io;

use super::Malformed;

/// A failed netlink operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on the socket failed.
    #[error("netlink: cannot {doing}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// The kernel refused a request.
    #[error("{what}: {}", in_words(.source, .text))]
    Refused {
        /// The request, in words of iproute2.
        what: String,
        /// The error number.
        source: io::Error,
        /// The kernel's explanation (`NLMSGERR_ATTR_MSG`), often empty.
        text: String,
    },
    /// The receive buffer was full and events are lost (ENOBUFS). Nothing is sent again: dump everything anew.
    #[error("netlink events were lost: the receive buffer was full; a full resync is needed")]
    Overrun,
    /// Objects changed during each of several attempts at a dump, so none is consistent. Try again later.
    #[error("{what}: still changing after {attempts} attempts; try again later")]
    Interrupted {
        /// What was dumped.
        what: &'static str,
        /// How often it was tried.
        attempts: u32,
    },
    /// A message does not fit what this kernel interface promises. The other messages received with it are not affected.
    #[error("netlink message of type {kind}: {source}")]
    Malformed {
        /// The `RTM_*` number.
        kind: u16,
        /// Which attribute.
        source: Malformed,
    },
    /// A message is longer than the socket's buffer, which no kernel sends.
    #[error("netlink message of {0} bytes is too long to receive")]
    Truncated(usize),
    /// A request holds an attribute of more than 65,531 bytes: too many next hops or group members.
    #[error("the request is too long for netlink: use fewer next hops or group members")]
    TooLong,
    /// There is no such link.
    #[error("no link is called {0}")]
    NoLink(String),
}

impl Error {
    /// True if the kernel refused the request with this error number, such as `libc::EEXIST`.
    pub fn is(&self, errno: i32) -> bool {
        matches!(self, Self::Refused { source, .. } if source.raw_os_error() == Some(errno))
    }
}

fn in_words(source: &io::Error, text: &str) -> String {
    if text.is_empty() { source.to_string() } else { format!("{text} ({source})") }
}
