//! What the kernel tells without being asked, and how it says no: sysctls, lost events, refusals. Needs root.
#![allow(clippy::unwrap_used)] // Helpers fail their test by panicking.

mod netlink_lab;

use std::net::IpAddr;

use netlink_lab::Lab;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use warren::control::netlink::*;
use warren::sys::netns::Namespace;

/// Writes `value` to a sysctl of p0 and returns at which positions its devconf array has changed.
fn changed(lab: &mut Lab, family: Family, sysctl: &str, value: &str) -> Vec<usize> {
    let dir = if family == Family::V4 { "ipv4" } else { "ipv6" };
    let row = |lab: &mut Lab| {
        let link = lab.socket.link("p0").unwrap();
        if family == Family::V4 { link.conf4 } else { link.conf6 }
    };
    let before = row(lab);
    lab.ns.sysctl_write(&format!("net.{dir}.conf.p0.{sysctl}"), value).unwrap();
    let after = row(lab);
    assert_eq!(before.len(), after.len());
    (0..after.len()).filter(|at| before[*at] != after[*at]).collect()
}

/// Each documented position is the one that moves when its sysctl is written.
#[test]
fn ipv4_sysctls_stand_where_documented() {
    use devconf::v4::*;
    let mut lab = Lab::new("conf4");
    let table = [
        ("forwarding", FORWARDING, "1"),
        ("proxy_arp", PROXY_ARP, "1"),
        ("accept_redirects", ACCEPT_REDIRECTS, "0"),
        ("secure_redirects", SECURE_REDIRECTS, "0"),
        ("send_redirects", SEND_REDIRECTS, "0"),
        ("shared_media", SHARED_MEDIA, "0"),
        ("rp_filter", RP_FILTER, "2"),
        ("accept_source_route", ACCEPT_SOURCE_ROUTE, "1"),
        ("bootp_relay", BOOTP_RELAY, "1"),
        ("log_martians", LOG_MARTIANS, "1"),
        ("tag", TAG, "5"),
        ("arp_filter", ARP_FILTER, "1"),
        ("medium_id", MEDIUM_ID, "-1"),
        ("disable_xfrm", DISABLE_XFRM, "1"),
        ("disable_policy", DISABLE_POLICY, "1"),
        ("arp_announce", ARP_ANNOUNCE, "1"),
        ("arp_ignore", ARP_IGNORE, "1"),
        ("promote_secondaries", PROMOTE_SECONDARIES, "1"),
        ("accept_local", ACCEPT_LOCAL, "1"),
        ("src_valid_mark", SRC_VALID_MARK, "1"),
        ("route_localnet", ROUTE_LOCALNET, "1"),
        ("ignore_routes_with_linkdown", IGNORE_ROUTES_WITH_LINKDOWN, "1"),
        ("drop_unicast_in_l2_multicast", DROP_UNICAST_IN_L2_MULTICAST, "1"),
        ("bc_forwarding", BC_FORWARDING, "1"),
        ("arp_evict_nocarrier", ARP_EVICT_NOCARRIER, "0"),
    ];
    for (sysctl, position, value) in table {
        // What the administrator set already shows no change: write another value first.
        let path = format!("net.ipv4.conf.p0.{sysctl}");
        if lab.ns.sysctl_read(&path).unwrap() == value {
            lab.ns.sysctl_write(&path, if value == "0" { "1" } else { "0" }).unwrap();
        }
        assert_eq!(changed(&mut lab, Family::V4, sysctl, value), [position], "{sysctl}");
    }
}

#[test]
fn ipv6_sysctls_stand_where_documented() {
    use devconf::v6::*;
    let mut lab = Lab::new("conf6");
    let table = [
        ("hop_limit", HOP_LIMIT, "33"),
        ("mtu", MTU, "1300"),
        ("accept_ra", ACCEPT_RA, "2"),
        ("accept_redirects", ACCEPT_REDIRECTS, "0"),
        ("proxy_ndp", PROXY_NDP, "1"),
        ("accept_source_route", ACCEPT_SOURCE_ROUTE, "-1"),
        ("use_oif_addrs_only", USE_OIF_ADDRS_ONLY, "1"),
        ("ignore_routes_with_linkdown", IGNORE_ROUTES_WITH_LINKDOWN, "1"),
        ("drop_unicast_in_l2_multicast", DROP_UNICAST_IN_L2_MULTICAST, "1"),
        ("keep_addr_on_down", KEEP_ADDR_ON_DOWN, "1"),
        ("seg6_enabled", SEG6_ENABLED, "1"),
        ("seg6_require_hmac", SEG6_REQUIRE_HMAC, "1"),
        ("disable_policy", DISABLE_POLICY, "1"),
        ("ndisc_tclass", NDISC_TCLASS, "8"),
        ("rpl_seg_enabled", RPL_SEG_ENABLED, "1"),
        ("ioam6_enabled", IOAM6_ENABLED, "1"),
        ("ioam6_id", IOAM6_ID, "7"),
        ("ioam6_id_wide", IOAM6_ID_WIDE, "9"),
        ("ndisc_evict_nocarrier", NDISC_EVICT_NOCARRIER, "0"),
        ("router_solicitations", ROUTER_SOLICITATIONS, "5"),
        ("router_probe_interval", ROUTER_PROBE_INTERVAL, "7"),
        ("use_tempaddr", USE_TEMPADDR, "2"),
        ("use_optimistic", USE_OPTIMISTIC, "1"),
        ("accept_dad", ACCEPT_DAD, "2"),
        ("addr_gen_mode", ADDR_GEN_MODE, "1"),
        ("forwarding", FORWARDING, "1"),
        ("disable_ipv6", DISABLE_IPV6, "1"),
    ];
    let exists = |lab: &Lab, sysctl: &str| lab.ns.sysctl_read(&format!("net.ipv6.conf.p0.{sysctl}")).is_ok();
    // Linux 6.17 and later; before that the array ends first.
    let force = exists(&lab, "force_forwarding").then_some(("force_forwarding", FORCE_FORWARDING, "1"));
    if force.is_none() {
        assert!(lab.socket.link("p0").unwrap().conf6.len() <= FORCE_FORWARDING);
    }
    for (sysctl, position, value) in force.into_iter().chain(table) {
        let path = format!("net.ipv6.conf.p0.{sysctl}");
        if lab.ns.sysctl_read(&path).unwrap() == value {
            lab.ns.sysctl_write(&path, if value == "0" { "1" } else { "0" }).unwrap();
        }
        assert_eq!(changed(&mut lab, Family::V6, sysctl, value), [position], "{sysctl}");
    }
}

#[test]
fn netconf_is_dumped_and_announced() {
    let mut lab = Lab::new("netconf");
    lab.forget();
    lab.ns.sysctl_write("net.ipv4.conf.p0.forwarding", "1").unwrap();
    lab.ns.sysctl_write("net.ipv4.conf.all.rp_filter", "2").unwrap();
    lab.ns.sysctl_write("net.ipv6.conf.p1.proxy_ndp", "1").unwrap();
    let told = |family, scope, pick: fn(&NetconfMsg) -> Option<i32>, value| {
        move |event: &Event| match event {
            Event::Netconf(n) => (n.family, n.scope, pick(n)) == (family, scope, Some(value)),
            _ => false,
        }
    };
    lab.expect("forwarding", told(Family::V4, Scope::Link(10), |n| n.forwarding, 1));
    lab.expect("rp_filter", told(Family::V4, Scope::All, |n| n.rp_filter, 2));
    lab.expect("proxy_ndp", told(Family::V6, Scope::Link(11), |n| n.proxy, 1));

    let dumped = lab.socket.netconf().unwrap();
    let of = |family, scope| *dumped.iter().find(|n| (n.family, n.scope) == (family, scope)).unwrap();
    assert_eq!(of(Family::V4, Scope::Link(10)).forwarding, Some(1));
    assert_eq!(of(Family::V4, Scope::All).rp_filter, Some(2));
    assert_eq!(of(Family::V4, Scope::Default).bc_forwarding, Some(0));
    assert_eq!(
        (of(Family::V6, Scope::Link(11)).proxy, of(Family::V6, Scope::Link(10)).proxy),
        (Some(1), Some(0))
    );

    lab.socket.delete_link(10).unwrap();
    lab.expect(
        "end",
        |e| matches!(e, Event::NetconfGone(n) if (n.family, n.scope) == (Family::V6, Scope::Link(10))),
    );
}

/// A buffer too small for a flood: the loss is reported once, and the listener goes on.
#[test]
fn lost_events_are_an_overrun() {
    let mut lab = Lab::new("overrun");
    let mut tiny = lab.ns.enter(|| Socket::open()?.subscribe_with_buffer(GROUPS, 4096)).unwrap().unwrap();
    for last in 1..=200u8 {
        let prefix = ipnet::IpNet::new(IpAddr::from([10, 1, last, 1]), 24).unwrap();
        lab.socket.add_address(&AddressMsg::new(10, prefix), Mode::Add).unwrap();
    }
    let mut events = Vec::new();
    let lost = std::iter::repeat_with(|| tiny.try_recv(&mut events)).find(|got| !matches!(got, Ok(true)));
    assert!(matches!(lost, Some(Err(Error::Overrun))), "{lost:?} after {} events", events.len());
    while tiny.try_recv(&mut events).unwrap() {}
    let neighbour =
        NeighbourMsg::new(10, IpAddr::from([10, 1, 1, 9]), Some([2; 6]), NeighbourState::Permanent);
    lab.socket.add_neighbour(&neighbour, Mode::Add).unwrap();
    while !events.contains(&Event::Neighbour(neighbour.clone())) {
        tiny.recv(&mut events).unwrap();
    }
    // With the usual buffer nothing is lost.
    lab.expect(
        "the last address",
        |e| matches!(e, Event::Address(a) if a.prefix.addr() == IpAddr::from([10, 1, 200, 1])),
    );
}

/// A listener to links only, which are at rest in a new lab.
fn links_of(lab: &Lab) -> Events {
    lab.ns.enter(|| Socket::open()?.subscribe(&[libc::RTNLGRP_LINK])).unwrap().unwrap()
}

#[test]
fn waiting_needs_no_spinning() {
    let mut lab = Lab::new("poll");
    let mut events = links_of(&lab);
    let ready = |events: &Events| {
        let mut descriptors = [PollFd::new(events, PollFlags::IN)];
        poll(&mut descriptors, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap()
    };
    let mut received = Vec::new();
    assert_eq!((ready(&events), events.try_recv(&mut received).unwrap()), (0, false));
    lab.socket.set_link(10, &LinkChange { mtu: Some(1400), ..LinkChange::default() }).unwrap();
    assert_eq!(ready(&events), 1);
    events.recv(&mut received).unwrap();
    assert!(matches!(&received[..], [Event::Link(link), ..] if link.mtu == 1400), "{received:#?}");
}

/// Another process's datagrams to our port are not the kernel's.
#[test]
fn only_the_kernel_is_believed() {
    let mut lab = Lab::new("forged");
    let mut events = links_of(&lab);
    let port = rustix::net::getsockname(&events).unwrap();
    let port = rustix::net::netlink::SocketAddrNetlink::try_from(port).unwrap().pid();
    let forge = || {
        // An RTM_DELLINK for p0, in the right form.
        let mut message = vec![32, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        message.extend([0, 0, 1, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE).unwrap();
        socket.send_to(&message, &netlink_sys::SocketAddr::new(port, 0), 0)
    };
    assert_eq!(lab.ns.enter(forge).unwrap().unwrap(), 32);
    lab.socket.set_link(10, &LinkChange { mtu: Some(1400), ..LinkChange::default() }).unwrap();
    let mut received = Vec::new();
    events.recv(&mut received).unwrap();
    assert!(matches!(&received[..], [Event::Link(link), ..] if link.mtu == 1400), "believed: {received:#?}");
}

#[test]
fn refusals_carry_the_request_and_the_kernels_words() {
    let mut lab = Lab::new("refuse");
    lab.socket.add_address(&AddressMsg::new(10, "10.0.1.1/24".parse().unwrap()), Mode::Add).unwrap();
    let route = |dst: &str, gateway: &str| {
        RouteMsg::new(
            dst.parse().unwrap(),
            RouteKind::Unicast,
            vec![Leg::via(gateway.parse().unwrap(), None)],
        )
    };
    let error = lab.socket.add_route(&route("10.0.0.0/8", "172.16.0.1"), Mode::Add).unwrap_err();
    assert_eq!(
        error.to_string(),
        "add route 10.0.0.0/8 via 172.16.0.1: Nexthop has invalid gateway (Network is unreachable (os error 101))"
    );
    assert!(error.is(libc::ENETUNREACH) && !error.is(libc::EEXIST));
    let error = lab.socket.delete_route(&route("10.9.0.0/16", "10.0.1.2")).unwrap_err();
    assert_eq!(error.to_string(), "delete route 10.9.0.0/16 via 10.0.1.2: No such process (os error 3)");
    let error = lab.socket.buckets(4711).unwrap_err();
    assert!(error.is(libc::ENOENT), "dumps report in their last message: {error}");
    assert!(matches!(lab.socket.link("absent"), Err(Error::NoLink(name)) if name == "absent"));
    // Too many legs for an attribute; and the socket works on after every refusal.
    let leg = Leg::via("10.0.1.2".parse().unwrap(), Some(10));
    let wide = RouteMsg::new("10.8.0.0/16".parse().unwrap(), RouteKind::Unicast, vec![leg; 5000]);
    assert!(matches!(lab.socket.add_route(&wide, Mode::Add), Err(Error::TooLong)));
    lab.socket.add_route(&route("10.7.0.0/16", "10.0.1.2"), Mode::Add).unwrap();
}

#[test]
fn a_socket_stays_in_its_namespace() {
    let mut lab = Lab::new("stay");
    let here = Namespace::current().unwrap();
    let names =
        here.enter(|| lab.socket.links().map(|links| links.into_iter().map(|l| l.name).collect::<Vec<_>>()));
    assert_eq!(names.unwrap().unwrap(), ["lo", "p0", "p1"]);
}
