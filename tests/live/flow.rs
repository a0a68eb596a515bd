//! A steady flow of numbered UDP packets from host a to host b: which arrived, which twice, and when.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::lab::{B4, Lab};

/// Between two packets: up to 10,000 a second.
const PACE: Duration = Duration::from_micros(100);

/// The flow, until it is ended.
pub(crate) struct Flow {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<Vec<Instant>>,
    receiver: JoinHandle<BTreeMap<u32, Vec<Instant>>>,
}

/// What became of the flow.
pub(crate) struct Outcome {
    sent: Vec<Instant>,
    arrived: BTreeMap<u32, Vec<Instant>>,
}

impl Flow {
    pub(crate) fn start(lab: &Lab) -> Flow {
        let stop = Arc::new(AtomicBool::new(false));
        let inbox = lab.b.enter(|| UdpSocket::bind((B4, 9000))).unwrap().unwrap();
        inbox.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&inbox, 16 << 20).unwrap();
        let outbox = lab.a.enter(|| UdpSocket::bind("10.0.1.1:0")).unwrap().unwrap();
        outbox.connect((B4, 9000)).unwrap();
        let (end, over) = (Arc::clone(&stop), Arc::clone(&stop));
        let sender = std::thread::spawn(move || {
            let mut sent = Vec::new();
            let mut due = Instant::now();
            while !end.load(Ordering::Relaxed) {
                // Errors that came back for earlier packets are no concern of this one.
                while outbox.send(&(sent.len() as u32).to_be_bytes()).is_err() {}
                sent.push(Instant::now());
                // Who comes late does not catch up: a burst would overflow queues by itself.
                due = (due + PACE).max(Instant::now());
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            sent
        });
        let receiver = std::thread::spawn(move || {
            let mut arrived: BTreeMap<u32, Vec<Instant>> = BTreeMap::new();
            let mut bytes = [0; 4];
            loop {
                match inbox.recv(&mut bytes) {
                    Ok(_) => arrived.entry(u32::from_be_bytes(bytes)).or_default().push(Instant::now()),
                    // Silence: a gap, or the end.
                    Err(_) if over.load(Ordering::Relaxed) => return arrived,
                    Err(_) => {}
                }
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        Flow { stop, sender, receiver }
    }

    pub(crate) fn end(self) -> Outcome {
        std::thread::sleep(Duration::from_millis(200));
        self.stop.store(true, Ordering::Relaxed);
        Outcome { sent: self.sender.join().unwrap(), arrived: self.receiver.join().unwrap() }
    }
}

impl Outcome {
    /// The longest time in which no packet came through, by the time of sending.
    pub(crate) fn gap(&self) -> Duration {
        let mut longest = Duration::ZERO;
        let mut last = self.sent[0];
        for (number, at) in (0..).zip(&self.sent) {
            if self.arrived.contains_key(&number) {
                longest = longest.max(at.saturating_duration_since(last));
                last = *at;
            }
        }
        longest.max(self.sent.last().unwrap().saturating_duration_since(last))
    }

    /// Packets sent.
    pub(crate) fn sent(&self) -> usize {
        self.sent.len()
    }

    /// Packets that did not arrive.
    pub(crate) fn lost(&self) -> usize {
        self.sent.len() - self.arrived.len()
    }

    /// Packets that arrived more than once.
    pub(crate) fn doubled(&self) -> usize {
        self.arrived.values().filter(|times| times.len() > 1).count()
    }
}
