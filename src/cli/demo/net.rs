//! The demo's network: host a, a router and host b, each in a network namespace of its own.
//!
//! ```text
//! a  eth0 ------- to-a  router  to-b ------- eth0  b
//!       MTU 1500                   MTU 1400
//! ```
//!
//! Invariant: all of it goes away with the [`Net`], also when building it fails half-way. Nothing outside is touched:
//! namespaces, links, addresses and sysctls are all made here. Called by the demo and by the tests with real tools.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ipnet::IpNet;

use crate::control::netlink::{
    AddressMsg, Family, Leg, LinkChange, LinkKind, Mode, NewLink, RouteKind, RouteMsg, Socket,
};
use crate::sys::netns::Namespace;

/// The router's links: towards a, towards b.
pub const ROUTER_LINKS: [&str; 2] = ["to-a", "to-b"];
/// The one link of a host.
pub const HOST_LINK: &str = "eth0";
/// MTU of the way to a, in bytes.
pub const MTU: u32 = 1500;
/// MTU of the way to b, in bytes: what path-MTU discovery has to find.
pub const SMALL_MTU: u32 = 1400;
/// How long links may take to come up; they need some milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// One side of the router: a host, and the addresses on the link to it. All are from the blocks for documentation
/// (RFC 5737, RFC 3849).
#[derive(Debug, Clone, Copy)]
pub struct Side {
    host: (Ipv4Addr, Ipv6Addr),
    router: (Ipv4Addr, Ipv6Addr),
    mtu: u32,
}

/// The side of host a.
pub const A: Side = Side {
    host: (Ipv4Addr::new(192, 0, 2, 2), Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 2)),
    router: (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1)),
    mtu: MTU,
};
/// The side of host b.
pub const B: Side = Side {
    host: (Ipv4Addr::new(198, 51, 100, 2), Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 2)),
    router: (Ipv4Addr::new(198, 51, 100, 1), Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 1)),
    mtu: SMALL_MTU,
};

impl Side {
    /// The host's address.
    pub fn host(&self, family: Family) -> IpAddr {
        of(self.host, family)
    }

    /// The router's address towards that host.
    pub fn router(&self, family: Family) -> IpAddr {
        of(self.router, family)
    }
}

fn of(both: (Ipv4Addr, Ipv6Addr), family: Family) -> IpAddr {
    match family {
        Family::V4 => both.0.into(),
        Family::V6 => both.1.into(),
    }
}

/// The three namespaces.
#[derive(Debug)]
pub struct Net {
    /// Host a.
    pub a: Namespace,
    /// The router, whose kernel forwards.
    pub router: Namespace,
    /// Host b.
    pub b: Namespace,
}

impl Net {
    /// Builds the network in namespaces `NAME-a`, `NAME-r` and `NAME-b`; on return the kernel of `NAME-r` routes between
    /// the hosts. No neighbour is known yet.
    ///
    /// # Errors
    /// What the kernel refused, in words; root is needed.
    pub fn build(name: &str) -> Result<Self> {
        let create = |part| Namespace::create(&format!("{name}-{part}"));
        let net = Self { a: create("a")?, router: create("r")?, b: create("b")? };
        for space in [&net.a, &net.router, &net.b] {
            // Without duplicate address detection addresses can be used at once.
            for which in ["all", "default"] {
                space.sysctl_write(&format!("net.ipv6.conf.{which}.accept_dad"), "0")?;
                space.sysctl_write(&format!("net.ipv6.conf.{which}.router_solicitations"), "0")?;
            }
        }
        net.router.sysctl_write("net.ipv4.ip_forward", "1")?;
        net.router.sysctl_write("net.ipv6.conf.all.forwarding", "1")?;

        let mut router = net.router.enter(Socket::open)??;
        set_up(&mut router, "lo", None)?;
        for ((link, side), host) in ROUTER_LINKS.into_iter().zip([A, B]).zip([&net.a, &net.b]) {
            let peer = NewLink {
                netns: Some(host.as_fd()),
                mtu: Some(side.mtu),
                ..NewLink::new(HOST_LINK, LinkKind::Dummy)
            };
            let pair = NewLink { mtu: Some(side.mtu), ..NewLink::new(link, LinkKind::Veth(Box::new(peer))) };
            router.add_link(&pair)?;
            set_up(&mut router, link, Some(side.router))?;
            join(host, side).with_context(|| format!("namespace {}", host.name()))?;
        }
        for space in [&net.a, &net.router, &net.b] {
            wait_for_links(space)?;
        }
        Ok(net)
    }
}

/// Gives a host its addresses and its default routes.
fn join(host: &Namespace, side: Side) -> Result<()> {
    let mut socket = host.enter(Socket::open)??;
    set_up(&mut socket, "lo", None)?;
    let link = set_up(&mut socket, HOST_LINK, Some(side.host))?;
    for family in Family::BOTH {
        let leg = Leg::via(side.router(family), Some(link));
        let everything = if family == Family::V4 { "0.0.0.0/0" } else { "::/0" };
        let route = RouteMsg::new(everything.parse::<IpNet>()?, RouteKind::Unicast, vec![leg]);
        socket.add_route(&route, Mode::Add)?;
    }
    Ok(())
}

/// Sets a link up and gives it its addresses; `lo` has its own. Returns its index.
fn set_up(socket: &mut Socket, link: &str, addresses: Option<(Ipv4Addr, Ipv6Addr)>) -> Result<u32> {
    let index = socket.link(link)?.index;
    socket.set_link(index, &LinkChange::UP)?;
    if let Some((v4, v6)) = addresses {
        for (address, length) in [(IpAddr::V4(v4), 24), (IpAddr::V6(v6), 64)] {
            let prefix = IpNet::new(address, length)?;
            socket.add_address(&AddressMsg::new(index, prefix), Mode::Add)?;
        }
    }
    Ok(index)
}

/// Waits until every link that is up can send. The kernel notices a carrier some time after both ends are up; until
/// then the `noop` queue swallows frames without an error.
fn wait_for_links(space: &Namespace) -> Result<()> {
    let mut socket = space.enter(Socket::open)??;
    let begin = Instant::now();
    while socket.links()?.iter().any(|link| link.is_up() && !(link.is_running() && link.qdisc != "noop")) {
        if begin.elapsed() > PATIENCE {
            bail!("the links of namespace {} do not come up", space.name());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
