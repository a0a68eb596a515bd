//! The guard as an nftables chain, for kernels without tcx (before Linux 6.6): the same rule, up to 0.7 us a frame.
//!
//! The table has the owner flag: only our socket can change it and it goes when the socket closes, so with the process.
//! Called by [`super::Guard`]. What the table holds, as `nft list ruleset` would print it:
//!
//! ```text
//! table netdev warren-<port> {
//!   set left4 { type ipv4_addr; flags interval }        set left6 alike
//!   map lease { type ether_type : verdict; flags timeout; elements = { ip timeout 1s : jump claim4, ip6 ... } }
//!   chain alert4 { one rule for each byte where 148 may stand: accept }      chain alert6 alike
//!   chain claim4 { ip daddr @left4 accept; @nh,4,4 > 5 jump alert4; ip daddr <any> drop }      chain claim6 alike
//!   chain take-<ifindex> { type filter hook ingress device "eth0" priority -500; meta pkttype host ether type vmap @lease }
//! }
//! ```
//!
//! A load of bytes that the frame does not have ends its rule without a verdict, and the base chain's policy is accept:
//! that is clause 2. A tag that the kernel has moved to metadata shows as ethertype: that is clause 1. Elements that are
//! not renewed expire: that is the lease.

mod batch;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use ipnet::IpNet;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::{netdevice, sockopt};

use super::GuardError;
use super::message;
use batch::Batch;

/// The table is called `warren-N` after the port of its socket, which nobody else in this namespace has: so a successor can
/// set up its own before the predecessor goes.
pub(super) const TABLE_PREFIX: &str = "warren-";

pub(super) const NETLINK_NETFILTER: isize = 12;

/// A batch goes to the kernel in one piece; this holds about a million intervals.
const SEND_BUFFER_BYTES: usize = 128 << 20;

#[derive(Debug)]
pub(super) struct Nft {
    socket: Socket,
    table: String,
    left: BTreeSet<IpNet>,
    /// The base chain of each taken interface, by ifindex.
    chains: BTreeMap<u32, String>,
}

impl Nft {
    pub(super) fn new(left: &[IpNet]) -> Result<Self, GuardError> {
        let (socket, port) =
            open().map_err(|source| GuardError::Nft { action: "open a socket".to_owned(), source })?;
        let nft = Self {
            socket,
            table: format!("{TABLE_PREFIX}{port}"),
            left: left.iter().map(IpNet::trunc).collect(),
            chains: BTreeMap::new(),
        };
        let mut batch = Batch::new(&nft.table);
        batch.add_table();
        batch.add_sets();
        for (chain, rules) in rules::regular_chains() {
            batch.add_chain(chain);
            rules.iter().for_each(|rule| batch.add_rule(chain, rule));
        }
        batch.add_left(&nft.left);
        nft.commit(batch, || "create the guard's table".to_owned())?;
        Ok(nft)
    }

    pub(super) fn attach(&mut self, ifindex: u32) -> Result<(), GuardError> {
        if self.chains.contains_key(&ifindex) {
            return Ok(());
        }
        let action = || format!("guard interface {ifindex}");
        let device = netdevice::index_to_name(&self.socket, ifindex)
            .map_err(|error| GuardError::Nft { action: action(), source: error.into() })?;
        let chain = format!("take-{ifindex}");
        let mut batch = Batch::new(&self.table);
        batch.add_base_chain(&chain, &device);
        batch.add_rule(&chain, &rules::take());
        self.commit(batch, action)?;
        self.chains.insert(ifindex, chain);
        Ok(())
    }

    pub(super) fn detach(&mut self, ifindex: u32) -> Result<(), GuardError> {
        let Some(chain) = self.chains.remove(&ifindex) else { return Ok(()) };
        let mut batch = Batch::new(&self.table);
        batch.delete_chain(&chain);
        match self.commit(batch, || format!("let go of interface {ifindex}")) {
            // The chain went with its interface.
            Err(GuardError::Nft { source, .. }) if source.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result,
        }
    }

    pub(super) fn leave(&mut self, prefixes: &[IpNet]) -> Result<(), GuardError> {
        self.left.extend(prefixes.iter().map(IpNet::trunc));
        self.replace_left()
    }

    pub(super) fn claim(&mut self, prefixes: &[IpNet]) -> Result<(), GuardError> {
        for prefix in prefixes {
            self.left.remove(&prefix.trunc());
        }
        self.replace_left()
    }

    pub(super) fn renew(&self) -> Result<(), GuardError> {
        let mut batch = Batch::new(&self.table);
        batch.renew_lease();
        self.commit(batch, || "renew the guard".to_owned())
    }

    pub(super) fn stand_aside(&self) -> Result<(), GuardError> {
        let mut batch = Batch::new(&self.table);
        batch.end_lease();
        self.commit(batch, || "let the kernel forward again".to_owned())
    }

    /// Sends `left` as a whole: intervals must not overlap, so one prefix may change several of them.
    fn replace_left(&self) -> Result<(), GuardError> {
        let mut batch = Batch::new(&self.table);
        batch.clear_left();
        batch.add_left(&self.left);
        self.commit(batch, || format!("leave {} prefixes to the kernel", self.left.len()))
    }

    fn commit(&self, batch: Batch, action: impl Fn() -> String) -> Result<(), GuardError> {
        message::order(&self.socket, &batch.finish())
            .map_err(|source| GuardError::Nft { action: action(), source })
    }
}

/// The socket that owns the table, and its port.
fn open() -> io::Result<(Socket, u32)> {
    let socket = message::open(NETLINK_NETFILTER)?;
    // Not allowed in some containers; then a batch is bounded by the default, and a `left` beyond that is an error.
    let _ = sockopt::set_socket_send_buffer_size_force(&socket, SEND_BUFFER_BYTES);
    let mut address = SocketAddr::new(0, 0);
    socket.get_address(&mut address)?;
    Ok((socket, address.port_number()))
}
