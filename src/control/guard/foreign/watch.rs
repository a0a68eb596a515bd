//! Tells when to look again: changes of nftables chains and rules, of traffic control and of IPsec policies.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netlink_sys::Socket;
use rustix::event::epoll;

use super::{tc, xfrm};
use crate::control::guard::message::{self, Received, find, name};
use crate::control::guard::nft::{NETLINK_NETFILTER, TABLE_PREFIX};

const NFNLGRP_NFTABLES: u32 = 7;
const RTNLGRP_TC: u32 = 4;
const XFRMNLGRP_POLICY: u32 = 4;

/// Subscriptions in the namespace of the thread that made it. Its descriptor is readable when [`changed`](Self::changed)
/// has something to read.
#[derive(Debug)]
pub struct Watcher {
    nftables: Socket,
    others: Vec<Socket>,
    ready: OwnedFd,
}

impl Watcher {
    /// Subscribes. Make it before the first [`find`](super::find), so that no change falls in between.
    pub fn new() -> io::Result<Self> {
        let nftables = subscribe(NETLINK_NETFILTER, NFNLGRP_NFTABLES)?;
        let mut others = vec![subscribe(tc::NETLINK_ROUTE, RTNLGRP_TC)?];
        match subscribe(xfrm::NETLINK_XFRM, XFRMNLGRP_POLICY) {
            Ok(socket) => others.push(socket),
            Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => {} // the kernel has no XFRM
            Err(error) => return Err(error),
        }
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for socket in others.iter().chain([&nftables]) {
            epoll::add(&ready, socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        }
        Ok(Self { nftables, others, ready })
    }

    /// Whether something that [`find`](super::find) could see has changed since the last call. Never blocks.
    /// Lost messages count as a change; the guard's own renewals do not.
    pub fn changed(&self) -> io::Result<bool> {
        let mut changed = waiting(&self.nftables)?.is_none_or(|all| all.iter().any(changes_chains));
        for socket in &self.others {
            changed |= waiting(socket)?.is_none_or(|all| !all.is_empty());
        }
        Ok(changed)
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

fn subscribe(family: isize, group: u32) -> io::Result<Socket> {
    let socket = message::open(family)?;
    socket.add_membership(group)?;
    Ok(socket)
}

/// What has come in; `None` if some was lost.
fn waiting(socket: &Socket) -> io::Result<Option<Vec<Received>>> {
    let mut lost = false;
    loop {
        match message::waiting(socket) {
            Ok(all) => return Ok((!lost).then_some(all)),
            // Said once; what the socket still holds comes behind it.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => lost = true,
            Err(error) => return Err(error),
        }
    }
}

/// New and deleted tables, chains and rules, of other people's tables. In all of these attribute 1 is the table's name.
fn changes_chains(message: &Received) -> bool {
    let of_chains = matches!(message.kind & 0xff, 0 | 2 | 3 | 5 | 6 | 8);
    let table =
        message.body.get(4..).and_then(|attributes| find(attributes, 1)).map(name).unwrap_or_default();
    of_chains && !table.starts_with(TABLE_PREFIX)
}
