//! A standalone warren in namespace r, and hosts a and b, each with one of its TAP devices. All goes when the test ends.
//!
//! ```text
//! a t0 ---- warren ---- t1 b      10.0.1.0/24, 2001:db8:1::/64 | 10.0.2.0/24, 2001:db8:2::/64; hosts are 1, warren 254 or fe
//! ```

use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use warren::sys::netns::Namespace;

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

/// A warren that runs, killed when dropped.
pub(crate) struct Warren {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

/// Starts `warren` with these arguments in a namespace.
pub(crate) fn start(space: &Namespace, arguments: &str) -> Warren {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command.args(arguments.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = space.spawn(&mut command).unwrap();
    let (sender, lines) = channel();
    let streams: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
    for stream in streams {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
    }
    Warren { child, lines, said: Vec::new() }
}

impl Warren {
    /// Waits for a line that holds `text`.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            let found = line.contains(text);
            self.said.push(line);
            if found {
                return;
            }
        }
        panic!("warren never said {text:?}; it said {:#?}", self.said);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; the exit code and all that it printed.
    pub(crate) fn end(&mut self) -> (Option<i32>, String) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "warren did not end; it said {:#?}", self.said);
            std::thread::sleep(Duration::from_millis(1));
        }
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(5)) {
            self.said.push(line);
        }
        (self.child.wait().unwrap().code(), self.said.join("\n"))
    }
}

impl Drop for Warren {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command line without quotes in a namespace; gives what it printed.
pub(crate) fn run(space: &Namespace, line: &str) -> String {
    let (ok, text) = try_run(space, line);
    assert!(ok, "{line}: {text}");
    text
}

/// As [`run`], for what may fail: whether it succeeded, and what it printed.
pub(crate) fn try_run(space: &Namespace, line: &str) -> (bool, String) {
    let mut words = line.split_whitespace();
    let output = space.output(Command::new(words.next().unwrap()).args(words));
    let output = output.unwrap_or_else(|e| panic!("{line}: {e}; install iproute2, iputils-ping, traceroute"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}
