//! Large tables, while they are being filled.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use warren::sys::netns::Namespace;

use crate::lab::{Lab, inside, ip, topology};

const EACH: u32 = 100_000;

fn routes() -> String {
    let mut lines = String::new();
    for i in 0..EACH {
        let (link, host) = (1 + i % 3, 2 + i % 7);
        writeln!(lines, "route add {}/24 via 10.0.{link}.{host}", Ipv4Addr::from((64 << 24) + (i << 8)))
            .unwrap();
        let dst = Ipv6Addr::from((0x2001_0db9_u128 << 96) + (u128::from(i) << 64));
        writeln!(lines, "route add {dst}/64 via 2001:db8:{link}::{host}").unwrap();
    }
    lines
}

/// 200,000 routes are added while the mirror starts and follows; then they go again with their links.
#[test]
fn two_hundred_thousand_routes_while_syncing() {
    inside("load", || {
        topology();
        let done = AtomicBool::new(false);
        let here = Namespace::current().unwrap();
        let (here, done) = (&here, &done);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                here.enter(|| ip(&routes())).unwrap();
                done.store(true, Ordering::Release);
            });
            let mut lab = Lab::start();
            while !done.load(Ordering::Acquire) {
                lab.mirror.handle().unwrap();
            }
            lab.assert_equal("loading while routes come");
            let status = lab.mirror.status();
            assert!(status.routes4 > EACH as usize && status.routes6 > EACH as usize, "{status:?}");

            let start = std::time::Instant::now();
            let mut second = Lab::start();
            println!("{} routes loaded in {:?}", 2 * EACH, start.elapsed());
            second.assert_equal("loading at rest");

            ip("link set v1 down\nlink set v2 down\nlink set v3 down\n");
            for lab in [&mut lab, &mut second] {
                lab.assert_equal("the links going down");
                let status = lab.mirror.status();
                assert!(status.routes4 < 20 && status.routes6 < 20, "{status:?}");
            }
        });
    });
}
