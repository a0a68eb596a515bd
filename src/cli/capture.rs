//! `warren capture`: what a running warren receives and sends on an interface, and what it drops there and why, as pcapng.

use super::run::on_signals;
use crate::port::capture::{Direction, Packet, Reader, Writer};
use crate::telemetry::socket::{Answer, Request, open};
use anyhow::bail;
use std::io::{self, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};

/// Capture what a running warren receives, sends and drops on an interface, with the reasons
#[derive(Debug, clap::Args)]
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
    /// Print one JSON object on one line at the end
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
    let stop = move || drop(end.shutdown(Shutdown::Write));
    on_signals(stop)?;
    let mut reader = Reader::new("control socket", stream)?;
    let limit = args.count.unwrap_or(u64::MAX);
    let stdout = args.write == Path::new("-");
    let total = if stdout {
        copy(&mut reader, Writer::new("standard output", io::stdout().lock())?, &args.interface, limit)?
    } else {
        copy(&mut reader, Writer::create(&args.write)?, &args.interface, limit)?
    };
    // Standard output is the capture's.
    match (stdout, args.json) {
        (true, _) => Ok(()),
        (_, true) => super::print_json(&serde_json::json!({
            "received": total.received, "sent": total.sent, "dropped": total.dropped
        })),
        _ => super::print(&format!(
            "{}: {} frames received, {} of them dropped, {} sent\n",
            args.interface, total.received, total.dropped, total.sent
        )),
    }
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
