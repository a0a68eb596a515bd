//! A capture on its way out: pcapng over the control socket, from the frames that workers show.
//!
//! Invariant: a client that stalls or leaves holds up nobody: frames are lost and counted, or the capture ends. Called by
//! the control socket, on a thread for each capture.

use crate::drop::DropReason;
use crate::port::capture::{CaptureError, Packet, Writer};
use crate::port::watch::{Capture, Seen};
use crossbeam_channel::RecvTimeoutError;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::io::BufWriter;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How often is looked whether the client is still there: until then nobody else can capture.
const LOOK: Duration = Duration::from_millis(10);
/// Frames between two looks while they come without a pause.
const MANY: usize = 256;

/// Writes what is captured on the interface `name` to the client until it shuts down its side.
pub fn serve(capture: &Capture, name: &str, client: &UnixStream) -> Result<(), CaptureError> {
    let mut out = Writer::new("control socket", BufWriter::new(client))?;
    let interface = out.add_interface(name)?;
    out.flush()?;
    while listens(client) {
        let first = match capture.frames.recv_timeout(LOOK) {
            Ok(seen) => seen,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        for seen in std::iter::once(first).chain(capture.frames.try_iter()).take(MANY) {
            write(&mut out, interface, &seen)?;
        }
        out.flush()?;
    }
    // What was seen before the client's end belongs to the capture.
    for seen in capture.frames.try_iter().take(capture.frames.len()) {
        write(&mut out, interface, &seen)?;
    }
    out.finish().map(drop)
}

fn write(
    out: &mut Writer<BufWriter<&UnixStream>>,
    interface: usize,
    seen: &Seen,
) -> Result<(), CaptureError> {
    let Seen { time, direction, wire_len, .. } = *seen;
    let mut comment = seen.dropped.map_or_else(String::new, why);
    if seen.missed > 0 {
        let gap = format!("{} frames before this one were not captured", seen.missed);
        comment = if comment.is_empty() { gap } else { format!("{comment}; {gap}") };
    }
    let packet = Packet {
        interface,
        time,
        wire_len,
        bytes: &seen.bytes,
        direction: Some(direction),
        comment: &comment,
    };
    out.write(&packet)
}

/// A dropped frame's comment: the reason's name, its sentence, and who says so.
fn why(reason: DropReason) -> String {
    let info = reason.info();
    let rfc = if info.rfc.is_empty() { String::new() } else { format!(", RFC {}", info.rfc) };
    format!("dropped: {}: {} ({}{rfc})", info.name, info.text, info.function)
}

/// Whether the client still wants more. It sends nothing any more, so all that can come is its end.
fn listens(client: &UnixStream) -> bool {
    let mut byte = [0];
    matches!(recv(client, &mut byte, RecvFlags::DONTWAIT | RecvFlags::PEEK), Err(Errno::AGAIN | Errno::INTR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::capture::{Direction, Reader};
    use crate::port::watch::Watch;
    use std::net::Shutdown;

    #[test]
    fn a_client_reads_frames_reasons_and_gaps_and_may_leave() {
        let watch = Watch::default();
        let capture = watch.open(2).unwrap();
        let (server, client) = UnixStream::pair().unwrap();
        let session = watch.of(2).unwrap();
        let reason = DropReason::V4Ttl;
        let frame = |time, dropped| {
            let direction = Direction::In;
            Seen { time, direction, dropped, wire_len: 60, bytes: vec![7; 60], missed: 0 }
        };
        assert!(session.offer(frame(5, None)) && session.offer(frame(6, Some(reason))));
        // More than there is room for, and one behind it that tells.
        let lost = (0..1100).filter(|&n| !session.offer(frame(n, None))).count();
        let serving = std::thread::spawn(move || serve(&capture, "p0", &server));
        let mut reader = Reader::new("socket", client.try_clone().unwrap()).unwrap();
        let mut comments = Vec::new();
        while comments.len() < 2 + 1100 - lost {
            let packet = reader.next_packet().unwrap().unwrap();
            assert_eq!((packet.bytes, packet.direction), (&[7; 60][..], Some(Direction::In)));
            comments.push(packet.comment.to_owned());
        }
        assert_eq!(comments[0], "");
        assert!(comments[1].starts_with("dropped: V4Ttl: The time to live ran out"), "{}", comments[1]);
        assert!(session.offer(frame(9, None)));
        let told = reader.next_packet().unwrap().unwrap().comment.to_owned();
        assert_eq!(told, format!("{lost} frames before this one were not captured"));
        client.shutdown(Shutdown::Write).unwrap();
        assert!(reader.next_packet().is_none(), "the capture ends whole");
        serving.join().unwrap().unwrap();
        assert!(watch.of(2).is_none());
    }

    #[test]
    fn what_was_seen_before_the_client_ended_is_captured() {
        let watch = Watch::default();
        let capture = watch.open(2).unwrap();
        let (server, client) = UnixStream::pair().unwrap();
        let frame = Seen {
            time: 5,
            direction: Direction::Out,
            dropped: None,
            wire_len: 60,
            bytes: vec![7; 60],
            missed: 0,
        };
        assert!(watch.of(2).unwrap().offer(frame));
        client.shutdown(Shutdown::Write).unwrap();
        serve(&capture, "p0", &server).unwrap();
        drop(server);
        let mut reader = Reader::new("socket", client).unwrap();
        assert_eq!(reader.next_packet().unwrap().unwrap().time, 5);
        assert!(reader.next_packet().is_none());
    }
}
