//! Reclamation step by step, then under threads. The proof over all interleavings is in `tests/loom.rs`.

use super::*;
use std::sync::atomic::AtomicUsize;
use std::thread;

/// Counts how many are alive, and shows whether it is one of them.
struct Canary {
    alive: Arc<AtomicUsize>,
    word: u64,
}

const ALIVE: u64 = 0x600d_600d_600d_600d;

impl Canary {
    fn new(alive: &Arc<AtomicUsize>) -> Option<Box<Self>> {
        alive.fetch_add(1, Ordering::Relaxed);
        Some(Box::new(Canary { alive: Arc::clone(alive), word: ALIVE }))
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.word = 0;
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

fn publish(limbo: &mut Limbo) {
    limbo.advance();
    limbo.reclaim();
}

#[test]
fn a_value_lives_as_long_as_a_batch_that_may_see_it() {
    let alive = Arc::new(AtomicUsize::new(0));
    let (domain, mut limbo) = Domain::new(2);
    let slot = Shared::empty();
    slot.swap(Canary::new(&alive), &limbo);
    let mut line = domain.register().unwrap();
    let guard = line.pin();
    let seen = slot.load(&guard).unwrap();
    assert!(slot.swap(Canary::new(&alive), &limbo));
    publish(&mut limbo);
    assert_eq!((limbo.len(), alive.load(Ordering::Relaxed)), (1, 2), "the batch is open");
    assert_eq!(seen.word, ALIVE);
    line.pin();
    publish(&mut limbo);
    assert_eq!((limbo.len(), alive.load(Ordering::Relaxed)), (0, 1), "the batch has ended");
    slot.swap(None, &limbo);
    line.sleep();
    limbo.reclaim();
    assert_eq!(alive.load(Ordering::Relaxed), 0, "a sleeper holds nothing up");
}

#[test]
fn lines_are_limited_and_come_back() {
    let (domain, _limbo) = Domain::new(2);
    let first = domain.register().unwrap();
    let _second = domain.register().unwrap();
    assert!(domain.register().is_none());
    drop(first);
    assert!(domain.register().is_some());
}

#[test]
fn a_reader_that_leaves_holds_nothing_up() {
    let (domain, mut limbo) = Domain::new(1);
    let mut line = domain.register().unwrap();
    line.pin();
    limbo.retire(Box::new(()));
    publish(&mut limbo);
    assert_eq!(limbo.len(), 1);
    drop(line);
    limbo.reclaim();
    assert_eq!(limbo.len(), 0);
}

#[test]
fn what_outlives_the_writer_goes_with_the_domain() {
    let alive = Arc::new(AtomicUsize::new(0));
    let (domain, limbo) = Domain::new(1);
    let mut line = domain.register().unwrap();
    let slot = Shared::empty();
    slot.swap(Canary::new(&alive), &limbo);
    let guard = line.pin();
    let seen = slot.load(&guard).unwrap();
    slot.swap(None, &limbo);
    drop(limbo);
    assert_eq!((seen.word, alive.load(Ordering::Relaxed)), (ALIVE, 1));
    drop((line, domain));
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

#[test]
fn readers_never_see_a_dead_value_under_threads() {
    const ROUNDS: usize = 20_000;
    let alive = Arc::new(AtomicUsize::new(0));
    let (domain, mut limbo) = Domain::new(3);
    let slot = Arc::new(Shared::empty());
    slot.swap(Canary::new(&alive), &limbo);
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (1..=3)
        .map(|nap| {
            let (domain, slot, done) = (Arc::clone(&domain), Arc::clone(&slot), Arc::clone(&done));
            thread::spawn(move || {
                let mut line = domain.register().unwrap();
                let mut batches = 0;
                while !done.load(Ordering::Relaxed) || batches < 10 {
                    let guard = line.pin();
                    let seen: Vec<&Canary> = (0..32).filter_map(|_| slot.load(&guard)).collect();
                    assert!(seen.iter().all(|canary| canary.word == ALIVE) && seen.len() == 32);
                    batches += 1;
                    if batches % (nap * 7) == 0 {
                        line.sleep();
                    }
                }
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        slot.swap(Canary::new(&alive), &limbo);
        publish(&mut limbo);
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    publish(&mut limbo);
    assert_eq!((limbo.len(), alive.load(Ordering::Relaxed)), (0, 1));
}
