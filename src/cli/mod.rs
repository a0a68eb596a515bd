//! The command line: one file for each subcommand. Floor 6.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage. An error is one line on standard error.

mod run;
mod show;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A userspace packet-forwarding dataplane that forwards exactly as the running Linux kernel would
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Show(show::Args),
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Show(args) => show::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("warren: {error}");
            ExitCode::FAILURE
        }
    }
}
