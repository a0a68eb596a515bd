//! The command line: one file per subcommand, each with its arguments and a `run`.
//!
//! Exit codes: 0 for success, 1 for failure, 2 for a command line that cannot be understood. An error is one line on
//! stderr. Everything that prints takes `--json`: one object on one line. Called by `main`.

mod capture;
mod completions;
mod conform;
mod counters;
pub mod demo;
mod explain;
mod offline;
mod replay;
mod route;
mod run;
mod show;
mod snapshot;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  warren demo                                          see it work: hosts and a router in network namespaces
  warren run eth1 eth2                                 route between two interfaces until Ctrl-C
  warren run --standalone --io tap -s box.toml         be a router of its own, for containers and machines on TAPs
  warren show counters                                 what a running warren and its kernel counted
  warren capture eth1 -w seen.pcapng                   what passes, and why the rest does not
  warren replay in.pcapng -s box.toml --out results    what leaves, and every counter that moved
  warren replay in.pcapng -s box.toml --loop 1000      how fast
  warren explain in.pcapng -s box.toml --packet 3      one packet, step by step
  warren route get 2001:db8:a::1 iif p0 -s box.toml    where it would go, and why
  warren conform --generate 5000                       does it do what this kernel does?
  warren snapshot -o box.toml                          this box as a scenario

A scenario (-s) describes a box in TOML, in the words of iproute2. Offline commands know of no other box.";

/// A userspace packet-forwarding dataplane that forwards exactly as the running Linux kernel would.
#[derive(Parser)]
#[command(name = "warren", version, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Run(run::Args),
    Show(show::Args),
    Capture(capture::Args),
    Replay(replay::Args),
    Explain(explain::Args),
    Route(route::Args),
    Conform(conform::Args),
    Snapshot(snapshot::Args),
    Completions(completions::Args),
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let done = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Capture(args) => capture::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Route(args) => route::run(&args),
        Command::Conform(args) => conform::run(&args),
        Command::Snapshot(args) => snapshot::run(&args),
        Command::Completions(args) => completions::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(is_closed_pipe) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&one_line(&error));
            if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Arguments that clap takes but that make no sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0} (see `warren help`)")]
struct Usage(String);

/// The error with its causes. Most of our errors name their cause themselves, so that is not said again.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// Who reads our output has seen enough, as `head` does.
fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Help and version as they are; errors in one line.
fn usage(error: &clap::Error) -> ExitCode {
    let help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if help {
        error.exit();
    }
    let text = error.to_string();
    let first: Vec<_> = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    complain(&format!("{} (see `warren help`)", first.join(" ").trim_start_matches("error: ")));
    ExitCode::from(2)
}

/// One line on stderr. That may be closed, which is no reason to fail in another way.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "warren: {line}");
}

/// Prints to stdout; a closed pipe is an error that `main` passes over.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints one JSON object on one line.
fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    print(&format!("{value}\n"))
}
