//! `warren explain`: one packet of a capture, step by step: what was checked and on whose word, what was decided, which
//! bytes changed, what was counted, what was answered.

mod describe;
pub mod notes;
mod page;
mod text;

use super::counters::Counters;
use super::offline::Input;
use crate::forward::observe::Unobserved;
use crate::scenario::player::{Arrival, Departure};
use crate::state::State;
use anyhow::Context;
use notes::{Decided, Note, Notes};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::IsTerminal;

/// Explain what becomes of one packet, step by step
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: Input,
    /// Number of the packet in the capture, from 1; those before it are played first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    packet: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A frame that left.
pub struct Sent {
    link: String,
    time: u64,
    bytes: Vec<u8>,
}

/// All there is to say.
pub struct Story<'s> {
    number: u64,
    file: String,
    link: String,
    arrival: &'s Arrival,
    notes: Notes,
    counters: Counters,
    sent: Vec<Sent>,
    /// What happened once the time was over in which the next hop could have answered.
    later: Option<(Notes, Counters, Vec<Sent>)>,
}

/// Plays up to the packet and tells its story.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (router, arrivals) = args.input.open(1)?;
    let file = args.input.capture.display().to_string();
    let absent = || format!("{file}: no packet {} came in; it has {}", args.packet, arrivals.len());
    let at = arrivals.iter().position(|(number, _)| *number as u64 == args.packet).with_context(absent)?;
    let mut player = router.player()?;
    player.full_only(true);
    for (_, earlier) in arrivals.iter().take(at) {
        player.play(earlier, &mut Unobserved, &mut |_| ());
    }
    let (_, arrival) = arrivals.get(at).with_context(absent)?;
    let state = player.state();
    // Time up to the packet belongs to those before it.
    player.until(arrival.time, &mut Unobserved, &mut |_| ());
    let (before, waiting) = (player.counts(), player.waiting());
    let (mut notes, mut sent) = (Notes::default(), Vec::new());
    player.play(arrival, &mut notes, &mut |d| sent.push(keep(&state, &d)));
    let after = player.counts();
    let mut later = None;
    if player.waiting() > waiting {
        let (mut notes, mut sent) = (Notes::default(), Vec::new());
        player.finish(&mut notes, &mut |d| sent.push(keep(&state, &d)));
        let counters = Counters::new(&player.counts().since(&after), &state);
        later = Some((notes, counters, sent));
    }
    let link = state.ifaces.get(arrival.link).map(|i| i.name.clone()).unwrap_or_default();
    let counters = Counters::new(&after.since(&before), &state);
    let story = Story { number: args.packet, file, link, arrival, notes, counters, sent, later };
    if args.json {
        return super::print_json(&story.json());
    }
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    super::print(&text::tell(&story, colour)?)
}

fn keep(state: &State, d: &Departure<'_>) -> Sent {
    let link = state.ifaces.get(d.link).map(|i| i.name.clone()).unwrap_or_default();
    Sent { link, time: d.time, bytes: d.bytes.to_vec() }
}

impl Story<'_> {
    fn json(&self) -> Value {
        let decision = |n: &Notes| n.decision.as_ref().map(Decided::json);
        let part = |notes: &Notes, counters: &Counters, sent: &[Sent]| {
            json!({
                "steps": notes.list.iter().map(Note::json).collect::<Vec<_>>(),
                "decision": decision(notes),
                "counters": counters,
                "sent": sent.iter().map(|s| self.sent(s)).collect::<Vec<_>>(),
            })
        };
        let mut all = part(&self.notes, &self.counters, &self.sent);
        if let Some(all) = all.as_object_mut() {
            all.insert("packet".into(), self.number.into());
            all.insert("link".into(), self.link.as_str().into());
            all.insert("bytes".into(), hex(&self.arrival.bytes).into());
            let later = self.later.as_ref().map(|(notes, counters, sent)| part(notes, counters, sent));
            all.insert("later".into(), later.unwrap_or(Value::Null));
        }
        all
    }

    fn sent(&self, sent: &Sent) -> Value {
        let after = sent.time.saturating_sub(self.arrival.time);
        json!({ "link": sent.link, "after_ns": after, "bytes": hex(&sent.bytes) })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a string cannot fail
        text
    })
}
