//! The forwarding tables on one core: loading, lookups, updates, a change of next hop; beside other crates in the same run.
//!
//! Without files it makes tables of the Internet's shape. `--routes` takes one prefix a line, `--updates` one `+PREFIX` or
//! `-PREFIX` a line, in order.
#![allow(clippy::print_stdout)] // A bench prints its figures.

mod churn;
mod input;
mod lookups;
mod peers;

use anyhow::Context;
use clap::Parser;
use input::{Family, Model};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Instant;
use warren_bench::idle;
use warren_fib::{Fib, Place, Writer};

#[derive(Parser)]
#[command(about = "Measure the forwarding tables, beside other crates")]
struct Args {
    /// Prefixes, one a line [default: made up, of the Internet's shape]
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    /// Updates in order, one a line: +PREFIX or -PREFIX [default: routes go and come again]
    #[arg(long, value_name = "FILE")]
    updates: Option<PathBuf>,
    /// One family only
    #[arg(long, value_parser = ["4", "6"])]
    family: Option<String>,
    /// How next hops are spread over the prefixes
    #[arg(long, value_enum, default_value_t = Model::Rnd300)]
    model: Model,
    /// Addresses of each key set
    #[arg(long, default_value_t = 1 << 20)]
    keys: usize,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Leave the other crates out
    #[arg(long)]
    alone: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let load = idle::wait();
    let mut found = json!({ "load": load, "model": format!("{:?}", args.model).to_lowercase() });
    for (number, name) in [("4", "ipv4"), ("6", "ipv6")] {
        if args.family.as_deref().is_none_or(|only| only == number) {
            let one = if number == "4" { measure::<Ipv4Addr>(&args)? } else { measure::<Ipv6Addr>(&args)? };
            if let Some(all) = found.as_object_mut() {
                all.insert(name.to_owned(), one);
            }
        }
    }
    if args.json {
        println!("{found}");
    } else {
        println!("{found:#}");
    }
    Ok(())
}

fn measure<A: Family>(args: &Args) -> anyhow::Result<Value> {
    let table = input::table::<A>(args.routes.as_deref())?;
    let updates = input::updates(args.updates.as_deref(), &table)?;
    let start = Instant::now();
    let resident = input::resident();
    let (mut writer, fib) = load(&table, args.model)?;
    let build = start.elapsed().as_secs_f64();
    let resident = input::resident().saturating_sub(resident);
    let memory = writer.memory::<A>();
    let keys = lookups::Keys::new(&table, args.keys);
    let scalar = lookups::scalar(&fib, &keys, args.rounds)?;
    let batch = lookups::batch(&fib, &keys, args.rounds)?;
    let peers =
        if args.alone { json!({}) } else { peers::all(&fib, &table, args.model, &keys, args.rounds)? };
    let update = churn::updates(&mut writer, &fib, &updates, args.model, &keys)?;
    Ok(json!({
        "routes": table.len(),
        "memory_bytes": memory,
        "rib_bytes": resident.saturating_sub(memory),
        "build_s": build,
        "lookup_mlps": { "scalar": scalar, "batch": batch },
        "update": update,
        "nexthop_change_ns": churn::nexthop_change::<A>(&table)?,
        "peers": peers,
    }))
}

/// A FIB with all routes of a table.
fn load<A: Family>(table: &[warren_fib::Prefix<A>], model: Model) -> anyhow::Result<(Writer, Fib)> {
    let (mut writer, fib) = warren_fib::new(2);
    for &prefix in table {
        writer.insert(model.route(prefix), Place::New).with_context(|| format!("cannot insert {prefix}"))?;
    }
    writer.publish();
    Ok((writer, fib))
}
