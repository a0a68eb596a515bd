//! How many ICMP messages a host may be sent, shared by all workers without locks.
//!
//! One bucket per peer address (the kernel's `inet_peer`), each one atomic word {last event, tokens, redirects},
//! in a table of fixed size: when a peer finds no free place it reuses the oldest of its set. Time is in jiffies.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

/// Jiffies a second: the kernel's CONFIG_HZ, which decides how the limiter rounds.
pub const HZ: u64 = 250;
/// Tokens are capped at this many messages (XRLIM_BURST_FACTOR).
const BURST: u64 = 6;
/// A new peer behaves as one that was idle for so long.
const FRESH: u64 = 60 * HZ;
/// Places that one peer may take.
const WAYS: usize = 8;
/// `ip_rt_redirect_number`
const REDIRECT_NUMBER: u64 = 9;
/// `ip_rt_redirect_load`: 20 ms.
const REDIRECT_LOAD: u64 = HZ / 50;
/// `ip_rt_redirect_silence`: 20.48 s.
const REDIRECT_SILENCE: u64 = REDIRECT_LOAD << (REDIRECT_NUMBER + 1);
/// `ip_rt_error_cost` and `ip_rt_error_burst`: 1 s and 5 s.
const ERROR_COST: u64 = HZ;
const ERROR_BURST: u64 = 5 * HZ;

/// Nanoseconds to jiffies.
pub fn jiffies(now: u64) -> u64 {
    now / (1_000_000_000 / HZ)
}

/// One peer: `last` event in jiffies, `tokens` in jiffies, redirects sent since the last silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    last: u64,
    tokens: u64,
    redirects: u64,
}

const LAST_BITS: u32 = 40;
const TOKEN_BITS: u32 = 18;

impl Bucket {
    fn fresh(now: u64) -> Bucket {
        Bucket { last: now, tokens: 0, redirects: 0 }
    }

    fn pack(self) -> u64 {
        let mask = |bits: u32| (1u64 << bits) - 1;
        (self.last & mask(LAST_BITS))
            | (self.tokens.min(mask(TOKEN_BITS)) << LAST_BITS)
            | (self.redirects.min(63) << 58)
    }

    fn unpack(word: u64) -> Bucket {
        let mask = |bits: u32| (1u64 << bits) - 1;
        Bucket {
            last: word & mask(LAST_BITS),
            tokens: word >> LAST_BITS & mask(TOKEN_BITS),
            redirects: word >> 58,
        }
    }
}

struct Place {
    /// Hash of the peer, 0 while free.
    peer: AtomicU64,
    bucket: AtomicU64,
}

/// The buckets of all peers and the global credit.
pub struct Limits {
    places: Box<[Place]>,
    key: ahash::RandomState,
    credit: AtomicI64,
    stamp: AtomicU64,
    ids: AtomicU32,
}

/// What the limiter says of one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allowance {
    /// Send it.
    Send,
    /// The peer had its share (Icmp6OutRateLimitHost, IcmpOutRateLimitHost).
    Host,
    /// All peers together had theirs (IcmpOutRateLimitGlobal).
    Global,
}

impl Limits {
    /// A table for about `peers` peers, allocated once. `seed` hides identifications and spreads the peers.
    pub fn new(peers: usize, seed: u64) -> Limits {
        let places = peers.next_power_of_two().max(WAYS);
        let place = |_| Place { peer: AtomicU64::new(0), bucket: AtomicU64::new(0) };
        Limits {
            places: (0..places).map(place).collect(),
            key: ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(32), 0x5eed),
            credit: AtomicI64::new(0),
            stamp: AtomicU64::new(0),
            ids: AtomicU32::new(0),
        }
    }

    /// The per-peer token bucket: costs `timeout` jiffies, holds six of them. Linux: inet_peer_xrlim_allow.
    pub fn peer(&self, addr: IpAddr, timeout: u64, now: u64) -> bool {
        if timeout == 0 {
            return true;
        }
        self.change(addr, now, |b, elapsed| {
            let tokens = (b.tokens + elapsed).min(BURST * timeout);
            let ok = tokens >= timeout;
            (Bucket { tokens: if ok { tokens - timeout } else { tokens }, ..b }, ok)
        })
    }

    /// The bucket of ip_error for packets without a route, before the message meets [`Limits::peer`] as well.
    pub fn unreachable4(&self, addr: IpAddr, now: u64) -> bool {
        self.change(addr, now, |b, elapsed| {
            let tokens = (b.tokens + elapsed).min(ERROR_BURST);
            let ok = tokens >= ERROR_COST;
            (Bucket { tokens: if ok { tokens - ERROR_COST } else { tokens }, ..b }, ok)
        })
    }

    /// The backing-off schedule of IPv4 redirects. Linux: ip_rt_send_redirect.
    pub fn redirect4(&self, addr: IpAddr, now: u64) -> bool {
        self.change_last(addr, now, |mut b, elapsed| {
            if elapsed > REDIRECT_SILENCE {
                (b.redirects, b.tokens) = (0, 0);
            }
            if b.redirects >= REDIRECT_NUMBER {
                return (b, true, false);
            }
            let due = b.redirects == 0 || elapsed > REDIRECT_LOAD << b.redirects;
            if due {
                b.redirects += 1;
            }
            (b, due, due)
        })
    }

    /// The credit shared by both families and all peers. Linux: icmp_global_allow.
    pub fn global(&self, per_sec: i64, burst: i64, now: u64) -> bool {
        if self.credit.load(Ordering::Relaxed) > 0 {
            return true;
        }
        let stamp = self.stamp.load(Ordering::Relaxed);
        let elapsed = now.saturating_sub(stamp).min(HZ);
        if elapsed < HZ / 50 {
            return false;
        }
        let add = per_sec.saturating_mul(elapsed as i64) / HZ as i64;
        if add > 0 && self.stamp.compare_exchange(stamp, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let _ = self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                Some(old.saturating_add(add).min(burst))
            });
        }
        self.credit.load(Ordering::Relaxed) > 0
    }

    /// A message was sent. The kernel takes a random 0, 1 or 2 credits; one is their mean. Linux: icmp_global_consume.
    pub fn consume(&self) {
        self.credit.fetch_sub(1, Ordering::Relaxed);
    }

    /// An identification for a packet that we make and that may be fragmented (RFC 7739 asks that it not be guessed).
    pub fn next_id(&self, to: IpAddr) -> u16 {
        self.key.hash_one((to, self.ids.fetch_add(1, Ordering::Relaxed))) as u16
    }

    fn change(&self, addr: IpAddr, now: u64, f: impl Fn(Bucket, u64) -> (Bucket, bool)) -> bool {
        self.change_last(addr, now, |b, elapsed| {
            let (b, ok) = f(b, elapsed);
            (b, true, ok)
        })
    }

    /// Applies `f(bucket, elapsed) -> (new bucket, touch the time, answer)` by compare and swap.
    fn change_last(&self, addr: IpAddr, now: u64, f: impl Fn(Bucket, u64) -> (Bucket, bool, bool)) -> bool {
        // Moved on by FRESH, so that "sixty seconds ago" exists even at the start of time.
        let now = now + FRESH;
        let Some(place) = self.place(addr, now) else { return true };
        let mut old = place.bucket.load(Ordering::Relaxed);
        loop {
            let bucket = Bucket::unpack(old);
            let (mut new, touch, answer) = f(bucket, now.saturating_sub(bucket.last));
            if touch {
                new.last = now;
            }
            match place.bucket.compare_exchange_weak(old, new.pack(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return answer,
                Err(seen) => old = seen,
            }
        }
    }

    /// The peer's place; a new peer takes a free one of its set, else the one that was idle longest.
    fn place(&self, addr: IpAddr, now: u64) -> Option<&Place> {
        let hash = self.key.hash_one(addr) | 1;
        let sets = self.places.len() / WAYS;
        let first = (hash >> 1) as usize % sets * WAYS;
        let set = self.places.get(first..first + WAYS)?;
        if let Some(mine) = set.iter().find(|p| p.peer.load(Ordering::Relaxed) == hash) {
            return Some(mine);
        }
        let age = |p: &&Place| match p.peer.load(Ordering::Relaxed) {
            0 => 0,
            _ => 1 + Bucket::unpack(p.bucket.load(Ordering::Relaxed)).last,
        };
        let place = set.iter().min_by_key(age)?;
        place.bucket.store(Bucket::fresh(now - FRESH).pack(), Ordering::Relaxed);
        place.peer.store(hash, Ordering::Relaxed);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn allowed(l: &Limits, n: usize, timeout: u64, now: u64) -> usize {
        (0..n).filter(|_| l.peer(PEER, timeout, now)).count()
    }

    #[test]
    fn six_at_once_then_one_a_period() {
        let l = Limits::new(64, 1);
        assert_eq!(allowed(&l, 20, 25, 1000), 6);
        assert_eq!(allowed(&l, 20, 25, 1024), 0);
        assert_eq!(allowed(&l, 20, 25, 1025), 1);
        assert_eq!(allowed(&l, 20, 25, 1025 + 60 * HZ), 6);
        assert_eq!(allowed(&l, 20, 0, 1025 + 60 * HZ), 20, "no limit");
    }

    #[test]
    fn the_kernel_sends_two_network_unreachables_to_a_fresh_host() {
        // Each error is charged twice, once by ip_error and once by icmp_send, from the same bucket.
        let l = Limits::new(64, 1);
        let send = |now| l.unreachable4(PEER, now) && l.peer(PEER, HZ, now);
        assert_eq!((0..20).filter(|_| send(0)).count(), 2);
    }

    #[test]
    fn redirects_back_off_and_fall_silent() {
        let l = Limits::new(64, 1);
        let sent: Vec<u64> = (0..30 * HZ).filter(|&t| l.redirect4(PEER, t)).collect();
        assert_eq!(sent.len(), 9);
        let ms: Vec<u64> = sent.iter().map(|t| t * 1000 / HZ).collect();
        assert!(ms[1] >= 40 && ms[1] < 60 && ms[8] > 9000 && ms[8] < 11000, "{ms:?}");
    }

    #[test]
    fn a_full_set_gives_up_its_oldest() {
        let l = Limits::new(WAYS, 1);
        for i in 0..100u8 {
            let addr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, i));
            assert!(l.peer(addr, 25, u64::from(i)), "a new peer starts with credit");
        }
    }

    #[test]
    fn global_credit_is_refilled_after_twenty_milliseconds() {
        let l = Limits::new(8, 1);
        assert!(l.global(1000, 50, HZ), "a second has passed since the start");
        for _ in 0..50 {
            l.consume();
        }
        assert!(!l.global(1000, 50, HZ + 4));
        assert!(l.global(1000, 50, HZ + 5));
    }

    #[test]
    fn a_bucket_survives_packing() {
        let b = Bucket { last: 123_456_789, tokens: 15_000, redirects: 9 };
        assert_eq!(Bucket::unpack(b.pack()), b);
    }
}
