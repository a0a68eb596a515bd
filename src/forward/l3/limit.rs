//! How many ICMP messages a host may be sent, shared by all workers without locks.
//!
//! One bucket per peer address (the kernel's `inet_peer`), each one atomic word {last event, tokens, redirects},
//! in a table of fixed size: when a peer finds no free place it reuses the oldest of its set. Time is in jiffies.

use rustix::time::{ClockId, clock_getres};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

/// Jiffies a second: the running kernel's CONFIG_HZ, which decides how the limiter rounds. Its coarse clocks advance by
/// jiffies and say so, to anyone and in every namespace. Linux: hrtimer_get_res, KTIME_LOW_RES.
static HZ: LazyLock<u64> = LazyLock::new(|| {
    let step = clock_getres(ClockId::MonotonicCoarse);
    hz(step.tv_sec.unsigned_abs() * 1_000_000_000 + step.tv_nsec.unsigned_abs())
});

/// Jiffies a second, where one lasts so many nanoseconds; 250 where that makes no sense.
fn hz(step: u64) -> u64 {
    let rounded = (1_000_000_000 + step / 2).checked_div(step).unwrap_or(0);
    if (24..=1200).contains(&rounded) { rounded } else { 250 }
}

/// A second in jiffies.
pub fn second() -> u64 {
    *HZ
}

/// Tokens are capped at this many messages (XRLIM_BURST_FACTOR).
const BURST: u64 = 6;
/// A new peer behaves as one that was idle for so many seconds.
const FRESH: u64 = 60;
/// Places that one peer may take.
const WAYS: usize = 8;
/// `ip_rt_redirect_number`
const REDIRECT_NUMBER: u64 = 9;
/// `ip_rt_error_burst` in `ip_rt_error_cost`, which is a second.
const ERROR_BURST: u64 = 5;

/// Nanoseconds to jiffies.
pub fn jiffies(now: u64) -> u64 {
    now / (1_000_000_000 / second())
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

    /// The per-peer token bucket: costs `timeout` jiffies, holds six of them. Within one jiffy messages of another cost leave
    /// in it what they found. Linux: inet_peer_xrlim_allow.
    pub fn peer(&self, addr: IpAddr, timeout: u64, now: u64) -> bool {
        if timeout == 0 {
            return true;
        }
        self.change(addr, now, |b, elapsed| {
            let tokens = if elapsed == 0 { b.tokens } else { (b.tokens + elapsed).min(BURST * timeout) };
            let ok = tokens >= timeout;
            (Bucket { tokens: if ok { tokens - timeout } else { tokens }, ..b }, ok)
        })
    }

    /// The bucket of ip_error for packets without a route, before the message meets [`Limits::peer`] as well.
    pub fn unreachable4(&self, addr: IpAddr, now: u64) -> bool {
        self.change(addr, now, |b, elapsed| {
            let cost = second();
            let tokens = (b.tokens + elapsed).min(ERROR_BURST * cost);
            let ok = tokens >= cost;
            (Bucket { tokens: if ok { tokens - cost } else { tokens }, ..b }, ok)
        })
    }

    /// The backing-off schedule of IPv4 redirects. Linux: ip_rt_send_redirect.
    pub fn redirect4(&self, addr: IpAddr, now: u64) -> bool {
        // `ip_rt_redirect_load`: 20 ms. `ip_rt_redirect_silence`: 20.48 s.
        let load = second() / 50;
        let silence = load << (REDIRECT_NUMBER + 1);
        self.change_last(addr, now, |mut b, elapsed| {
            if elapsed > silence {
                (b.redirects, b.tokens) = (0, 0);
            }
            if b.redirects >= REDIRECT_NUMBER {
                return (b, true, false);
            }
            let due = b.redirects == 0 || elapsed > load << b.redirects;
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
        let elapsed = now.saturating_sub(stamp).min(second());
        if elapsed < second() / 50 {
            return false;
        }
        let add = per_sec.saturating_mul(elapsed as i64) / second() as i64;
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
        let now = now + FRESH * second();
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
        place.bucket.store(Bucket::fresh(now - FRESH * second()).pack(), Ordering::Relaxed);
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
        assert_eq!(allowed(&l, 20, 25, 1025 + 60 * second()), 6);
        assert_eq!(allowed(&l, 20, 0, 1025 + 60 * second()), 20, "no limit");
    }

    #[test]
    fn costs_that_differ_share_a_bucket() {
        let (l, s) = (Limits::new(64, 1), second());
        // A redirect, an error and a redirect at once: the error leaves what the redirects need.
        assert!(l.peer(PEER, s, 1000) && l.peer(PEER, s / 10, 1000) && l.peer(PEER, s, 1000));
        // A jiffy later the error takes it down to what six errors cost.
        assert!(l.peer(PEER, s / 10, 1001) && !l.peer(PEER, s, 1001));
    }

    #[test]
    fn the_kernel_sends_two_network_unreachables_to_a_fresh_host() {
        // Each error is charged twice, once by ip_error and once by icmp_send, from the same bucket.
        let l = Limits::new(64, 1);
        let send = |now| l.unreachable4(PEER, now) && l.peer(PEER, second(), now);
        assert_eq!((0..20).filter(|_| send(0)).count(), 2);
    }

    #[test]
    fn redirects_back_off_and_fall_silent() {
        let l = Limits::new(64, 1);
        let sent: Vec<u64> = (0..30 * second()).filter(|&t| l.redirect4(PEER, t)).collect();
        assert_eq!(sent.len(), 9);
        let ms: Vec<u64> = sent.iter().map(|t| t * 1000 / second()).collect();
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
        let (l, s) = (Limits::new(8, 1), second());
        assert!(l.global(1000, 50, s), "a second has passed since the start");
        let take = |n| (0..n).for_each(|_| l.consume());
        take(50);
        assert!(!l.global(1000, 50, s + s / 50 - 1));
        assert!(l.global(1000, 50, s + s / 50), "twenty more");
        take(19);
        assert!(l.global(1000, 50, s + s / 50), "one is left, and it is enough");
        take(2);
        assert!(!l.global(1000, 50, s + s / 50), "below zero");
        // What the last message took too much is paid back: a second gives 50, and 49 are left.
        assert!(l.global(50, 50, 3 * s));
        take(49);
        assert!(!l.global(50, 50, 3 * s));
        assert!(!l.global(0, 50, 9 * s), "no rate, no refill");
    }

    #[test]
    fn a_jiffy_is_the_running_kernels() {
        assert_eq!([1_000_000, 3_333_333, 4_000_000, 10_000_000].map(hz), [1000, 300, 250, 100]);
        assert_eq!([0, 1, 10_000_000_000].map(hz), [250; 3], "not a jiffy");
        // The kernel's own second in jiffies, which only the first namespace shows.
        if let Ok(text) = std::fs::read_to_string("/proc/sys/net/ipv4/route/error_cost") {
            assert_eq!(text.trim().parse(), Ok(second()));
        }
        assert_eq!(jiffies(3_000_000_000), 3 * second());
    }

    #[test]
    fn a_bucket_fills_to_the_jiffy() {
        let l = Limits::new(64, 1);
        assert_eq!(allowed(&l, 6, 25, 1000), 6);
        // Between two messages the rest is kept: 24 and 1, then 50 for two.
        assert_eq!([1024, 1025, 1074, 1075].map(|now| allowed(&l, 3, 25, now)), [0, 1, 1, 1]);
        // The cap is six of this timeout: a short one takes from what a long one had, from the next jiffy on.
        let now = 1075 + 3 * second();
        assert_eq!(allowed(&l, 1, second(), now), 1);
        assert_eq!(allowed(&l, 1, 25, now + 1), 1, "501 jiffies, cut to 150");
        let rest = 125;
        let due = now + 1 + (second() - rest);
        assert_eq!([due - 1, due].map(|now| allowed(&l, 1, second(), now)), [0, 1]);
    }

    #[test]
    fn a_bucket_survives_packing() {
        let b = Bucket { last: 123_456_789, tokens: 15_000, redirects: 9 };
        assert_eq!(Bucket::unpack(b.pack()), b);
    }
}
