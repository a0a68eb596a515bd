//! Tells for each frame whether it gets past a guard on `p0`.

use crate::net::{Raw, frame, run, veth};

/// Frames sent on `p1` arrive at `p0`, where the guard is. What it passes is carried on to `q1` by a chain behind it.
pub(crate) struct Gate {
    input: Raw,
    tap: Raw,
    output: Raw,
    frames: u32,
}

impl Gate {
    pub(crate) fn build() -> Self {
        veth("p0", "p1");
        veth("q0", "q1");
        run("nft add table netdev probe");
        run("nft add chain netdev probe in { type filter hook ingress device p0 priority 0 ; }");
        run("nft add rule netdev probe in fwd to q0");
        Self { input: Raw::open("p1"), tap: Raw::open("p0"), output: Raw::open("q1"), frames: 0 }
    }

    /// Whether the frame gets past the guard. A marked frame of an unknown protocol behind it tells when to stop waiting.
    pub(crate) fn passes(&mut self, sent: &[u8]) -> bool {
        self.frames += 1;
        let mark = frame(0x88b5, &[&self.frames.to_be_bytes()[..], &[0; 42]].concat());
        self.input.send(sent);
        self.input.send(&mark);
        let seen = self.tap.receive().len();
        assert!(
            seen == sent.len() || seen + 4 == sent.len(),
            "the tap saw {seen} bytes (4 less: a VLAN tag)"
        );
        while self.tap.receive() != mark {}
        let passed = self.output.receive() != mark;
        if passed {
            assert_eq!(self.output.receive(), mark);
        }
        passed
    }
}
