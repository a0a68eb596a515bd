//! `warren completions SHELL`: the script that teaches a shell the command line.

use clap::CommandFactory;

const EXAMPLES: &str = "\
Examples:
  warren completions bash > /etc/bash_completion.d/warren
  warren completions fish > ~/.config/fish/completions/warren.fish";

/// Print the completion script of a shell
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Prints the script.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "warren", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}
