//! What the loop waits for, and what it does about it.

use super::super::sync::Changes;
use super::{LOOK_SOON, Live, LiveError, RENEWAL, Request, failed};
use crate::neigh::Ask;
use crate::port::post::News;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::time::Instant;

impl Live {
    /// Runs until told to stop. Then the kernel forwards.
    pub fn run(mut self) -> Result<(), LiveError> {
        let result = self.rounds();
        self.stop();
        result
    }

    fn rounds(&mut self) -> Result<(), LiveError> {
        while self.stopping.is_none() {
            // The hold first: after SIGCONT nothing may be renewed that has lapsed.
            self.keep_hold()?;
            self.read_news()?;
            self.follow_kernel()?;
            if self.watcher.changed().map_err(failed("watch for firewalls"))?
                || Instant::now() >= self.look_due
            {
                self.look = true;
            }
            if self.look {
                self.reconsider()?;
            }
            self.serve();
            self.sleep()?;
        }
        Ok(())
    }

    /// Renews the hold while every worker runs, and lets go when it has lapsed.
    fn keep_hold(&mut self) -> Result<(), LiveError> {
        if self.grip.lapsed() {
            (self.parts.say)(
                "no renewal for a second: the kernel forwards; taking over again with empty rings",
            );
            self.grip.let_go()?;
            for index in self.taken.keys().copied().collect::<Vec<_>>() {
                self.give_back(index)?;
            }
        }
        if self.renewed.elapsed() < RENEWAL {
            return Ok(());
        }
        self.renewed = Instant::now();
        let stuck = self.parts.crew.roll_call().map_err(failed("wake a worker"))?;
        if self.grip.holds() && stuck.is_empty() {
            self.grip.renew()?;
        }
        self.grip.after_publishing(&self.parts.crew)?;
        Ok(())
    }

    /// Wishes about neighbours, ports that come back, and what users want to read.
    pub(super) fn read_news(&mut self) -> Result<(), LiveError> {
        while let Ok(news) = self.parts.news.try_recv() {
            match news {
                News::Ask(Ask::Resolve { oif, next }) => self.parts.mirror.resolve(oif, next),
                News::Ask(Ask::Used { oif, next }) => self.parts.mirror.used(oif, next),
                News::Ask(Ask::Probe { oif, next }) => self.parts.mirror.probe(oif, next),
                News::Unused(tx) => drop(tx),
                News::Line(line) => (self.parts.say)(&line),
                News::Returned(index, rx, failed) => {
                    if let Some(error) = failed {
                        (self.parts.say)(&error.to_string());
                        self.give_back(index)?;
                    }
                    let last = self.taken.get_mut(&index).is_some_and(|taken| taken.returned(*rx));
                    if last {
                        self.given_back(index)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// All rings of the interface are empty and here: the kernel may have it.
    fn given_back(&mut self, index: u32) -> Result<(), LiveError> {
        let taken = self.taken.remove(&index);
        if self.taken.is_empty() && self.grip.holds() {
            self.grip.let_go()?;
        }
        self.grip.detach(index)?;
        drop(taken);
        if self.grip.holds() {
            self.say_forwarding();
        }
        self.look_due = Instant::now() + LOOK_SOON;
        Ok(())
    }

    fn follow_kernel(&mut self) -> Result<(), LiveError> {
        let Changes { snapshot, neighbours, links, .. } = self.parts.mirror.handle()?;
        if snapshot || self.unpublished {
            self.publish()?;
        }
        if neighbours {
            self.parts.crew.neighbours_changed().map_err(failed("wake a worker"))?;
        }
        self.look |= links;
        Ok(())
    }

    fn serve(&mut self) {
        while let Ok(request) = self.parts.requests.try_recv() {
            match request {
                Request::Look(look) => look(&mut self.parts.mirror),
                Request::Stop(then) => self.stopping.get_or_insert_default().extend(then),
            }
        }
    }

    /// Sleeps until something comes or the hold is to be renewed.
    fn sleep(&mut self) -> Result<(), LiveError> {
        if self.look || self.stopping.is_some() {
            return Ok(());
        }
        let look = self.look_due.saturating_duration_since(Instant::now());
        let renewal = RENEWAL.saturating_sub(self.renewed.elapsed());
        let due = renewal.min(look).min(self.parts.mirror.timeout());
        let limit = Timespec::try_from(due).ok();
        let parts = &self.parts;
        let fds = [parts.waker.as_fd(), parts.mirror.poll_fd(), self.watcher.as_fd()];
        let mut polled = fds.each_ref().map(|fd| PollFd::new(fd, PollFlags::IN));
        match poll(&mut polled, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(failed("wait for events")(error.into())),
        }
        parts.waker.take();
        Ok(())
    }
}
