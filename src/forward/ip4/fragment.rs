//! Cutting a packet to an MTU. RFC 791 3.2; Linux: ip_do_fragment, ip_frag_next, ip_options_fragment.

use super::super::act::Act;
use super::super::decision::{Egress, Wait};
use super::super::observe::Observer;
use crate::drop::DropReason as D;
use crate::frame::Offload;
use crate::iface::Iface;
use crate::stats::Mib;
use crate::wire::eth::BROADCAST;
use crate::wire::ip4::{FRAG_MF, FRAG_OFFSET, Ip4Hdr, opt};
use arrayvec::ArrayVec;
use zerocopy::{FromBytes, IntoBytes};

/// Where the pieces go.
#[derive(Clone, Copy)]
pub enum Way<'d, 'a> {
    /// To a next hop whose address is known.
    Send(&'d Egress<'a>),
    /// Into the hold queue.
    Hold(&'d Wait<'a>),
}

impl<'a> Way<'_, 'a> {
    fn oif(&self) -> &'a Iface {
        match self {
            Way::Send(egress) => egress.oif,
            Way::Hold(wait) => wait.oif,
        }
    }
}

/// Sends `packet` (from its IP header on, TTL already lowered) in pieces of at most `mtu` bytes.
pub fn fragment<'a, O: Observer>(
    act: &mut Act<'a, '_, O>,
    packet: &[u8],
    mtu: u32,
    way: Way<'_, 'a>,
    iif: &Iface,
) {
    let oif = way.oif();
    let Ok((hdr, _)) = Ip4Hdr::ref_from_prefix(packet) else { return };
    let Some((header, data)) = packet.split_at_checked(hdr.ihl()) else { return };
    let whole = (mtu as usize).saturating_sub(header.len());
    let room = whole & !7;
    if room < 8 {
        return act.refuse(D::V4FragmentMtu, Some(iif.slot), Some(oif.slot));
    }
    let (first, last_more) = (hdr.frag_offset(), hdr.more_fragments());
    let mut copied: ArrayVec<u8, 60> = header.iter().copied().collect();
    if first == 0 {
        blank_uncopied(&mut copied);
    }
    act.rule(if first == 0 && !last_more {
        "fragments: of a whole packet"
    } else {
        "fragments: of a fragment"
    });
    act.rule_if(copied.as_slice() != header, "fragments: options in the first alone");
    let (mut done, mut pieces) = (0, 0);
    while done < data.len() {
        // Only what another piece follows ends at a multiple of eight bytes.
        let end = if data.len() - done <= whole { data.len() } else { done + room };
        let more = last_more || end < data.len();
        let header = if done == 0 { header } else { &copied };
        let piece = data.get(done..end).unwrap_or_default();
        let frag = (((first + done) / 8) as u16 & FRAG_OFFSET) | if more { FRAG_MF } else { 0 };
        if !send(act, &way, iif, header, piece, frag) {
            act.stats.mib(Mib::IpFragFails, Some(oif.slot), 1);
            return act.count_drop(D::NoScratch, None, None);
        }
        if !oif.carrier {
            // A link that takes nothing fails the first piece, and then the packet.
            return act.stats.mib(Mib::IpFragFails, Some(oif.slot), 1);
        }
        pieces += 1;
        done = end;
    }
    act.stats.mib(Mib::IpFragCreates, Some(oif.slot), pieces);
    act.stats.mib(Mib::IpFragOKs, Some(oif.slot), 1);
}

/// Options that are not for every fragment become NOPs; the header keeps its length. Linux: ip_options_fragment.
fn blank_uncopied(header: &mut ArrayVec<u8, 60>) {
    let mut at = Ip4Hdr::LEN;
    while let Some(&kind) = header.get(at) {
        let len = match kind {
            opt::END => return,
            opt::NOP => 1,
            _ => header.get(at + 1).map_or(0, |&l| usize::from(l)),
        };
        if len == 0 || (kind != opt::NOP && len < 2) {
            return;
        }
        if kind & opt::COPIED == 0
            && let Some(bytes) = header.get_mut(at..at + len)
        {
            bytes.fill(opt::NOP);
        }
        at += len;
    }
}

fn send<'a, O: Observer>(
    act: &mut Act<'a, '_, O>,
    way: &Way<'_, 'a>,
    iif: &Iface,
    header: &[u8],
    data: &[u8],
    frag: u16,
) -> bool {
    let (oif, len) = (way.oif(), header.len() + data.len());
    let Some(made) = act.make(oif, len) else { return false };
    let Some((head, body)) = made.packet.split_at_mut_checked(header.len()) else { return false };
    head.copy_from_slice(header);
    body.copy_from_slice(data);
    if let Ok((h, options)) = Ip4Hdr::mut_from_prefix(head) {
        h.total_len.set(len as u16);
        h.frag.set(frag);
        h.set_checksum(options.as_bytes());
    }
    let place = made.place;
    act.stats.mib(Mib::IpOutTransmits, Some(oif.slot), 1);
    act.stats.mib(Mib::IpExtOutOctets, Some(oif.slot), len as u64);
    // Only a broadcast has this address. Linux: ip_finish_output2.
    if matches!(way, Way::Send(egress) if egress.lladdr == BROADCAST) {
        act.stats.mib(Mib::IpExtOutBcastPkts, Some(oif.slot), 1);
        act.stats.mib(Mib::IpExtOutBcastOctets, Some(oif.slot), len as u64);
    }
    match way {
        Way::Send(egress) => act.send_made_to(egress, place),
        Way::Hold(wait) => act.hold_made(wait, place, Offload::default(), iif),
    }
    true
}
