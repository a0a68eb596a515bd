//! A kernel namespace to compare with, and both sides' state in the same words. Needs root.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use warren::control::netlink::{RouteKind, RouteMsg, Socket};
use warren::scenario::{Loaded, Scenario};
use warren::sys::netns::Namespace;
use warren_fib::{Hops, Ip, Route};

/// A router in a namespace of its own.
pub(crate) struct Kernel {
    pub(crate) ns: Namespace,
    pub(crate) socket: Socket,
}

impl Kernel {
    /// A router with `links` veth pairs p0, p1... whose other ends keep silent, as a scenario names them by default.
    pub(crate) fn new(test: &str, links: u32, sysctls: &[(&str, &str)]) -> Kernel {
        assert!(rustix::process::geteuid().is_root(), "test {test} needs root, for network namespaces");
        let ns = Namespace::create(&format!("warren-t-sc-{test}-{}", std::process::id())).unwrap();
        let socket = ns.enter(Socket::open).unwrap().unwrap();
        let mut kernel = Kernel { ns, socket };
        kernel.ns.sysctl_write("net.ipv6.conf.default.accept_dad", "0").unwrap();
        kernel.ip("link set lo up");
        for i in 0..links {
            let index = i + 2;
            let peer = index + 100;
            kernel.ip(&format!(
                "link add p{i} index {index} address 02:00:00:00:00:{index:02x} type veth peer name q{i} index {peer}"
            ));
            kernel.ns.sysctl_write(&format!("net.ipv6.conf.q{i}.disable_ipv6"), "1").unwrap();
            kernel.ns.sysctl_write(&format!("net.ipv6.conf.p{i}.router_solicitations"), "0").unwrap();
        }
        kernel.ns.sysctl_write("net.ipv4.ip_forward", "1").unwrap();
        kernel.ns.sysctl_write("net.ipv6.conf.all.forwarding", "1").unwrap();
        for (name, value) in sysctls {
            kernel.ns.sysctl_write(name, value).unwrap();
        }
        for i in 0..links {
            kernel.ip(&format!("link set q{i} up"));
            kernel.ip(&format!("link set p{i} up"));
        }
        kernel.settle(links);
        kernel
    }

    /// Waits until the link watch has seen the carrier of each link.
    fn settle(&mut self, links: u32) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !(0..links).all(|i| self.socket.link(&format!("p{i}")).unwrap().operstate == 6) {
            assert!(Instant::now() < deadline, "the links do not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn ip(&self, arguments: &str) -> String {
        let out = self.ns.output(Command::new("ip").args(arguments.split(' '))).unwrap();
        assert!(out.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    pub(crate) fn routes(&mut self) -> Vec<String> {
        let mut routes = Vec::new();
        self.socket.routes(None, |route| routes.push(shown(&route))).unwrap();
        routes.sort();
        routes
    }

    /// Demands the same routes. A kernel worker adds those of new addresses a little later, so it may take a moment.
    #[track_caller]
    pub(crate) fn same_routes(&mut self, test: &str, loaded: &Loaded) {
        let ours = routes_of(loaded);
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.routes() != ours && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(ours, self.routes(), "{test}: routes (ours left)");
    }

    pub(crate) fn groups(&self, dev: &str) -> Vec<String> {
        let text = self.ip(&format!("maddr show dev {dev}"));
        let group = |line: &str| {
            let mut words = line.split_whitespace();
            matches!(words.next(), Some("inet" | "inet6")).then(|| words.next().unwrap().to_owned())
        };
        let mut groups: Vec<_> = text.lines().filter_map(group).collect();
        groups.sort();
        groups
    }

    pub(crate) fn addresses(&mut self, index: u32) -> Vec<String> {
        let all = self.socket.addresses().unwrap();
        all.iter().filter(|a| a.index == index).map(|a| a.prefix.to_string()).collect()
    }
}

/// A kernel's route in the words that [`Loaded`] ones are put in.
fn shown(route: &RouteMsg) -> String {
    let kind = format!("{:?}", route.kind);
    let prefsrc = route.prefsrc.map(|a| a.to_string()).unwrap_or_default();
    let scope = if route.dst.addr().is_ipv6() { 0 } else { route.scope };
    let legs: Vec<_> = route
        .legs
        .iter()
        .map(|leg| format!("{:?}/{:?}/{}", leg.link.unwrap(), leg.gateway, leg.weight))
        .collect();
    let legs = if route.kind == RouteKind::Unreachable { vec![] } else { legs };
    format!(
        "{} {kind} table {} metric {} scope {scope} src {prefsrc} via {legs:?}",
        route.dst.trunc(),
        route.table,
        route.priority
    )
}

fn loaded_route<A: Ip>(route: &Route<A>) -> String {
    let legs: Vec<_> = match &route.hops {
        Hops::List(hops) => hops.iter().map(|h| format!("{:?}/{:?}/{}", h.oif, h.via, h.weight)).collect(),
        Hops::None | Hops::Object(_) => vec![],
    };
    format!(
        "{} {:?} table {} metric {} scope {} src {} via {legs:?}",
        route.dst,
        route.kind,
        route.table,
        route.metric,
        route.scope,
        route.prefsrc.map(|a| a.to_string()).unwrap_or_default()
    )
}

pub(crate) fn load(text: &str) -> Loaded {
    let path = Path::new("scenario.toml");
    let scenario = Scenario::parse(text, path).unwrap();
    scenario.load(path, 1, 0).unwrap_or_else(|e| panic!("{e}"))
}

pub(crate) fn routes_of(loaded: &Loaded) -> Vec<String> {
    let mut routes: Vec<_> = loaded.writer.routes().map(|r| loaded_route::<std::net::Ipv4Addr>(&r)).collect();
    routes.extend(loaded.writer.routes().map(|r| loaded_route::<std::net::Ipv6Addr>(&r)));
    routes.sort();
    routes
}

pub(crate) fn groups_of(loaded: &Loaded, dev: &str) -> Vec<String> {
    let state = loaded.shared.state.load();
    let link = state.ifaces.by_name(dev).unwrap();
    let mut groups: Vec<_> = link.groups4.iter().map(ToString::to_string).collect();
    groups.extend(link.groups6.iter().map(ToString::to_string));
    groups.sort();
    groups
}

pub(crate) fn addresses_of(loaded: &Loaded, index: u32) -> Vec<String> {
    let state = loaded.shared.state.load();
    let link = state.ifaces.get(index).unwrap();
    let mut all: Vec<_> = link.addrs4.iter().map(|a| format!("{}/{}", a.addr, a.prefix_len)).collect();
    all.extend(link.addrs6.iter().map(|a| format!("{}/{}", a.addr, a.prefix_len)));
    all
}
