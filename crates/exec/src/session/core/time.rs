//! Limits, deadlines and ends.

use std::time::Duration;

use longshore_core::Timestamp;

use super::{LEFT, PATIENCE, Phase, SLOW_END, SessionCore};
use crate::session::{EndReason, SessionEnd, ViewerId};

impl SessionCore {
    /// Ends the session for this reason. The process is closed; what it still says is told before
    /// the end, which comes ten seconds later at the latest. Where it takes more than one, the
    /// connections are told of it meanwhile. Whether this is the reason: the first one counts.
    pub fn terminate(&mut self, end: SessionEnd, now: Timestamp) -> bool {
        if self.phase == Phase::Ended || self.forced.is_some() {
            return false;
        }
        self.forced = Some(end);
        self.ending_at = Some(now.after(SLOW_END));
        self.settle(now);
        true
    }

    /// When [`handle_deadline`](Self::handle_deadline) has to be called.
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let mut next = None;
        let mut by = |at: Timestamp| next = Some(next.map_or(at, |next: Timestamp| next.min(at)));
        if self.phase == Phase::Ended {
            // Afterwards only the connections that have not heard the end keep it.
            let kept_until = self.ended_at.after(self.options.grace);
            if now < kept_until && !self.is_over(now) {
                by(kept_until);
            }
            return next;
        }
        if let Some(patience) = self.patience
            && (self.output_done || self.forced.is_some() || self.output_room() > 0)
        {
            by(patience);
        }
        if let Some(at) = self.ending_at {
            by(at);
        }
        if self.forced.is_some() {
            return next;
        }
        if let Some(until) = self.alone_until {
            by(until);
        }
        if let Some(idle) = self.options.idle {
            by(self.active.after(idle));
        }
        if let Some(longest) = self.options.longest {
            by(self.began.after(longest));
        }
        if let Some(at) = self.bandwidth.share().and_then(|share| share.deadline(now)) {
            by(at);
        }
        if !self.recheck_asked {
            by(self.recheck_at);
        }
        next
    }

    /// When a connection's output may go on that only a bandwidth holds back, its session's or its
    /// user's.
    pub fn next_output(&self, id: ViewerId) -> Option<Timestamp> {
        self.viewers.get(&id)?.held_until
    }

    /// As many of these bytes as the bandwidths let pass now, one at least; or when some may.
    #[cfg(feature = "gateway")]
    pub(in crate::session) fn take_bandwidth(
        &mut self,
        want: usize,
        now: Timestamp,
    ) -> Result<usize, Timestamp> {
        self.bandwidth.take(want, now)
    }

    /// Bytes that were taken and did not go.
    #[cfg(feature = "gateway")]
    pub(in crate::session) fn give_bandwidth_back(&mut self, bytes: usize) {
        self.bandwidth.give_back(bytes);
    }

    /// Time has passed.
    pub fn handle_deadline(&mut self, now: Timestamp) {
        if self.phase == Phase::Ended {
            return;
        }
        if let Some(patience) = self.patience
            && now >= patience
            && (self.output_done || self.forced.is_some() || self.output_room() > 0)
        {
            return self.conclude(now);
        }
        if self.ending_at.is_some_and(|at| now >= at) {
            (self.ending_at, self.tells_ending) = (None, true);
        }
        if self.forced.is_some() {
            return;
        }
        let passed = |since: Timestamp, limit: Option<Duration>| {
            limit.is_some_and(|limit| now >= since.after(limit))
        };
        if self.alone_until.is_some_and(|until| now >= until) {
            self.terminate(SessionEnd::new(EndReason::Lost).with_text(LEFT), now);
        } else if passed(self.began, self.options.longest) {
            self.terminate(SessionEnd::new(EndReason::MaxDuration), now);
        } else if passed(self.active, self.options.idle) {
            self.terminate(SessionEnd::new(EndReason::Idle), now);
        } else if let Some(end) = self.bandwidth.share().and_then(|share| share.verdict(now)) {
            self.terminate(end, now);
        } else if now >= self.recheck_at && !self.recheck_asked {
            self.recheck_asked = true;
        }
    }

    /// How the session is being ended, for a connection that has not been told. Who gave the session up
    /// knows.
    pub(super) fn untold_ending(&mut self, id: ViewerId) -> Option<SessionEnd> {
        let end = self.forced.as_ref().filter(|_| self.tells_ending)?;
        let knows = self.released && self.owner == Some(id);
        let told = &mut self.viewers.get_mut(&id)?.told_ending;
        let is_told = std::mem::replace(told, true);
        (!is_told && !knows).then(|| end.clone())
    }

    pub(super) fn settle(&mut self, now: Timestamp) {
        if self.phase == Phase::Ended {
            return;
        }
        match (&self.exit, self.output_done) {
            (Some(_), true) => self.conclude(now),
            (None, false) if self.forced.is_none() => {}
            _ => {
                self.patience.get_or_insert(now.after(PATIENCE));
            }
        }
    }

    /// Ends with what is known. The process's own code is told beside the reason of who ended it.
    fn conclude(&mut self, now: Timestamp) {
        let end = match (self.forced.take(), self.exit.take()) {
            (Some(forced), Some(known)) => SessionEnd {
                code: known.code,
                signal: known.signal,
                ..forced
            },
            (Some(end), None) | (None, Some(end)) => end,
            // The process or its output does not end by itself.
            (None, None) => SessionEnd::new(EndReason::Lost)
                .with_text("the output ended and the process's end was not learnt"),
        };
        self.finish(end, now);
    }

    pub(super) fn finish(&mut self, end: SessionEnd, now: Timestamp) {
        self.phase = Phase::Ended;
        self.end = Some(end);
        self.ended_at = now;
        self.input.close();
        self.trim();
    }
}
