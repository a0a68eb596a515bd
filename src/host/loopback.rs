//! The loopback interface: what leaves by it comes in by it. Linux: loopback_xmit.
//!
//! Only messages of this router to itself take this way, errors about packets that bear its own address first of all.
//! Called by whoever runs a host, before outputs are sent; those of lo are none for a port.

use super::Host;
use crate::forward::Forwarder;
use crate::forward::ctx::Env;
use crate::forward::observe::Unobserved;
use crate::frame::{Frame, Meta};

/// Has the host hear what it said to itself. Outputs that follow from it are added. `batch` are the frames of the others.
pub fn hear(host: &mut Host, forwarder: &mut Forwarder, env: Env<'_>, batch: &[Frame<'_>]) {
    let Some(lo) = env.state.ifaces.loopback() else { return };
    let mut seen = 0;
    while seen < forwarder.out.len() {
        let new = forwarder.out.iter().skip(seen).filter(|o| o.oif == lo.index);
        let said: Vec<Vec<u8>> = new.map(|o| forwarder.out.bytes(o, batch).to_vec()).collect();
        seen = forwarder.out.len();
        for mut bytes in said {
            let meta = Meta { iif: lo.index, wire_len: bytes.len() as u32, ..Meta::default() };
            let Some(frame) = Frame::new(&mut bytes, 0, meta) else { continue };
            let mut frames = [frame];
            forwarder.batch(env, &mut frames, &mut Unobserved);
            if let ([_], [frame]) = (&forwarder.local[..], &frames) {
                host.receive(&mut forwarder.act(env, &mut Unobserved), &frame.meta, frame.bytes());
            }
        }
    }
}
