//! A standalone warren in namespace r, and hosts a and b, each with one of its TAP devices. All goes when the test ends.
//!
//! ```text
//! a t0 ---- warren ---- t1 b      10.0.1.0/24, 2001:db8:1::/64 | 10.0.2.0/24, 2001:db8:2::/64; hosts are 1, warren 254 or fe
//! ```

use tempfile::TempDir;
use warren::sys::netns::Namespace;

pub(crate) use crate::process::{Warren, run, start, try_run};

const SCENARIO: &str = r#"
link = [ { name = "t0" }, { name = "t1" } ]
address = [
    { dev = "t0", prefix = "10.0.1.254/24" },
    { dev = "t0", prefix = "2001:db8:1::fe/64" },
    { dev = "t1", prefix = "10.0.2.254/24" },
    { dev = "t1", prefix = "2001:db8:2::fe/64" },
]
"#;

pub(crate) struct Lab {
    pub(crate) warren: Warren,
    pub(crate) a: Namespace,
    pub(crate) b: Namespace,
    pub(crate) r: Namespace,
    folder: TempDir,
}

impl Lab {
    /// All of it, ready to route.
    pub(crate) fn new(tag: &str) -> Lab {
        let make = |part: &str| {
            let name = format!("warren-t-host-{tag}-{}-{part}", std::process::id());
            Namespace::create(&name).expect("run this test as root: it makes network namespaces")
        };
        let (a, b, r) = (make("a"), make("b"), make("r"));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("box.toml"), SCENARIO).unwrap();
        let arguments = arguments(&folder);
        let mut warren = start(&r, &arguments);
        warren.wait_for("forwarding on t0 t1");
        for (host, device, net) in [(&a, "t0", 1), (&b, "t1", 2)] {
            run(&r, &format!("ip link set {device} netns {}", host.name()));
            run(host, "ip link set lo up");
            run(host, &format!("ip link set {device} up"));
            run(host, &format!("ip addr add 10.0.{net}.1/24 dev {device}"));
            run(host, &format!("ip addr add 2001:db8:{net}::1/64 dev {device} nodad"));
            run(host, &format!("ip route add default via 10.0.{net}.254"));
            run(host, &format!("ip route add default via 2001:db8:{net}::fe"));
        }
        Lab { warren, a, b, r, folder }
    }

    /// What starts such a warren.
    pub(crate) fn arguments(&self) -> String {
        arguments(&self.folder)
    }

    /// Writes a file beside the scenario; its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

fn arguments(folder: &TempDir) -> String {
    format!("run --standalone --io tap -s {}", folder.path().join("box.toml").display())
}
