//! `warren snapshot`: this box as a scenario file.

use crate::scenario::snapshot::Snapshot;
use anyhow::Context;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  warren snapshot -o box.toml
  ip netns exec lab warren snapshot | less";

/// Write this box's state as a scenario file
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the scenario as one JSON object
    #[arg(long)]
    json: bool,
}

/// Takes the snapshot; what a scenario cannot say is named on stderr.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let Snapshot { scenario, left_out, .. } = Snapshot::take()?;
    for line in left_out {
        super::complain(&format!("left out: {line}"));
    }
    if args.json {
        return super::print_json(&serde_json::to_value(&scenario)?);
    }
    let text = toml::to_string(&scenario)?;
    match &args.output {
        Some(file) => {
            std::fs::write(file, text).with_context(|| format!("{}: cannot write it", file.display()))
        }
        None => super::print(&text),
    }
}
