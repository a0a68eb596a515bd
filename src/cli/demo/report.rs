//! The demo's report: one line a step, aligned, with a verdict; or the same as one JSON object.
//!
//! Invariant: a step that failed carries a hint, and the run's verdict is that of its steps. Called by the demo.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

/// One step: what was done and what was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// What was done, a few words.
    pub what: String,
    /// What was seen, or why it failed.
    pub seen: String,
    /// Whether that is as it should be.
    pub ok: bool,
    /// What to look at if not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
}

/// The whole run. Its fields are the keys of `--json`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Whether every step is as it should be.
    pub ok: bool,
    /// How long it all took, in seconds.
    pub seconds: f64,
    /// Milliseconds without an arrival when warren was killed; absent if that was not reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_ms: Option<f64>,
    /// What warren wrote to stderr; absent if nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub complaints: String,
    /// In the order in which they were done.
    pub steps: Vec<Step>,
}

impl Report {
    /// Judges the whole.
    pub fn finish(&mut self, took: Duration) {
        self.ok = !self.steps.is_empty() && self.steps.iter().all(|step| step.ok);
        self.seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
    }
}

/// Width of the first column: the longest `what`.
const WHAT: usize = 20;

/// Writes a step as it is done. `colour` is for terminals.
///
/// # Errors
/// Those of `out`.
pub fn line(out: &mut impl Write, step: &Step, colour: bool) -> io::Result<()> {
    let (verdict, code) = if step.ok { ("ok", "32") } else { ("FAILED", "1;31") };
    let (on, off) = if colour { (format!("\x1b[{code}m"), "\x1b[0m") } else { (String::new(), "") };
    writeln!(out, "  {on}{verdict:<6}{off}  {:<WHAT$}  {}", step.what, step.seen)?;
    if let Some(hint) = step.hint {
        writeln!(out, "          {:<WHAT$}  hint: {hint}", "")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(ok: bool) -> Step {
        let hint = (!ok).then_some("look there");
        Step { what: "ping IPv4".into(), seen: "4 of 5 answered".into(), ok, hint }
    }

    #[test]
    fn one_failed_step_fails_the_run() {
        for (steps, ok) in [(vec![], false), (vec![step(true)], true), (vec![step(true), step(false)], false)]
        {
            let mut report = Report { steps, ..Report::default() };
            report.finish(Duration::from_millis(1500));
            assert_eq!((report.ok, report.seconds), (ok, 1.5));
        }
    }

    #[test]
    fn lines_are_aligned_and_coloured_on_request_only() {
        let print = |ok, colour| {
            let mut out = Vec::new();
            line(&mut out, &step(ok), colour).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(print(true, false), "  ok      ping IPv4             4 of 5 answered\n");
        let failed = print(false, false);
        assert_eq!(failed.find("4 of 5"), print(true, false).find("4 of 5"));
        assert!(failed.ends_with(" hint: look there\n"));
        assert!(print(true, true).starts_with("  \x1b[32mok    \x1b[0m"));
    }
}
