//! `warren capture`: what a running warren receives and sends on an interface, and what it drops there and why, as pcapng.

use super::run::on_signals;
use crate::port::capture::{Direction, Packet, Reader, Writer};
use crate::telemetry::socket::{Answer, Request, open};
use anyhow::bail;
use std::io::{self, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const EXAMPLES: &str = "\
Examples:
  warren capture eth1 -w seen.pcapng               until Ctrl-C
  warren capture eth1 -c 100 -w - | tcpdump -nr -  a hundred frames, looked at as they come";

/// Capture what a running warren receives, sends and drops on an interface, with the reasons
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The interface
    #[arg(value_name = "IF")]
    interface: String,
    /// Where to write pcapng; "-" is standard output, for `| wireshark -k -i -`
    #[arg(short, long, value_name = "FILE")]
    write: PathBuf,
    /// End after so many frames [default: at Ctrl-C]
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// Print one JSON object on one line at the end; on standard error if the capture goes to standard output
    #[arg(long)]
    json: bool,
}

/// Frames captured.
#[derive(Default)]
struct Total {
    received: u64,
    sent: u64,
    dropped: u64,
}

/// Captures until told to end; the file is whole then.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (answer, stream) = open(&Request::Capture { interface: args.interface.clone() })?;
    if answer != Answer::Capturing {
        bail!("the running warren answers {answer:?} to a request for a capture");
    }
    stream.get_ref().set_read_timeout(None)?;
    let end = stream.get_ref().try_clone()?;
    // The other side completes the capture when it sees this.
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    on_signals(move || {
        tell.store(true, Ordering::Relaxed);
        drop(end.shutdown(Shutdown::Write));
    })?;
    let mut reader = Reader::new("control socket", stream)?;
    let limit = args.count.unwrap_or(u64::MAX);
    let stdout = args.write == Path::new("-");
    let total = if stdout {
        copy(&mut reader, Writer::new("standard output", io::stdout().lock())?, &args.interface, limit)?
    } else {
        copy(&mut reader, Writer::create(&args.write)?, &args.interface, limit)?
    };
    let Total { received, sent, dropped } = total;
    let text = match args.json {
        true => serde_json::json!({ "received": received, "sent": sent, "dropped": dropped }).to_string(),
        false => {
            format!("{}: {received} frames received, {dropped} of them dropped, {sent} sent", args.interface)
        }
    };
    // Standard output may be the capture's; and a closed standard error is no failure.
    match stdout {
        true => drop(writeln!(io::stderr(), "{text}")),
        false => super::print(&format!("{text}\n"))?,
    }
    if received + sent < limit && !told.load(Ordering::Relaxed) {
        bail!("the running warren has ended, and with it the capture");
    }
    Ok(())
}

/// Writes whole packets, each at once, so that whoever watches the file sees it.
fn copy<W: Write>(
    reader: &mut Reader,
    mut writer: Writer<W>,
    name: &str,
    limit: u64,
) -> anyhow::Result<Total> {
    let interface = writer.add_interface(name)?;
    // Whoever waits for the file to begin knows now that the capture has.
    writer.flush()?;
    let mut total = Total::default();
    while total.received + total.sent < limit
        && let Some(packet) = reader.next_packet()
    {
        let packet = packet?;
        match packet.direction {
            Some(Direction::Out) => total.sent += 1,
            _ => total.received += 1,
        }
        total.dropped += u64::from(packet.comment.starts_with("dropped: "));
        writer.write(&Packet { interface, ..packet })?;
        writer.flush()?;
    }
    writer.finish()?;
    Ok(total)
}
