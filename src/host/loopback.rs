//! The loopback interface: what leaves by it comes in by it. Of IPv4 its route comes with it, so that no source is looked at;
//! of IPv6 as much of it as says where it is counted.
//! Linux: loopback_xmit, ip_rcv_finish_core.
//!
//! Only messages of this router to itself take this way, errors about packets that bear its own address first of all.
//! Called by whoever runs a host, before outputs are sent; those of lo are none for a port.

use super::Host;
use crate::forward::Forwarder;
use crate::forward::ctx::Env;
use crate::forward::ip4::{ecn_counter, options};
use crate::forward::observe::Unobserved;
use crate::frame::{Frame, Meta};
use crate::iface::Iface;
use crate::stats::Mib;
use crate::wire::eth::{ETHERTYPE_IPV4, EthHdr};
use crate::wire::ip4::Ip4Hdr;
use zerocopy::FromBytes;

/// Has the host hear what it said to itself. Outputs that follow from it are added. `batch` are the frames of the others.
pub fn hear(host: &mut Host, forwarder: &mut Forwarder, env: Env<'_>, batch: &[Frame<'_>]) {
    let Some(lo) = env.state.ifaces.loopback() else { return };
    let mut seen = 0;
    while seen < forwarder.out.len() {
        let new = forwarder.out.iter().skip(seen).filter(|o| o.oif == lo.index);
        let said: Vec<_> = new.map(|o| (o.slot, forwarder.out.bytes(o, batch).to_vec())).collect();
        seen = forwarder.out.len();
        for (slot, mut bytes) in said {
            let meta =
                Meta { iif: lo.index, wire_len: bytes.len() as u32, way: Some(slot), ..Meta::default() };
            let Some(frame) = Frame::new(&mut bytes, 0, meta) else { continue };
            if let Some((hdr, len)) = arrived4(env, lo, frame.bytes()) {
                let mut nobody = Unobserved;
                let mut act = forwarder.act(env, &mut nobody);
                for (mib, by) in
                    [(Mib::IpInReceives, 1), (Mib::IpExtInOctets, len), (ecn_counter(hdr.tos), 1)]
                {
                    act.stats.mib(mib, Some(lo.slot), by);
                }
                host.receive(&mut act, &frame.meta, frame.bytes());
                continue;
            }
            let mut frames = [frame];
            let before = forwarder.out.len();
            forwarder.batch(env, &mut frames, &mut Unobserved);
            forwarder.out.keep(before, &frames);
            if let ([_], [frame]) = (&forwarder.local[..], &frames) {
                host.receive(&mut forwarder.act(env, &mut Unobserved), &frame.meta, frame.bytes());
            }
        }
    }
}

/// The header of an IPv4 packet, and how long the packet is. Where a source route that is well made leads it on, it is none that
/// has arrived: for its next hop a way is looked for like that of any packet, and this host is no good source for one.
fn arrived4(env: Env<'_>, lo: &Iface, frame: &[u8]) -> Option<(Ip4Hdr, u64)> {
    let (eth, packet) = EthHdr::ref_from_prefix(frame).ok()?;
    let (hdr, _) = Ip4Hdr::read_from_prefix(packet).ok()?;
    let goes_on = options::leads_on(packet) && options::again(env, lo, packet).is_some();
    (eth.ethertype.get() == ETHERTYPE_IPV4 && !goes_on).then_some((hdr, packet.len() as u64))
}
