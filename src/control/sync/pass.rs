//! Loads and audits: one pass over everything the kernel has, in slices.
//!
//! Invariant: a load follows the kernel without counting, and events wait in the socket until it is over; an audit lets events
//! through between slices and counts what it repairs. Routes are read from a socket of the pass's own, so that the others
//! stay usable and giving a pass up costs nothing. Called by the mirror.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use warren_fib::Prefix;

use super::audit::{Audit, Small};
use super::convert::{self, Addr};
use super::sweep::{self, Compared, Key, Sweep};
use super::{BACKOFF, Mirror, PATIENCE, SyncError, clock};
use crate::control::netlink::{Error, Family, Socket};

/// Pause between the slices of an audit.
pub(super) const PAUSE: Duration = Duration::from_millis(5);
/// Pause between two audits.
const BETWEEN: Duration = Duration::from_secs(60);
/// Datagrams of some 200 routes in a slice of a load, and of an audit.
const LOAD_SLICE: usize = 32;
const AUDIT_SLICE: usize = 4;

/// What comes when nothing is in progress.
#[derive(Debug)]
pub(super) struct Rest {
    at: Instant,
    load: bool,
    backoff: Duration,
    last_error: String,
}

impl Rest {
    /// A load after `wait`.
    pub(super) fn load(now: Instant, wait: Duration) -> Self {
        Self { at: now + wait, load: true, backoff: BACKOFF.0, last_error: String::new() }
    }

    /// When it begins.
    pub(super) fn until(&self) -> Instant {
        self.at
    }

    /// Makes an audit begin no later than after `wait`.
    pub(super) fn hurry(&mut self, wait: Duration) {
        if !self.load {
            self.at = self.at.min(Instant::now() + wait);
        }
    }
}

#[derive(Debug)]
enum Stage {
    Small(&'static [Small]),
    Routes4(Sweep<Ipv4Addr>),
    Routes6(Sweep<Ipv6Addr>),
}

/// One pass in progress.
#[derive(Debug)]
pub(super) struct Pass {
    load: bool,
    stage: Stage,
    dumps: Socket,
    audit: Audit,
    /// A family has hit a limit during this pass.
    failed: [bool; 2],
}

impl Pass {
    /// Whether it is a load.
    pub(super) fn is_load(&self) -> bool {
        self.load
    }
}

impl Mirror {
    /// Goes on with the pass in progress by a slice, or begins one if it is time.
    pub(super) fn run_pass(&mut self) -> Result<(), SyncError> {
        let mut pass = match self.pass.take() {
            Some(pass) => pass,
            None if Instant::now() < self.rest.at => return Ok(()),
            None => self.begin()?,
        };
        if !pass.load && self.disturbed.all {
            // Much has changed in silence: what was compared is worth nothing, but what was repaired counts.
            self.carried = Audit { checked: 0, ..pass.audit };
            self.rest.at = Instant::now() + BACKOFF.0;
            return Ok(());
        }
        match self.step(&mut pass) {
            Ok(false) if pass.load || self.synced => self.pass = Some(pass),
            // Events were lost meanwhile, and a load is due.
            Ok(_) if !pass.load && !self.synced => {}
            Ok(_) => self.finish(pass),
            Err(SyncError::Netlink(
                error @ (Error::Interrupted { .. }
                | Error::Overrun
                | Error::Malformed { .. }
                | Error::Refused { .. }),
            )) => self.again(pass.load, &error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<Pass, SyncError> {
        let load = self.rest.load;
        if load {
            // What waits is older than the dumps that follow.
            let mut old = Vec::new();
            loop {
                old.clear();
                match self.events.try_recv(&mut old) {
                    Ok(false) => break,
                    Ok(true) | Err(Error::Overrun | Error::Malformed { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.disturbed = super::Disturbed { wanted: true, ..Default::default() };
        let stage = Stage::Small(&Small::ALL);
        let audit = std::mem::take(&mut self.carried);
        Ok(Pass { load, stage, dumps: Socket::open()?, audit, failed: [false; 2] })
    }

    /// One slice; true if the pass is over.
    fn step(&mut self, pass: &mut Pass) -> Result<bool, SyncError> {
        match &mut pass.stage {
            Stage::Small([kind, rest @ ..]) => {
                if pass.load {
                    self.check(*kind, true)?;
                } else {
                    self.audit_small(*kind, &mut pass.audit)?;
                }
                pass.stage = Stage::Small(rest);
            }
            Stage::Small([]) => {
                pass.dumps.begin_routes(Family::V4)?;
                pass.stage = Stage::Routes4(Sweep::new(pass.load));
            }
            Stage::Routes4(sweep) => {
                let mut slice = Slice { load: pass.load, dumps: &mut pass.dumps, audit: &mut pass.audit };
                if self.slice(sweep, &mut slice, &mut pass.failed)? {
                    pass.dumps.begin_routes(Family::V6)?;
                    pass.stage = Stage::Routes6(Sweep::new(pass.load));
                }
            }
            Stage::Routes6(sweep) => {
                let mut slice = Slice { load: pass.load, dumps: &mut pass.dumps, audit: &mut pass.audit };
                return self.slice(sweep, &mut slice, &mut pass.failed);
            }
        }
        Ok(false)
    }

    /// A slice of a family's routes; true at their end.
    fn slice<A: Addr>(
        &mut self,
        sweep: &mut Sweep<A>,
        slice: &mut Slice<'_>,
        failed: &mut [bool; 2],
    ) -> Result<bool, SyncError> {
        let mut errors = Vec::new();
        let mut more = true;
        let count = if slice.load { LOAD_SLICE } else { AUDIT_SLICE };
        for _ in 0..count {
            let mut routes = Vec::new();
            let now = clock();
            more = slice.dumps.more_routes(|msg| routes.extend(convert::route::<A>(&msg, now)))?;
            for route in routes {
                self.note(&route);
                errors.extend(sweep.take(route, &mut self.writer).err());
            }
            if !more {
                errors.extend(sweep.end(&mut self.writer).err());
                break;
            }
        }
        self.changes.routes |= slice.load;
        self.writer.publish_routes();
        if !more {
            slice.audit.checked += sweep.seen();
            if slice.load {
                self.remove_surplus(sweep, &mut errors);
            } else {
                self.drain()?;
                self.judge(sweep, slice.audit, &mut errors);
            }
        }
        for error in errors {
            if let Some(failed) = failed.get_mut(A::FAMILY as usize) {
                *failed = true;
            }
            self.failed(A::FAMILY, &error);
        }
        Ok(!more)
    }

    /// After a load's dump: what it did not show is gone. Not so in IPv6 while something changes: the kernel's walk may then
    /// pass over a route that stays.
    fn remove_surplus<A: Addr>(&mut self, sweep: &Sweep<A>, errors: &mut Vec<crate::state::StateError>) {
        if A::V6 && self.events_wait() {
            return;
        }
        for key in sweep.surplus(&self.writer) {
            errors.extend(sweep::repair(&mut self.writer, key, &[]).err());
        }
    }

    /// After an audit's dump: repairs what differs and was not touched by an event since the dump began.
    fn judge<A: Addr>(
        &mut self,
        sweep: &mut Sweep<A>,
        audit: &mut Audit,
        errors: &mut Vec<crate::state::StateError>,
    ) {
        if self.disturbed.all || !self.synced {
            return;
        }
        let mut suspects = std::mem::take(&mut sweep.suspects);
        if !A::V6 || self.disturbed.v6.is_empty() {
            suspects.extend(sweep.surplus(&self.writer).into_iter().map(|key| (key, Vec::new())));
        }
        for (key, dumped) in suspects {
            if self.is_disturbed(key) {
                continue;
            }
            let have = sweep::part(&self.writer, key);
            let compared = sweep::compare(&have, &dumped);
            if compared == Compared::Same {
                continue;
            }
            if compared == Compared::Different {
                audit.differs(sweep::describe(key, &have, &dumped));
            }
            self.changes.routes = true;
            errors.extend(sweep::repair(&mut self.writer, key, &dumped).err());
        }
    }

    fn is_disturbed<A: Addr>(&self, (table, dst, _): Key<A>) -> bool {
        match dst.addr().into() {
            IpAddr::V4(addr) => {
                Prefix::new(addr, dst.len()).is_ok_and(|dst| self.disturbed.v4.contains(&(table, dst)))
            }
            IpAddr::V6(addr) => {
                Prefix::new(addr, dst.len()).is_ok_and(|dst| self.disturbed.v6.contains(&(table, dst)))
            }
        }
    }

    /// Whether an event waits in the socket.
    fn events_wait(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut fds = [PollFd::new(&self.events, PollFlags::IN)];
        poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }

    fn finish(&mut self, pass: Pass) {
        self.disturbed = super::Disturbed::default();
        self.told.ask();
        for (reason, failed) in self.reasons.routes.iter_mut().zip(pass.failed) {
            if !failed {
                *reason = None;
            }
        }
        let wait = match () {
            // What changed during the dumps may have been missed.
            () if pass.load && self.events_wait() => BACKOFF.1,
            () if pass.failed.contains(&true) => 10 * BACKOFF.1,
            () if self.doubts.remain() => BACKOFF.0,
            () => BETWEEN,
        };
        self.rest =
            Rest { at: Instant::now() + wait, load: false, backoff: BACKOFF.0, last_error: String::new() };
        if pass.load {
            self.synced = true;
            self.withdrawing = true;
        } else if wait == BACKOFF.0 {
            self.carried = pass.audit;
        } else {
            self.counts.audits += 1;
            self.counts.divergence += pass.audit.repaired as u64;
            self.last_audit = Some(pass.audit);
        }
    }

    /// The pass failed; it is tried again after a while.
    fn again(&mut self, load: bool, error: &Error) {
        let backoff = self.rest.backoff;
        let load = load || !self.synced;
        self.rest = Rest {
            at: Instant::now() + backoff,
            load,
            backoff: (backoff * 2).min(BACKOFF.1),
            last_error: error.to_string(),
        };
    }

    /// Events were lost: everything must be loaded again.
    pub(super) fn lost(&mut self) {
        self.synced = false;
        self.pass = None;
        self.counts.resyncs += 1;
        self.again(true, &Error::Overrun);
    }

    /// One step of a caller that waits for a pass begun at `start`.
    pub(super) fn patient(&mut self, start: Instant) -> Result<(), SyncError> {
        if start.elapsed() > PATIENCE {
            return Err(SyncError::NeverSettled { last: self.rest.last_error.clone() });
        }
        if self.pass.is_none() {
            std::thread::sleep(self.rest.at.saturating_duration_since(Instant::now()).min(BACKOFF.1));
        }
        self.run_pass()
    }

    /// Compares everything with fresh dumps, repairs what differs, and says what that was. Takes as long as dumping takes.
    ///
    /// # Errors
    /// [`SyncError`] if netlink fails, or links change all the time.
    pub fn audit_now(&mut self) -> Result<Audit, SyncError> {
        let start = Instant::now();
        self.pass = self.pass.take().filter(Pass::is_load);
        self.last_audit = None;
        loop {
            self.rest.hurry(Duration::ZERO);
            if self.synced {
                self.drain()?;
                self.refresh()?;
            }
            if self.doubts.any() {
                std::thread::sleep(PAUSE);
            }
            self.patient(start)?;
            if let Some(audit) = self.last_audit.take() {
                return Ok(audit);
            }
        }
    }
}

/// What a slice of routes works with.
struct Slice<'a> {
    load: bool,
    dumps: &'a mut Socket,
    audit: &'a mut Audit,
}
