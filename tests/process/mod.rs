//! A `warren` that runs in a namespace, and command lines beside it. Called by the tests of whole programs, which include it.
//!
//! Invariant: no process outlives its value.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use warren::sys::netns::Namespace;

/// A warren that runs, killed when dropped.
pub(crate) struct Warren {
    pub(crate) child: Child,
    lines: Receiver<String>,
    /// What it printed and nobody waited for.
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
    /// Waits for a line that holds `text`, takes it away and gives it. (Lines of its two streams come in any order.)
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(at) = self.said.iter().position(|line| line.contains(text)) {
                return self.said.remove(at);
            }
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(_) => panic!("warren never said {text:?}; it said {:#?}", self.said),
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; the exit code and all that it printed.
    pub(crate) fn end(&mut self) -> (Option<i32>, String) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "warren did not end; it said {:#?}", self.said);
            std::thread::sleep(Duration::from_millis(1));
        }
        let code = self.child.wait().unwrap().code();
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(5)) {
            self.said.push(line);
        }
        (code, self.said.join("\n"))
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
    let output = output.unwrap_or_else(|e| panic!("{line}: {e}; tests/run machine installs the tools"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}
