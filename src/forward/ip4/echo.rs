//! The options that an ICMP message repeats from the packet that it is about: records of the route and of times go on,
//! source routes are turned round. RFC 1122 3.2.2, RFC 1812 4.3.2.6; Linux: __ip_options_echo, ip_options_build.
//!
//! Made when the options were read, finished by `icmp` when the message's own address is known.

use super::super::ctx::{Env, Nanos};
use super::addr;
use super::options::{Options, milliseconds};
use crate::wire::ip4::{Ip4Hdr, opt};
use arrayvec::ArrayVec;
use std::net::Ipv4Addr;
use zerocopy::FromBytes;

/// Where the source route and the records have their length and pointer.
const LEN: usize = 1;
const POINTER: usize = 2;

/// Options of a message, whole but for our own address and the time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Echo {
    bytes: ArrayVec<u8, 40>,
    /// Where our address is to stand.
    ours: ArrayVec<usize, 2>,
    /// Where the time is to stand.
    time: Option<usize>,
    /// The first hop of the turned source route: the message goes there.
    pub first_hop: Option<Ipv4Addr>,
}

impl Echo {
    /// What is repeated of these options; `None` if a record has no whole place left, and then nothing is sent.
    pub fn of(env: Env<'_>, options: &Options) -> Option<Echo> {
        let mut echo = Echo::default();
        echo.record(options)?;
        echo.timestamp(env, options)?;
        echo.source_route(options);
        if let Some(label) = options.cipso {
            echo.append(options.option(label));
        }
        while !echo.bytes.len().is_multiple_of(4) {
            echo.append(&[opt::END]);
        }
        Some(echo)
    }

    /// Bytes of options.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The options with our address and the time filled in.
    pub fn finish(&self, ours: Ipv4Addr, wall: Nanos) -> ArrayVec<u8, 40> {
        let mut bytes = self.bytes.clone();
        let places = self.ours.iter().map(|&at| (at, ours.octets()));
        for (at, value) in places.chain(self.time.map(|at| (at, milliseconds(wall)))) {
            if let Some(place) = bytes.get_mut(at..at + value.len()) {
                place.copy_from_slice(&value);
            }
        }
        bytes
    }

    /// Appends what fits; options of one header always do.
    fn append(&mut self, bytes: &[u8]) -> usize {
        let start = self.bytes.len();
        let _ = self.bytes.try_extend_from_slice(bytes);
        start
    }

    fn set_pointer(&mut self, start: usize, pointer: usize) {
        if let Some(byte) = self.bytes.get_mut(start + POINTER) {
            *byte = pointer as u8;
        }
    }

    fn record(&mut self, o: &Options) -> Option<()> {
        let Some(at) = o.record_route else { return Some(()) };
        let (len, pointer) = (o.byte(at + LEN), o.byte(at + POINTER));
        let start = self.append(o.option(at));
        if o.needs_route_address && pointer <= len {
            if pointer + 3 > len {
                return None;
            }
            self.set_pointer(start, pointer + 4);
            self.ours.push(start + pointer - 1);
        }
        Some(())
    }

    fn timestamp(&mut self, env: Env<'_>, o: &Options) -> Option<()> {
        let Some(at) = o.timestamp else { return Some(()) };
        let (len, mut pointer) = (o.byte(at + LEN), o.byte(at + POINTER));
        let start = self.append(o.option(at));
        if pointer > len {
            return Some(());
        }
        let (mut address, mut time) = (false, false);
        if o.needs_time_address {
            if pointer + 3 > len {
                return None;
            }
            (address, pointer) = (true, pointer + 4);
        }
        if o.needs_time {
            if pointer + 3 > len {
                return None;
            }
            if o.byte(at + 3) & 15 != 3 {
                (time, pointer) = (true, pointer + 4);
            } else if pointer + 7 <= len
                && o.address(at + pointer - 1).is_some_and(|listed| addr::is_special(env, listed))
            {
                (time, pointer) = (true, pointer + 8);
            }
        }
        self.set_pointer(start, pointer);
        if address {
            self.ours.push((start + pointer).saturating_sub(9));
        }
        if time {
            self.time = Some((start + pointer).saturating_sub(5));
        }
        Some(())
    }

    /// The hops so far, the last first, and the sender behind them.
    fn source_route(&mut self, o: &Options) {
        let Some(at) = o.source_route_at() else { return };
        let Ok((header, _)) = Ip4Hdr::ref_from_prefix(&o.header) else { return };
        let pointer = o.byte(at + POINTER).min(o.byte(at + LEN) + 1);
        let places = std::iter::successors(pointer.checked_sub(4), |place| place.checked_sub(4));
        let hops = places.take_while(|&place| place > 3).filter_map(|place| o.address(at + place - 1));
        let mut hops: ArrayVec<Ipv4Addr, 9> = hops.take(9).collect();
        // RFC 1812 5.2.4: a sender that named itself first is not named twice.
        if hops.last() == Some(&header.src()) {
            hops.pop();
        }
        let Some((first, rest)) = hops.split_first() else { return };
        self.first_hop = Some(*first);
        self.append(&[o.byte(at) as u8, 3 + 4 * hops.len() as u8, 4]);
        for hop in rest.iter().chain([&header.src()]) {
            self.append(&hop.octets());
        }
    }
}
