//! Where each per-interface sysctl stands in a link's two devconf arrays ([`super::LinkMsg::conf4`], [`super::LinkMsg::conf6`]).
//!
//! Source: `include/uapi/linux/ip.h` (`IPV4_DEVCONF_*`, which count from 1; these are the positions, from 0) and
//! `include/uapi/linux/ipv6.h` (`DEVCONF_*`). An older kernel's array is shorter: read with `get`. The numbers are part of the
//! kernel's interface; a test writes each sysctl and sees it appear at its place.

/// IPv4: positions in `IFLA_INET_CONF`, named as in `/proc/sys/net/ipv4/conf/IF/`.
pub mod v4 {
    /// Forward what arrives here.
    pub const FORWARDING: usize = 0;
    /// A multicast routing daemon uses this link.
    pub const MC_FORWARDING: usize = 1;
    /// Answer ARP for addresses that are routed elsewhere.
    pub const PROXY_ARP: usize = 2;
    /// Believe ICMP redirects.
    pub const ACCEPT_REDIRECTS: usize = 3;
    /// Believe redirects only to known gateways.
    pub const SECURE_REDIRECTS: usize = 4;
    /// Send ICMP redirects.
    pub const SEND_REDIRECTS: usize = 5;
    /// Several subnets share the medium.
    pub const SHARED_MEDIA: usize = 6;
    /// Reverse path filter: 0 off, 1 strict, 2 loose; the larger of `all` and the link's counts.
    pub const RP_FILTER: usize = 7;
    /// Accept source routed packets.
    pub const ACCEPT_SOURCE_ROUTE: usize = 8;
    /// Accept packets from 0.x.x.x for a relay.
    pub const BOOTP_RELAY: usize = 9;
    /// Log impossible addresses.
    pub const LOG_MARTIANS: usize = 10;
    /// A free number for the administrator.
    pub const TAG: usize = 11;
    /// Answer ARP only where a reply would leave.
    pub const ARP_FILTER: usize = 12;
    /// Identity of the medium, for proxy ARP; -1 off.
    pub const MEDIUM_ID: usize = 13;
    /// No IPsec on this link.
    pub const DISABLE_XFRM: usize = 14;
    /// No IPsec policy on this link.
    pub const DISABLE_POLICY: usize = 15;
    /// When to announce which source address in ARP.
    pub const ARP_ANNOUNCE: usize = 17;
    /// Which ARP requests to answer.
    pub const ARP_IGNORE: usize = 18;
    /// A secondary address takes over from its primary.
    pub const PROMOTE_SECONDARIES: usize = 19;
    /// Accept packets with our own source address.
    pub const ACCEPT_LOCAL: usize = 22;
    /// The reverse path lookup uses the mark.
    pub const SRC_VALID_MARK: usize = 23;
    /// Route 127/8.
    pub const ROUTE_LOCALNET: usize = 25;
    /// Skip routes whose link has no carrier.
    pub const IGNORE_ROUTES_WITH_LINKDOWN: usize = 28;
    /// Drop unicast IP in link-layer multicast.
    pub const DROP_UNICAST_IN_L2_MULTICAST: usize = 29;
    /// Forward directed broadcasts.
    pub const BC_FORWARDING: usize = 31;
    /// Forget neighbours when the carrier goes.
    pub const ARP_EVICT_NOCARRIER: usize = 32;
}

/// IPv6: positions in `IFLA_INET6_CONF`, named as in `/proc/sys/net/ipv6/conf/IF/`.
pub mod v6 {
    /// Forward what arrives here.
    pub const FORWARDING: usize = 0;
    /// Hop limit of what we send.
    pub const HOP_LIMIT: usize = 1;
    /// The IPv6 MTU, at most the link's.
    pub const MTU: usize = 2;
    /// Believe router advertisements.
    pub const ACCEPT_RA: usize = 3;
    /// Believe redirects.
    pub const ACCEPT_REDIRECTS: usize = 4;
    /// How many router solicitations are sent; -1 without end.
    pub const ROUTER_SOLICITATIONS: usize = 7;
    /// Make temporary addresses: 1, and prefer them: 2.
    pub const USE_TEMPADDR: usize = 10;
    /// Least time between two probes of a router, here in milliseconds.
    pub const ROUTER_PROBE_INTERVAL: usize = 20;
    /// Answer solicitations for proxy neighbours.
    pub const PROXY_NDP: usize = 22;
    /// Accept routing headers: 0 only type 2, negative none.
    pub const ACCEPT_SOURCE_ROUTE: usize = 24;
    /// A multicast routing daemon uses this link.
    pub const MC_FORWARDING: usize = 25;
    /// No IPv6 on this link.
    pub const DISABLE_IPV6: usize = 26;
    /// Look for duplicates of an address before using it: 1, and give IPv6 up if the link-local one has any: 2.
    pub const ACCEPT_DAD: usize = 27;
    /// Use optimistic addresses as a source.
    pub const USE_OPTIMISTIC: usize = 34;
    /// Choose source addresses only from the outgoing link.
    pub const USE_OIF_ADDRS_ONLY: usize = 37;
    /// Skip routes whose link has no carrier.
    pub const IGNORE_ROUTES_WITH_LINKDOWN: usize = 39;
    /// Drop unicast IP in link-layer multicast.
    pub const DROP_UNICAST_IN_L2_MULTICAST: usize = 40;
    /// Keep static addresses when the link goes down.
    pub const KEEP_ADDR_ON_DOWN: usize = 42;
    /// Process segment routing headers.
    pub const SEG6_ENABLED: usize = 44;
    /// Demand HMAC in segment routing headers: -1, 0 or 1.
    pub const SEG6_REQUIRE_HMAC: usize = 45;
    /// How link-local addresses are made.
    pub const ADDR_GEN_MODE: usize = 47;
    /// No IPsec policy on this link.
    pub const DISABLE_POLICY: usize = 48;
    /// Traffic class of neighbour discovery.
    pub const NDISC_TCLASS: usize = 50;
    /// Process RPL source routing headers.
    pub const RPL_SEG_ENABLED: usize = 51;
    /// Process IOAM options.
    pub const IOAM6_ENABLED: usize = 53;
    /// IOAM identifier of the link.
    pub const IOAM6_ID: usize = 54;
    /// Its wide form.
    pub const IOAM6_ID_WIDE: usize = 55;
    /// Forget neighbours when the carrier goes.
    pub const NDISC_EVICT_NOCARRIER: usize = 56;
    /// Forward even though `forwarding` of all is off (Linux 6.17).
    pub const FORCE_FORWARDING: usize = 59;
}
