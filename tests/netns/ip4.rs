//! What IPv4 alone has, or has otherwise: recorded and given routes, cutting on the way, directed broadcasts, redirects
//! that a host follows. Each is done over the kernel and over warren, and must look the same from the hosts.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use warren::cli::demo::net::{A, B, Net};
use warren::control::netlink::Family;
use warren::sys::netns::Namespace;

use crate::net::{Lab, attempt, counters, run};

/// Somebody on the link of a besides the router; nobody answers there.
const OTHER: &str = "192.0.2.77";
/// Where that one leads to, by the router's routes.
const BEHIND: &str = "203.0.113.9";

/// What `look` sees over the kernel; it must see the same over warren. `prepare` makes the network ready for both.
#[track_caller]
fn over_both<T: PartialEq + std::fmt::Debug>(
    tag: &str,
    prepare: impl Fn(&Net),
    look: impl Fn(&Lab) -> T,
) -> T {
    let [kernel, warren] = [false, true].map(|by_warren| {
        let mut lab = Lab::kernel(tag);
        prepare(&lab.net);
        if by_warren {
            lab.start(&warren::cli::demo::net::ROUTER_LINKS);
        }
        look(&lab)
    });
    assert_eq!(warren, kernel, "over warren and over the kernel");
    kernel
}

/// Has warren, where it is the router, keep the account of [`Lab::forwards`].
#[track_caller]
fn accounted<T>(lab: &Lab, hosts: &[(&Namespace, &str)], body: impl FnOnce() -> T) -> T {
    if lab.warren_counters().is_some() { lab.forwards(hosts, body) } else { body() }
}

fn sysctls(space: &Namespace, values: &[(&str, &str)]) {
    for (name, value) in values {
        space.sysctl_write(&format!("net.ipv4.{name}"), value).unwrap();
    }
}

fn nothing(_: &Net) {}

#[test]
fn the_record_of_a_route_names_the_router() {
    let recorded = over_both("record", nothing, |lab| {
        let (a, b) = (&lab.net.a, &lab.net.b);
        let ping = || run(a, &format!("ping -n -R -c 2 -i 0.05 {}", B.host(Family::V4)));
        let text = accounted(lab, &[(b, "IcmpInEchos"), (a, "IcmpInEchoReps")], ping);
        assert!(text.contains("(same route)"), "{text}");
        let list = text.lines().filter(|line| line.starts_with("RR:") || line.starts_with('\t'));
        list.map(|line| line.trim_start_matches("RR:").trim().to_owned()).collect::<Vec<_>>()
    });
    let [a, b] = [A, B].map(|side| (side.host(Family::V4).to_string(), side.router(Family::V4).to_string()));
    assert_eq!(recorded, [&a.0, &b.1, &b.0, &b.0, &a.1, &a.0].map(String::clone));
}

/// The hops that traceroute finds on a way that it gives by `gateway`, to an address of b that only b knows.
fn traced(lab: &Lab, gateway: &str) -> Vec<String> {
    let text = run(&lab.net.a, &format!("traceroute -n -q 1 -w 1 -m 3 -g {gateway} {BEHIND}"));
    let hop = |line: &str| line.split_whitespace().nth(1).unwrap().to_owned();
    text.lines().skip(1).map(hop).collect()
}

fn far_address(net: &Net) {
    run(&net.b, &format!("ip address add {BEHIND}/32 dev lo"));
    run(&net.router, &format!("ip route add {BEHIND}/32 via {}", B.host(Family::V4)));
}

#[test]
fn traceroute_by_given_gateways_goes_where_source_routes_are_accepted() {
    let accept = |net: &Net| {
        far_address(net);
        for (space, links) in [(&net.a, &["eth0"][..]), (&net.b, &["eth0"]), (&net.router, &["to-a", "to-b"])]
        {
            for link in ["all"].iter().chain(links) {
                sysctls(space, &[(&format!("conf.{link}.accept_source_route"), "1")]);
            }
        }
    };
    // A gateway that is not the router: its packets pass it with the option.
    let (router, b) = (A.router(Family::V4).to_string(), B.host(Family::V4).to_string());
    let by_b = over_both("given-b", accept, |lab| {
        let hosts = [(&lab.net.b, "UdpNoPorts"), (&lab.net.b, "IcmpOutDestUnreachs")];
        accounted(lab, &hosts, || traced(lab, &b))
    });
    // The router's error quotes a packet for b, and the socket that it is for is another's.
    assert_eq!(by_b, ["*", BEHIND]);
    // The router itself: what is for its own address it leaves to its kernel, options and all.
    let by_router = over_both("given-r", accept, |lab| traced(lab, &router));
    assert_eq!(by_router.last().map(String::as_str), Some(BEHIND), "{by_router:?}");
}

#[test]
fn traceroute_by_given_gateways_ends_where_they_are_not_accepted() {
    let b = B.host(Family::V4).to_string();
    let refused = over_both("given-no", far_address, |lab| traced(lab, &b));
    assert_eq!(refused, ["*"; 3]);
}

/// 60,000 bytes to b and back: a cuts them for its link, the router for the narrower one behind it.
#[test]
fn a_datagram_of_60000_bytes_is_cut_and_comes_back() {
    const SIZE: usize = 60_000;
    let narrow = |net: &Net| {
        run(&net.router, "ip link set to-b mtu 1280");
        run(&net.b, "ip link set eth0 mtu 1280");
        // Datagrams may be cut on their way.
        [&net.a, &net.b].into_iter().for_each(|host| sysctls(host, &[("ip_no_pmtu_disc", "1")]));
    };
    let look = |lab: &Lab| {
        let (a, b) = (&lab.net.a, &lab.net.b);
        let open = |space: &Namespace, side: warren::cli::demo::net::Side| {
            let socket =
                space.enter(|| UdpSocket::bind(SocketAddr::new(side.host(Family::V4), 7))).unwrap().unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket
        };
        let (near, far) = (open(a, A), open(b, B));
        // Who is where is known before, or a neighbour would be asked for while pieces wait and are too many.
        run(a, &format!("ping -n -c 1 -W 3 {}", B.host(Family::V4)));
        let pieces = || [a, b].map(|host| counters(host)["IpReasmReqds"]);
        let before = pieces();
        let sent: Vec<u8> = (0..SIZE).map(|n| (n % 251) as u8).collect();
        let mut got = vec![0; SIZE + 1];
        near.send_to(&sent, far.local_addr().unwrap()).unwrap();
        let (len, from) = far.recv_from(&mut got).expect("b hears all of it");
        far.send_to(&got[..len], from).unwrap();
        let len = near.recv(&mut got).expect("a hears all of it");
        assert!(got[..len] == sent[..], "{len} bytes came back");
        let now = pieces();
        [0, 1].map(|host| now[host] - before[host])
    };
    let [back, there] = over_both("echo", narrow, look);
    // 1256 of 1280 bytes carry the datagram with its header; what a cuts to 1480 makes two pieces each.
    assert_eq!((back, there), (60_008_u64.div_ceil(1256), 2 * (60_008 / 1480) + 1));
}

#[test]
fn a_ping_to_all_of_b_arrives_where_broadcasts_are_forwarded() {
    let all = Ipv4Addr::new(198, 51, 100, 255);
    for (tag, wanted) in [("all-yes", true), ("all-no", false)] {
        let allow = |net: &Net| {
            sysctls(&net.b, &[("icmp_echo_ignore_broadcasts", "0")]);
            let value = if wanted { "1" } else { "0" };
            let names = ["conf.all.bc_forwarding", "conf.to-a.bc_forwarding"];
            sysctls(&net.router, &names.map(|name| (name, value)));
        };
        let look = |lab: &Lab| {
            let (_, text) = attempt(&lab.net.a, &format!("ping -n -b -c 3 -i 0.05 -W 1 {all}"));
            let received = text
                .lines()
                .find(|line| line.contains("received"))
                .map(|line| line.split(", ").take(2).map(str::to_owned).collect::<Vec<_>>());
            let from = text.lines().filter(|line| line.contains("bytes from"));
            let from = from.filter_map(|line| line.split_whitespace().nth(3).map(str::to_owned));
            (received, from.collect::<Vec<_>>(), counters(&lab.net.b)["IpExtInBcastPkts"])
        };
        let (received, from, heard) = over_both(tag, allow, look);
        let b = format!("{}:", B.host(Family::V4));
        let count = if wanted { 3 } else { 0 };
        assert_eq!(received.unwrap(), ["3 packets transmitted".to_owned(), format!("{count} received")]);
        assert_eq!((from, heard), (vec![b; count], count as u64));
    }
}

#[test]
fn a_host_follows_a_redirect() {
    let detour = |net: &Net| {
        for (space, link) in [(&net.a, "eth0"), (&net.router, "to-a")] {
            run(
                space,
                &format!("ip neighbour add {OTHER} lladdr 02:00:00:00:00:77 dev {link} nud permanent"),
            );
        }
        run(&net.router, &format!("ip route add {BEHIND}/32 via {OTHER}"));
        for link in ["all", "eth0"] {
            sysctls(&net.a, &[(&format!("conf.{link}.accept_redirects"), "1")]);
        }
    };
    let gateway = |lab: &Lab| {
        let text = run(&lab.net.a, &format!("ip route get {BEHIND}"));
        text.split_whitespace().skip_while(|word| *word != "via").nth(1).unwrap().to_owned()
    };
    let look = |lab: &Lab| {
        let before = gateway(lab);
        let (answered, text) = attempt(&lab.net.a, &format!("ping -n -c 1 -W 1 {BEHIND}"));
        assert!(!answered, "nobody is there: {text}");
        let told = text.lines().find(|line| line.contains("Redirect Host")).map(str::to_owned);
        (before, told, gateway(lab))
    };
    let (before, told, after) = over_both("redirect", detour, look);
    assert_eq!((before, after), (A.router(Family::V4).to_string(), OTHER.to_owned()), "{told:?}");
    assert!(told.unwrap().contains(&format!("New nexthop: {OTHER}")));
}
