//! `warren route get`: where a packet would go, as `ip route get` says it, with the lookup that led there.

mod get;
mod words;

use clap::Subcommand;

/// Ask a scenario's routes
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Get(get::Args),
}

/// Runs the one command there is.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Get(args) => get::run(args),
    }
}
