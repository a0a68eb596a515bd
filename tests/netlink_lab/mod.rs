//! A namespace with a few links, sockets into it and a listener, for the netlink tests. Needs root.
#![allow(dead_code)] // Each test program uses its part.
#![allow(clippy::unwrap_used)] // A helper of tests fails them by panicking.

use std::fmt::Debug;
use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde_json::Value;
use warren::control::netlink::{
    AddressMsg, Encap, Event, Events, GROUPS, LinkChange, LinkKind, Mode, NewLink, RouteMsg, Socket,
};
use warren::sys::netns::Namespace;

pub(crate) struct Lab {
    pub(crate) socket: Socket,
    pub(crate) events: Events,
    pub(crate) seen: Vec<Event>,
    pub(crate) ns: Namespace,
}

/// An address.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A prefix.
pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// An IPv4 tunnel encapsulation (LWTUNNEL_ENCAP_IP) with id 0 to 10.0.1.9, as the kernel lists it.
pub(crate) fn tunnel() -> Encap {
    let mut data = vec![12, 0, 1, 0];
    data.extend([0; 8]); // LWTUNNEL_IP_ID
    data.extend([8, 0, 2, 0, 10, 0, 1, 9]); // LWTUNNEL_IP_DST
    data.extend([8, 0, 3, 0, 10, 0, 1, 1]); // LWTUNNEL_IP_SRC
    data.extend([5, 0, 5, 0, 0, 0, 0, 0]); // LWTUNNEL_IP_TOS
    data.extend([5, 0, 4, 0, 64, 0, 0, 0]); // LWTUNNEL_IP_TTL
    data.extend([6, 0, 6, 0, 0, 0, 0, 0]); // LWTUNNEL_IP_FLAGS
    Encap { kind: 2, data }
}

/// All routes, or those of a table.
pub(crate) fn all_routes(lab: &mut Lab, table: Option<u32>) -> Vec<RouteMsg> {
    let mut routes = Vec::new();
    lab.socket.routes(table, |route| routes.push(route)).unwrap();
    routes
}

/// A lab in which p0 is 10.0.1.1/24 and 2001:db8:1::1/64.
pub(crate) fn routing_lab(test: &str) -> Lab {
    let mut lab = Lab::new(test);
    for prefix in ["10.0.1.1/24", "2001:db8:1::1/64"] {
        lab.socket.add_address(&AddressMsg::new(10, net(prefix)), Mode::Add).unwrap();
    }
    lab
}

impl Lab {
    /// A fresh namespace in which `p0` (index 10) and `p1` (index 11) are a veth pair and up, as is lo.
    pub(crate) fn new(test: &str) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "test {test} needs root, for network namespaces; run: sudo -E cargo test"
        );
        let ns = Namespace::create(&format!("warren-t-nl-{test}-{}", std::process::id())).unwrap();
        let mut socket = ns.enter(Socket::open).unwrap().unwrap();
        let events = ns.enter(|| Socket::open()?.subscribe(GROUPS)).unwrap().unwrap();
        for link in ["default", "all"] {
            // No detection: addresses are there at once, and no event comes late.
            ns.sysctl_write(&format!("net.ipv6.conf.{link}.accept_dad"), "0").unwrap();
        }
        let peer = NewLink { index: Some(11), ..NewLink::new("p1", LinkKind::Dummy) };
        let pair = NewLink { index: Some(10), ..NewLink::new("p0", LinkKind::Veth(Box::new(peer))) };
        socket.add_link(&pair).unwrap();
        for index in [1, 10, 11] {
            socket.set_link(index, &LinkChange::UP).unwrap();
        }
        let mut lab = Self { socket, events, seen: Vec::new(), ns };
        for index in [10, 11] {
            // The kernel's link watch comes a little later; after this no link changes by itself.
            lab.expect(
                "a running link",
                |e| matches!(e, Event::Link(l) if l.index == index && l.operstate == 6),
            );
        }
        lab
    }

    /// Forgets the events so far.
    pub(crate) fn forget(&mut self) {
        while self.events.try_recv(&mut self.seen).unwrap() {}
        self.seen.clear();
    }

    /// Waits for an event since the last `forget`. Most come before the acknowledgement; what a kernel worker does comes later, and ten
    /// seconds are far more than it needs.
    #[track_caller]
    pub(crate) fn wait<T>(&mut self, what: impl Debug, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            while self.events.try_recv(&mut self.seen).unwrap() {}
            if let Some(found) = self.seen.iter().find_map(&wanted) {
                return found;
            }
            assert!(Instant::now() < deadline, "no event for {what:?}; came: {:#?}", self.seen);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// As `wait`, for an event that needs no looking into.
    #[track_caller]
    pub(crate) fn expect(&mut self, what: impl Debug, wanted: impl Fn(&Event) -> bool) {
        self.wait(what, |event| wanted(event).then_some(()));
    }

    /// What iproute2 shows inside, as JSON.
    pub(crate) fn ip(&self, arguments: &str) -> Vec<Value> {
        let output =
            self.ns.output(Command::new("ip").args(["-j", "-d"]).args(arguments.split(' '))).unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        if text.trim().is_empty() {
            return Vec::new();
        }
        serde_json::from_str(&text).unwrap()
    }

    /// Demands that iproute2 shows an object with (at least) these fields.
    #[track_caller]
    pub(crate) fn ip_shows(&self, arguments: &str, fields: &Value) {
        let shown = self.ip(arguments);
        let fields = fields.as_object().unwrap();
        let holds = |object: &Value| fields.iter().all(|(key, value)| object.get(key) == Some(value));
        assert!(shown.iter().any(holds), "ip {arguments} lacks {fields:#?}; it shows {shown:#?}");
    }
}
