//! Everything that the kernel does to routes, addresses, next hops, rules and neighbours, much of it in silence.

use crate::lab::{Lab, inside, ip_output};

#[test]
fn links_go_down_and_up() {
    inside("links", || {
        Lab::new().steps(
            "
            route add 192.0.2.0/24 via 10.0.1.2
            route add 198.51.100.0/24 nexthop via 10.0.1.2 nexthop via 10.0.2.2 weight 3
            route add 203.0.113.0/24 nexthop via 10.0.1.2 nexthop via 10.0.1.3
            route add blackhole 192.0.2.128/25
            route add 192.0.2.64/26 dev v1 table 77
            -6 route add 2001:db8:a::/48 via 2001:db8:1::2
            -6 route add 2001:db8:b::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::2
            -6 route add 2001:db8:c::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:1::3
            -6 route add 2001:db8:d::/48 dev v1
            link set v1 down
            link set v1 up
            route add 192.0.2.0/24 via 10.0.1.2
            -6 route add 2001:db8:a::/48 via fe80::2 dev v1
            link set w1 down
            link set w1 up
            sysctl net.ipv6.conf.v2.keep_addr_on_down=1
            link set v2 down
            link set v2 up
            sysctl net.ipv6.route.skip_notify_on_dev_down=1
            -6 route add 2001:db8:e::/48 dev v2
            -6 route append 2001:db8:e::/48 via fe80::7 dev v2
            link set v2 down
            link set v2 up
            link set v1 down
            link set v2 down
            link set v1 up
            link set v2 up
            sysctl net.ipv6.route.skip_notify_on_dev_down=0
            sysctl net.ipv6.conf.v3.disable_ipv6=1
            sysctl net.ipv6.conf.v3.disable_ipv6=0
            link set v2 name renamed
            link del renamed
            link add d0 type veth peer name e0
            link set d0 up
            link del d0
            ",
        );
    });
}

#[test]
fn addresses_come_and_go() {
    inside("addresses", || {
        Lab::new().steps(
            "
            route add 192.0.2.0/24 via 10.0.1.2
            route add 203.0.113.0/24 dev v1
            route add local 203.0.113.9/32 dev v1
            route add 198.51.100.0/24 dev v2 src 10.0.1.1
            route add 198.51.100.0/25 nexthop via 10.0.1.2 nexthop via 10.0.2.2
            address add 10.0.1.2/24 dev v1
            address add 10.0.1.3/24 dev v1
            address add 10.9.1.1/16 scope link dev v1
            address add 10.8.1.1/16 dev v1
            address add 10.7.1.1 peer 10.7.1.2/32 dev v1
            address del 10.0.1.2/24 dev v1
            address add 10.0.1.2/24 dev v1
            address del 10.0.1.1/24 dev v1
            address add 10.0.1.1/24 dev v1
            sysctl net.ipv4.conf.v1.promote_secondaries=1
            address add 10.0.1.2/24 dev v1
            address add 10.0.1.3/24 dev v1
            address del 10.0.1.1/24 dev v1
            address del 10.0.1.3/24 dev v1
            address add 10.0.1.1/24 broadcast 10.0.1.255 dev v1
            address flush dev v1
            address add 10.0.1.1/24 broadcast 10.0.1.255 dev v1
            route add 192.0.2.0/24 via 10.0.1.2
            address del 10.0.1.1/24 dev v1
            address add 10.0.1.1/24 dev v3
            -6 address add 2001:db8:1::2/64 nodad dev v1
            -6 address add 2001:db8:1::3/64 nodad preferred_lft 0 dev v1
            -6 route add 2001:db8:a::/48 dev v1 src 2001:db8:1::2
            -6 route add 2001:db8:b::/48 dev v2 src 2001:db8:1::2
            -6 route add 2001:db8:b::/48 dev v2 src 2001:db8:1::2 table 100
            -6 address add 2001:db8:1::2/64 nodad dev v2
            -6 address del 2001:db8:1::2/64 dev v1
            -6 address del 2001:db8:1::2/64 dev v2
            -6 address add fe80::99/64 nodad dev v1
            -6 address add fe80::99/64 nodad dev v2
            -6 route add 2001:db8:c::/48 dev v1 src fe80::99
            -6 route add 2001:db8:d::/48 dev v2 src fe80::99
            -6 address del fe80::99/64 dev v2
            -6 address del fe80::99/64 dev v1
            -6 address add 2001:db8:1::1/64 nodad dev v1
            -6 address del 2001:db8:1::1/64 dev v1
            -6 address add fe80::77/64 nodad dev v1
            -6 address flush dev v1
            ",
        );
    });
}

#[test]
fn ipv4_aliases_keep_the_kernels_order() {
    inside("aliases4", || {
        Lab::new().steps(
            "
            route add 192.0.2.0/24 via 10.0.1.2
            route append 192.0.2.0/24 via 10.0.1.3
            route prepend 192.0.2.0/24 via 10.0.1.4
            route replace 192.0.2.0/24 via 10.0.1.5
            route add 192.0.2.0/24 via 10.0.1.6 metric 10
            route add 192.0.2.0/24 via 10.0.1.7 tos 0x10
            route append 192.0.2.0/24 via 10.0.1.8 metric 10
            route replace 192.0.2.0/24 nexthop via 10.0.1.2 nexthop via 10.0.2.2 weight 7
            route change 192.0.2.0/24 via 10.0.1.9 mtu 1400
            route change 192.0.2.0/24 via 10.0.1.9 mtu lock 1300
            route add 192.0.2.0/24 via 10.0.1.2 table 100
            route add unreachable 192.0.2.0/24 metric 99
            route add prohibit 198.51.100.0/24
            route add throw 198.51.100.0/24 table 100
            route add 203.0.113.0/24 via inet6 2001:db8:1::2 dev v1
            route add 203.0.113.0/25 via 172.16.0.1 dev v1 onlink
            route add 203.0.113.128/25 encap ip id 5 dst 10.0.1.9 via 10.0.1.2 dev v1
            route del 203.0.113.128/25
            route del 192.0.2.0/24
            route del 192.0.2.0/24 metric 10
            route del 192.0.2.0/24 via 10.0.1.3
            route del 192.0.2.0/24
            route replace 192.0.2.0/24 via 10.0.2.9
            route del 192.0.2.0/24 tos 0x10
            route flush table 100
            route flush root 192.0.0.0/8
            ",
        );
    });
}

#[test]
fn ipv6_legs_come_and_go() {
    inside("legs6", || {
        Lab::new().steps(
            "
            -6 route add 2001:db8:a::/48 via 2001:db8:1::2
            -6 route append 2001:db8:a::/48 via 2001:db8:2::2
            -6 route append 2001:db8:a::/48 nexthop via 2001:db8:1::3 nexthop via 2001:db8:1::4 weight 4
            -6 route del 2001:db8:a::/48 via 2001:db8:2::2
            -6 route del 2001:db8:a::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:1::3
            -6 route append 2001:db8:a::/48 dev v2
            -6 route append 2001:db8:a::/48 via 2001:db8:3::2
            -6 route replace 2001:db8:a::/48 via 2001:db8:1::7
            -6 route replace 2001:db8:a::/48 nexthop via 2001:db8:1::8 nexthop via 2001:db8:2::8 weight 9
            -6 route change 2001:db8:a::/48 via 2001:db8:1::9
            -6 route add 2001:db8:a::/48 via 2001:db8:1::2 metric 5
            -6 route append 2001:db8:a::/48 dev v1 metric 5
            -6 route add 2001:db8:b::/48 from 2001:db8:77::/48 via 2001:db8:1::2
            -6 route add 2001:db8:b::/48 from 2001:db8:77:7::/64 via 2001:db8:1::2
            -6 route add 2001:db8:b::/48 via 2001:db8:2::2
            -6 route add 2001:db8:b:1::/64 via 2001:db8:2::2
            -6 route del 2001:db8:b::/48 from 2001:db8:77::/48
            -6 route add default via 2001:db8:1::2 pref high
            -6 route add default via 2001:db8:2::2 metric 2000 expires 500
            -6 route add blackhole 2001:db8:d::/48
            -6 route add unreachable 2001:db8:e::/48 table 100
            -6 route add prohibit 2001:db8:f::/48
            -6 route add 2001:db8:c::/48 via 2001:db8:1::2 mtu 1400 hoplimit 9
            -6 route add 2001:db8:c:1::/64 via 2001:db8:1::2 mtu 1500
            -6 route add 2001:db8:c:2::/64 via 2001:db8:1::2 mtu lock 1500
            link set v1 mtu 1450
            link set v1 mtu 1500
            -6 route del 2001:db8:a::/48 metric 5
            -6 route del 2001:db8:a::/48
            -6 route flush table 100
            link set v1 mtu 1200
            link set v1 mtu 1500
            ",
        );
    });
}

#[test]
fn nexthop_objects_shrink_and_vanish_in_silence() {
    for compat in ["1", "0"] {
        inside(&format!("nexthops{compat}"), || {
            let mut lab = Lab::new();
            lab.steps(&format!("sysctl net.ipv4.nexthop_compat_mode={compat}"));
            lab.steps(
                "
                nexthop add id 1 via 10.0.1.2 dev v1
                nexthop add id 2 via 10.0.2.2 dev v2
                nexthop add id 3 via 10.0.3.2 dev v3
                nexthop add id 4 blackhole
                nexthop add id 11 via 2001:db8:1::2 dev v1
                nexthop add id 12 via 2001:db8:2::2 dev v2
                -6 nexthop add id 14 blackhole
                nexthop add id 100 group 1/2,3
                nexthop add id 101 group 3
                nexthop add id 111 group 11/12
                route add 192.0.2.0/25 nhid 1
                route add 192.0.2.128/25 nhid 100
                route add 198.51.100.0/24 nhid 4
                route add 203.0.113.0/24 nhid 101
                -6 route add 2001:db8:a::/48 nhid 11
                -6 route add 2001:db8:b::/48 nhid 111
                -6 route add 2001:db8:c::/48 nhid 14
                nexthop replace id 1 via 10.0.1.3 dev v1
                nexthop replace id 100 group 1,200/2,100/3
                nexthop replace id 4 via 10.0.2.9 dev v2
                nexthop del id 3
                link set w1 down
                link set w1 up
                nexthop add id 1 via 10.0.1.2 dev v1
                nexthop replace id 100 group 1/2
                route replace 192.0.2.0/25 nhid 1
                nexthop del id 100
                link set v2 down
                link set v2 up
                nexthop add id 5 via 10.0.1.5 dev v1
                nexthop add id 6 via 10.0.3.6 dev v3
                nexthop add id 200 group 5/6 type resilient buckets 16 idle_timer 0
                route add 203.0.113.0/25 nhid 200
                nexthop replace id 200 group 5,3/6 type resilient
                nexthop del id 5
                nexthop add id 7 encap ip id 5 dst 10.0.1.9 via 10.0.1.2 dev v1
                route add 203.0.113.128/25 nhid 7
                link del v3
                nexthop flush
                ",
            );
        });
    }
}

#[test]
fn rules_and_tables() {
    inside("rules", || {
        let mut lab = Lab::new();
        lab.steps(
            "
            rule add pref 100 from 10.66.0.0/16 table 100
            rule add pref 100 to 10.67.0.0/16 lookup 70000
            rule add pref 99 iif v1 table 101
            rule add pref 98 iif none-such table 101
            rule add pref 90 goto 100
            rule add pref 89 not from 10.0.0.0/8 fwmark 0x7/0xf table 102
            rule add pref 88 ipproto udp dport 53-60 sport 7 table 103
            rule add pref 87 tos 0x10 blackhole
            rule add pref 86 from all lookup main suppress_prefixlength 0
            rule add pref 85 oif v2 prohibit
            -6 rule add pref 100 from 2001:db8:66::/48 table 100
            -6 rule add pref 90 iif v2 unreachable
            link set v1 name v9
            link set v9 name v1
            link add d0 type veth peer name e0
            rule add pref 77 iif d0 table 100
            link del d0
            link add d0 type veth peer name e0
            rule del pref 100
            rule del pref 86
            -6 rule flush
            -6 rule add pref 32766 table main
            rule del pref 32767
            ",
        );
        assert_eq!(lab.mirror.refusals(), []);
        lab.steps("-6 rule add pref 50 dport 5-9 suppress_ifgroup 3 table main");
        let [refusal] = &lab.mirror.refusals()[..] else { panic!("one family is refused") };
        assert!(refusal.reason.contains("suppress_ifgroup"), "{}", refusal.reason);
        lab.steps("-6 rule del pref 50");
        assert_eq!(lab.mirror.refusals(), []);
    });
}

#[test]
fn forwarding_makes_anycast_addresses() {
    inside("anycast", || {
        Lab::new().steps(
            "
            sysctl net.ipv6.conf.v1.forwarding=0
            sysctl net.ipv6.conf.v1.forwarding=1
            sysctl net.ipv6.conf.all.forwarding=0
            sysctl net.ipv6.conf.all.forwarding=1
            sysctl net.ipv4.conf.v1.ignore_routes_with_linkdown=1
            sysctl net.ipv4.ip_forward=0
            ",
        );
    });
}

#[test]
fn neighbours_follow() {
    inside("neighbours", || {
        let mut lab = Lab::new();
        lab.steps(
            "
            neigh add 10.0.1.2 lladdr 02:00:00:00:00:02 dev v1 nud permanent
            neigh add 10.0.1.3 lladdr 02:00:00:00:00:03 dev v1 nud reachable
            neigh add 10.0.1.4 lladdr 02:00:00:00:00:04 dev v1 nud stale
            neigh add 2001:db8:1::2 lladdr 02:00:00:00:00:02 dev v1 nud permanent
            neigh add 2001:db8:2::2 lladdr 02:00:00:00:00:02 dev v2 nud noarp
            neigh change 10.0.1.3 lladdr 02:00:00:00:00:33 dev v1 nud permanent
            neigh change 10.0.1.4 dev v1 nud failed
            neigh add proxy 10.0.1.77 dev v1
            neigh add proxy 2001:db8:1::77 dev v1
            neigh del 10.0.1.2 dev v1
            link set w1 down
            link set w1 up
            neigh add 10.0.2.2 lladdr 02:00:00:00:00:02 dev v2 nud permanent
            link set v2 down
            ",
        );
        assert!(ip_output("neigh show 10.0.1.3").contains("PERMANENT"));
        assert!(lab.mirror.status().neighbours > 0);
    });
}
