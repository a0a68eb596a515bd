//! The router process: `warren run` as a child in the router's namespace, and what it counts.
//!
//! Invariant: no child outlives its [`Child`]. Called by the demo and by the tests with real tools.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::sys::netns::Namespace;

/// How long it may take to take over; it needs some hundred milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is kept of the child's error output, in bytes.
const COMPLAINTS: usize = 4096;

/// A running `warren run`.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    program: PathBuf,
    complaints: Arc<Mutex<String>>,
}

impl Child {
    /// Starts `program run LINKS...` in `space` and waits until it forwards.
    ///
    /// # Errors
    /// If it cannot be started, ends, or does not forward within ten seconds; with what it wrote to stderr.
    pub fn start(program: &Path, space: &Namespace, links: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("run").args(links);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = space.spawn(&mut command)?;
        let complaints = Arc::new(Mutex::new(String::new()));
        if let Some(stderr) = process.stderr.take() {
            let complaints = Arc::clone(&complaints);
            thread::spawn(move || gather(stderr, &complaints));
        }
        let stdout = process.stdout.take();
        let child = Self { process, program: program.to_owned(), complaints };
        let (tell, told) = mpsc::channel();
        // The thread reads on to the end, or the child would block on a full pipe.
        thread::spawn(move || {
            for line in BufReader::new(stdout?).lines().map_while(Result::ok) {
                if line.starts_with("forwarding on ") {
                    let _ = tell.send(());
                }
            }
            Some(())
        });
        match told.recv_timeout(PATIENCE) {
            Ok(()) => Ok(child),
            Err(RecvTimeoutError::Timeout) => {
                bail!("warren run does not forward after {} s: {}", PATIENCE.as_secs(), child.complaints())
            }
            Err(RecvTimeoutError::Disconnected) => bail!("warren run ended: {}", child.complaints()),
        }
    }

    /// What it wrote to stderr so far.
    pub fn complaints(&self) -> String {
        self.complaints.lock().map(|text| text.trim_end().to_owned()).unwrap_or_default()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.process.try_wait()?.is_none())
    }

    /// Asks it, by `warren show WHAT --json`; `space` is the namespace it runs in.
    ///
    /// # Errors
    /// If it does not answer, or not in JSON.
    pub fn show(&self, space: &Namespace, what: &str) -> Result<Value> {
        let output = space.output(Command::new(&self.program).args(["show", what, "--json"]))?;
        if !output.status.success() {
            bail!("warren show {what}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("warren show {what} --json"))
    }

    /// Warren's own counters by the kernel's names, without the kernel's share. Those at zero may be left out.
    ///
    /// # Errors
    /// As [`Child::show`], and if a row is not as documented.
    pub fn counters(&self, space: &Namespace) -> Result<BTreeMap<String, u64>> {
        let shown = self.show(space, "counters")?;
        let rows = shown.get("counters").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let count =
            |row: &Value| Some((row.get("counter")?.as_str()?.to_owned(), row.get("warren")?.as_u64()?));
        rows.iter()
            .map(|row| count(row).with_context(|| format!("warren show counters --json: odd row {row}")))
            .collect()
    }

    /// Ends it at once, as `kill -9` does: it can tidy up nothing.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().context("cannot kill the router process")?;
        self.process.wait().context("cannot wait for the router process")?;
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Keeps the beginning of what comes and reads on to the end.
fn gather(mut from: impl Read, into: &Mutex<String>) {
    let mut buffer = [0; 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let text = String::from_utf8_lossy(buffer.get(..len).unwrap_or_default()).into_owned();
        if let Ok(mut all) = into.lock()
            && all.len() < COMPLAINTS
        {
            all.push_str(&text);
        }
    }
}
