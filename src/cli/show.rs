//! `warren show`: tables of the running warren of this network namespace.

use crate::telemetry::show::Topic;
use crate::telemetry::socket::{Answer, Request, ask};
use crate::telemetry::table::Table;
use anyhow::bail;

const EXAMPLES: &str = "\
Examples:
  warren show counters                             warren's, the kernel's, the sum
  warren show drops                                how many packets were dropped, and why
  warren show routes --json | jq length";

/// Show what a running warren knows and has counted
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to show
    #[arg(value_enum)]
    topic: Topic,
    /// Print one JSON object on one line; tables, protocols and scopes are numbers in it
    #[arg(long)]
    json: bool,
}

/// Prints the table; with `--json` as `{"TOPIC":[{...},...]}`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut table = page(args.topic, 0)?;
    while let Some(from) = table.next.take() {
        let mut more = page(args.topic, from)?;
        table.rows.append(&mut more.rows);
        // A page that does not advance would never end.
        table.next = more.next.filter(|&next| next > from);
    }
    if args.json {
        let topic = serde_json::to_value(args.topic)?;
        let key = topic.as_str().unwrap_or_default();
        super::print_json(&serde_json::json!({ key: table.objects() }))
    } else {
        super::print(&table.text())
    }
}

fn page(topic: Topic, from: usize) -> anyhow::Result<Table> {
    match ask(&Request::Show { topic, from })? {
        Answer::Table(table) => Ok(table),
        other => bail!("the running warren answers {other:?} to a request for a table"),
    }
}
