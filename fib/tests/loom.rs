//! Publication under every interleaving and every reordering that the memory model allows.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p warren-fib --release --test loom`; without the flag there is nothing
//! here. What a slot holds is a cell that its destructor writes and readers read: loom reports a read that is not ordered
//! before the destructor. Two tests leave out one fence each, and loom must find the fault.
//!
//! Bounds: one slot; one reader of two batches and two replacements, or two readers of one batch and one replacement;
//! at most three preemptions in a run, which is where loom's authors find that faults show. Not covered: the trie and the arenas, which
//! add no ordering of their own beyond "record before id" (their threads test is `tests/stress.rs`).
#![allow(clippy::unwrap_used)] // A test fails by panicking, in its helpers too.
#![cfg(loom)]
#![allow(unsafe_code)] // Sharing loom's cell between threads, which is the point of the test.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread::{self, JoinHandle};
use warren_fib::publish::{Domain, Fences, Guard, Limbo, Line, Shared};

/// Read by readers, written by its destructor.
struct Canary(UnsafeCell<()>);

// SAFETY: the cell is only accessed through loom, which checks that reads and the write never race.
unsafe impl Sync for Canary {}

impl Canary {
    fn boxed() -> Option<Box<Self>> {
        Some(Box::new(Canary(UnsafeCell::new(()))))
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // A second panic while the first unwinds would abort, and hide the report.
        if !std::thread::panicking() {
            self.0.with_mut(|_| ());
        }
    }
}

type Slot = Arc<Shared<Canary>>;

const ALL: Fences = Fences { reader: true, writer: true };

/// Reads the slot in a batch.
fn read(slot: &Slot, guard: &Guard<'_>) {
    if let Some(canary) = slot.load(guard) {
        canary.0.with(|_| ());
    }
}

/// Readers run `work`, one thread each, while the writer replaces the value `rounds` times.
fn model(fences: Fences, readers: usize, rounds: usize, work: fn(Line, Slot)) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let (domain, mut limbo) = Domain::with_fences(readers, fences);
        let slot = Arc::new(Shared::empty());
        slot.swap(Canary::boxed(), &limbo);
        let threads: Vec<JoinHandle<()>> = (0..readers)
            .map(|_| {
                let (line, slot) = (domain.register().unwrap(), Arc::clone(&slot));
                thread::spawn(move || work(line, slot))
            })
            .collect();
        for _ in 0..rounds {
            replace(&slot, &mut limbo);
        }
        for thread in threads {
            thread.join().unwrap();
        }
        limbo.reclaim();
        assert_eq!(limbo.len(), 0, "with all readers gone, nothing may be left");
    });
}

fn replace(slot: &Slot, limbo: &mut Limbo) {
    slot.swap(Canary::boxed(), limbo);
    limbo.advance();
    limbo.reclaim();
}

fn two_batches(mut line: Line, slot: Slot) {
    read(&slot, &line.pin());
    read(&slot, &line.pin());
}

fn one_batch(mut line: Line, slot: Slot) {
    read(&slot, &line.pin());
}

fn batch_sleep_batch(mut line: Line, slot: Slot) {
    read(&slot, &line.pin());
    line.sleep();
    read(&slot, &line.pin());
}

#[test]
fn batches() {
    model(ALL, 1, 2, two_batches);
}

#[test]
fn sleep_and_wake() {
    model(ALL, 1, 2, batch_sleep_batch);
}

#[test]
fn two_readers() {
    model(ALL, 2, 1, one_batch);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_the_readers_fence_it_breaks() {
    model(Fences { reader: false, ..ALL }, 1, 1, one_batch);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_the_writers_fence_it_breaks() {
    model(Fences { writer: false, ..ALL }, 1, 1, one_batch);
}
