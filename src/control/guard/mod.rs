//! The guard: while warren forwards a frame in user space, the kernel must not forward it too.
//!
//! On every taken interface it drops, behind the packet taps and in front of the kernel's protocols, exactly the frames
//! that warren claims. All others go on to the kernel. Invariant: the guard and the workers evaluate one rule.
//!
//! # The claim rule
//!
//! A frame is claimed if all of these hold. Offsets are in bytes; "readable" means inside the frame, whose length counts
//! padding behind the packet; nothing is checked beyond what is said here, so malformed packets are claimed.
//!
//! 1. It is addressed to this host at layer 2 (packet type HOST) and bears no VLAN tag.
//! 2. Its ethertype is 0x0800 and it has at least 14 + 20 bytes, or 0x86dd and at least 14 + 40.
//! 3. The destination address (at 14 + 16, or 14 + 24) is in no prefix of `left`.
//! 4. It cannot carry a router alert:
//!    - IPv4 (RFC 2113): with `h` = 4 * (byte 14 & 15), no readable byte in 14 + 20 .. 14 + `h` is 148.
//!    - IPv6 (RFC 2711): only if next header (byte 20) is 0 and byte 55, the hop-by-hop header's length `n`, is readable:
//!      `n` is at most 7, and no two neighbouring readable bytes in 56 .. 62 + 8 * `n` are 5, 2.
//!
//! The bytes of an alert are looked for wherever they may stand: walking the options would have to agree on every way in
//! which options can be malformed, and nftables cannot walk them. A packet left by mistake is forwarded by the kernel.
//!
//! # Two ways to guard
//!
//! A BPF program at the tcx hook (`tcx`, Linux 6.6), else an nftables chain (`nft`). Both vanish with the process and
//! both stand aside by themselves one second after the last [`Guard::renew`]. Only the control thread calls this module.

pub mod foreign;
mod message;
mod nft;
mod tcx;

use ipnet::IpNet;

use crate::sys::bpf::BpfError;
use nft::Nft;
use tcx::Tcx;

/// Why the guard could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The BPF program or its maps.
    #[error("guard (by BPF, which needs Linux 6.6, CAP_BPF and CAP_NET_ADMIN): {0}")]
    Bpf(#[from] BpfError),
    /// The nftables chain that stands in for it.
    #[error(
        "guard: nftables: cannot {action}: {source} (CONFIG_NF_TABLES_NETDEV and CAP_NET_ADMIN are needed)"
    )]
    Nft {
        /// What was asked of the kernel.
        action: String,
        /// Its answer.
        source: std::io::Error,
    },
    /// Neither can be had.
    #[error("{tcx}; and instead of it: {nft}")]
    Neither {
        /// Why not the program.
        tcx: Box<GuardError>,
        /// Why not the chain.
        nft: Box<GuardError>,
    },
}

/// Keeps the kernel from forwarding what warren forwards, on the interfaces it is attached to. Dropping it lets go of all.
///
/// It belongs to the network namespace of the thread that made it; call it from that namespace only.
#[derive(Debug)]
pub struct Guard {
    backend: Backend,
    instead: Option<String>,
}

#[derive(Debug)]
enum Backend {
    Tcx(Tcx),
    Nft(Nft),
}

/// Whether a guard of any process stands on the interface. Those of nftables are not seen, nor any where BPF may not be asked.
pub fn stands_on(ifindex: u32) -> Result<bool, GuardError> {
    tcx::stands_on(ifindex)
}

impl Guard {
    /// Prepares a guard that leaves `left` to the kernel and is attached nowhere: by tcx, or by nftables where that cannot
    /// be had. It guards nothing before the first [`renew`](Self::renew).
    pub fn new(left: &[IpNet]) -> Result<Self, GuardError> {
        let tcx = match Self::tcx(left) {
            Ok(guard) => return Ok(guard),
            Err(error) => error,
        };
        match Self::nft(left) {
            Ok(guard) => Ok(Self { instead: Some(tcx.to_string()), ..guard }),
            Err(nft) => Err(GuardError::Neither { tcx: Box::new(tcx), nft: Box::new(nft) }),
        }
    }

    /// The guard as a BPF program, or an error.
    pub fn tcx(left: &[IpNet]) -> Result<Self, GuardError> {
        Ok(Self { backend: Backend::Tcx(Tcx::new(left)?), instead: None })
    }

    /// The guard as an nftables chain, or an error.
    pub fn nft(left: &[IpNet]) -> Result<Self, GuardError> {
        Ok(Self { backend: Backend::Nft(Nft::new(left)?), instead: None })
    }

    /// If this is the slower nftables guard for want of tcx: why, in one line for the user.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.instead.as_deref()
    }

    /// Guards one more interface. Takes effect before it returns. Already attached: no change; so detach an interface that is
    /// gone, before its number comes back.
    pub fn attach(&mut self, ifindex: u32) -> Result<(), GuardError> {
        match &mut self.backend {
            Backend::Tcx(tcx) => tcx.attach(ifindex),
            Backend::Nft(nft) => nft.attach(ifindex),
        }
    }

    /// Gives an interface back to the kernel. Not attached, or gone meanwhile: no change.
    pub fn detach(&mut self, ifindex: u32) -> Result<(), GuardError> {
        match &mut self.backend {
            Backend::Tcx(tcx) => {
                tcx.detach(ifindex);
                Ok(())
            }
            Backend::Nft(nft) => nft.detach(ifindex),
        }
    }

    /// These prefixes join `left`: their packets go to the kernel from now on. Let the workers know *before*, so that no
    /// packet is forwarded twice. `0.0.0.0/0` or `::/0` gives a whole family back.
    ///
    /// O(n) in the prefixes given; for nftables in all of `left`.
    pub fn leave(&mut self, prefixes: &[IpNet]) -> Result<(), GuardError> {
        match &mut self.backend {
            Backend::Tcx(tcx) => tcx.leave(prefixes),
            Backend::Nft(nft) => nft.leave(prefixes),
        }
    }

    /// These prefixes, each given to [`leave`](Self::leave) or [`new`](Self::new) earlier, are no longer in `left`: their
    /// packets are dropped from now on, unless another prefix of `left` holds them. Let the workers know *afterwards*.
    /// When a set is replaced, leave what is new first and then claim what is gone.
    pub fn claim(&mut self, prefixes: &[IpNet]) -> Result<(), GuardError> {
        match &mut self.backend {
            Backend::Tcx(tcx) => tcx.claim(prefixes),
            Backend::Nft(nft) => nft.claim(prefixes),
        }
    }

    /// Keeps the guard standing for one more second. To be called five times a second, and only while every worker runs.
    pub fn renew(&mut self) -> Result<(), GuardError> {
        match &mut self.backend {
            Backend::Tcx(tcx) => tcx.renew(),
            Backend::Nft(nft) => nft.renew(),
        }
    }

    /// Ends the second: the kernel forwards again at once, on all interfaces together (detaching takes the kernel tens of
    /// milliseconds for each). The next [`renew`](Self::renew) begins a new one.
    pub fn stand_aside(&mut self) -> Result<(), GuardError> {
        match &mut self.backend {
            Backend::Tcx(tcx) => tcx.stand_aside(),
            Backend::Nft(nft) => nft.stand_aside(),
        }
    }
}
