//! Damaged frames: no panic, and no byte outside the frame is read into the output or written to.

use super::frames::{Rng, damage, frame, plan};
use super::router::Router;
use warren::frame::PktType;

/// Bytes around the frame that must stay as they are.
const FENCE: usize = 32;

#[test]
fn damaged_frames_are_survived() {
    let (frames, seed) = plan();
    let mut r = Rng(seed ^ 0xda3a6e);
    let mut router = Router::new(false);
    let mut longest = 0;
    for n in 0..frames {
        let (mut bytes, mut meta) = frame(&mut r);
        damage(&mut r, &mut bytes);
        if r.below(10) == 0 {
            meta.pkt_type = [PktType::Broadcast, PktType::Multicast, PktType::OtherHost][r.below(3) as usize];
        }
        let (sent, _) = router.batch(&mut [bytes.clone()], meta);
        for (oif, out) in &sent {
            // What leaves is the frame, a piece of it, or an error about it that quotes it.
            let error = out.len() <= 14 + 1280;
            assert!(out.len() <= bytes.len() || error, "frame {n} of seed {seed} grew: {bytes:02x?}");
            // By lo go messages to the router itself, about packets that bear its own address.
            assert!((1..=4).contains(oif), "frame {n} of seed {seed} left by {oif}");
            longest = longest.max(out.len());
        }
        while router.forwarder.hold.take(|_| Some(())).is_some() {}
    }
    println!("{frames} damaged frames survived, the longest output had {longest} bytes");
}

#[test]
fn memory_around_a_frame_is_left_alone() {
    let (frames, seed) = plan();
    let mut r = Rng(seed ^ 0xfe9ce);
    let mut router = Router::new(false);
    for n in 0..frames / 10 {
        let (mut bytes, meta) = frame(&mut r);
        damage(&mut r, &mut bytes);
        let len = bytes.len();
        let mut memory = vec![0xa5; FENCE];
        memory.extend(&bytes);
        memory.extend([0x5a; FENCE]);
        router.inside(&mut memory, FENCE..FENCE + len, meta);
        let fences =
            memory[..FENCE].iter().all(|&b| b == 0xa5) && memory[FENCE + len..].iter().all(|&b| b == 0x5a);
        assert!(fences, "frame {n} of seed {seed} was written outside: {bytes:02x?}");
        while router.forwarder.hold.take(|_| Some(())).is_some() {}
    }
}
