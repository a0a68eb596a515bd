//! A namespace with three veth pairs (v1-w1, v2-w2, v3-w3) and a mirror in it. All of a test runs on a thread inside.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use warren::control::sync::Mirror;
use warren::state::{Shared, Writer};
use warren::sys::netns::Namespace;

pub(crate) struct Lab {
    pub(crate) mirror: Mirror,
    pub(crate) shared: Arc<Shared>,
}

/// Runs a test inside a fresh namespace.
#[track_caller]
pub(crate) fn inside(name: &str, test: impl FnOnce() + Send) {
    assert!(
        rustix::process::geteuid().is_root(),
        "test {name} needs root, for network namespaces; run: sudo -E cargo test"
    );
    let ns = Namespace::create(&format!("warren-t-sync-{name}-{}", std::process::id())).unwrap();
    ns.enter(test).unwrap();
}

/// Runs iproute2 commands as one batch; a line that fails fails the test.
#[track_caller]
pub(crate) fn ip(commands: &str) {
    let failed = ip_batch(&["-batch", "-"], commands);
    assert!(failed.is_empty(), "ip failed: {failed}\n{commands}");
}

/// Runs iproute2 commands as one batch and passes over the lines that fail.
pub(crate) fn ip_force(commands: &str) {
    ip_batch(&["-force", "-batch", "-"], commands);
}

fn ip_batch(arguments: &[&str], commands: &str) -> String {
    let mut child = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() { String::new() } else { String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// Runs one iproute2 command, options before it included.
#[track_caller]
fn ip_one(command: &str) {
    let output = Command::new("ip").args(command.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What iproute2 prints.
#[track_caller]
pub(crate) fn ip_output(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Writes a sysctl of the namespace that the calling thread is in.
#[track_caller]
pub(crate) fn sysctl(name: &str, value: &str) {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// The pairs, up, with 10.0.N.1/24 and 2001:db8:N::1/64 on vN.
pub(crate) fn topology() {
    // No detection of duplicates: addresses are there at once.
    sysctl("net.ipv6.conf.all.accept_dad", "0");
    sysctl("net.ipv6.conf.default.accept_dad", "0");
    sysctl("net.ipv4.ip_forward", "1");
    sysctl("net.ipv6.conf.all.forwarding", "1");
    let mut commands = "link set lo up\n".to_owned();
    for n in 1..=3 {
        writeln!(commands, "link add v{n} index 1{n} type veth peer name w{n} index 2{n}").unwrap();
        writeln!(commands, "link set v{n} up\nlink set w{n} up").unwrap();
        writeln!(commands, "address add 10.0.{n}.1/24 broadcast + dev v{n}").unwrap();
        writeln!(commands, "address add 2001:db8:{n}::1/64 nodad dev v{n}").unwrap();
    }
    ip(&commands);
    let deadline = Instant::now() + Duration::from_secs(10);
    while ip_output("-o link show up").matches("state UP").count() < 6 {
        assert!(Instant::now() < deadline, "the links do not come up");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Lab {
    /// A mirror of the namespace as it is.
    pub(crate) fn start() -> Self {
        let (writer, shared) = Writer::new(2, 1).unwrap();
        let mut lab = Self { mirror: Mirror::start(writer).unwrap(), shared };
        lab.mirror.publish();
        lab
    }

    /// The pairs, and a mirror of them.
    pub(crate) fn new() -> Self {
        topology();
        Self::start()
    }

    /// Lets the mirror take all events there are.
    pub(crate) fn follow(&mut self) {
        while self.mirror.handle().unwrap().events > 0 || !self.mirror.status().synced {}
        self.mirror.publish();
    }

    /// Follows the events, and demands that a fresh dump shows nothing else.
    #[track_caller]
    pub(crate) fn assert_equal(&mut self, after: &str) {
        self.follow();
        let audit = self.mirror.audit_now().unwrap();
        assert!(audit.checked > 0);
        assert_eq!(audit.repaired, 0, "after {after}:\n{}", audit.differences.join("\n"));
        self.mirror.publish();
    }

    /// Runs commands one by one, and demands after each that the mirror is equal.
    #[track_caller]
    pub(crate) fn steps(&mut self, commands: &str) {
        for command in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match command.strip_prefix("sysctl ").and_then(|rest| rest.split_once('=')) {
                Some((name, value)) => sysctl(name, value),
                None => ip_one(command),
            }
            self.assert_equal(command);
        }
    }
}
