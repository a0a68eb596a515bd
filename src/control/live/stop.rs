//! The end: rings are emptied by forwarding, then the kernel forwards again. At most a moment's frames are lost.

use super::super::rings::Taken;
use super::Live;
use crate::port::post::{News, Order};
use std::time::{Duration, Instant};

/// How long a worker may take to forward what its rings hold. One that takes longer is stuck: the kernel is not kept waiting.
const DRAIN: Duration = Duration::from_millis(500);

impl Live {
    /// Gives everything back. Works as far as it can: after it the process ends, and with it the guard.
    pub(super) fn stop(&mut self) {
        self.taken.values().for_each(Taken::close_gates);
        let _ = self.parts.crew.order(|| Order::Stop);
        let begin = Instant::now();
        while !self.taken.values().all(Taken::is_back) {
            let Some(left) = DRAIN.checked_sub(begin.elapsed()) else { break };
            if let Ok(News::Returned(index, rx, _)) = self.parts.news.recv_timeout(left)
                && let Some(taken) = self.taken.get_mut(&index)
            {
                taken.returned(*rx);
            }
        }
        if let Err(error) = self.grip.let_go() {
            (self.parts.say)(&error.to_string());
        }
        for waiting in self.stopping.take().into_iter().flatten() {
            let _ = waiting.send(());
        }
    }
}
