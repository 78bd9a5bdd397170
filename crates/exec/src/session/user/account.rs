use std::{collections::BTreeMap, time::Duration};

use longshore_core::Timestamp;

use super::{shared_rate::SharedRate, time::SharedTime};
use crate::session::{EndReason, HubLimits, SessionEnd, UserTime};

/// What the sessions of one user have taken, and what they may take.
#[derive(Debug)]
pub(super) struct Account {
    rate: Option<SharedRate>,
    time: Option<SharedTime>,
    idle: Option<Duration>,
    /// When something came in or out of any of the sessions.
    active: Timestamp,
    /// The sessions by number, and whether they have not ended yet.
    members: BTreeMap<u64, bool>,
    next: u64,
}

impl Account {
    pub(super) fn is_needed(limits: &HubLimits) -> bool {
        limits.user_bandwidth.is_some() || limits.user_time.is_some() || limits.user_idle.is_some()
    }

    pub(super) fn new(limits: &HubLimits, now: Timestamp) -> Self {
        Self {
            rate: limits.user_bandwidth.map(|rate| SharedRate::new(rate, now)),
            time: limits.user_time.map(|time| SharedTime::new(time, now)),
            idle: limits.user_idle,
            active: now,
            members: BTreeMap::new(),
            next: 0,
        }
    }

    /// A session more; its number.
    pub(super) fn join(&mut self, now: Timestamp) -> u64 {
        let number = self.next;
        self.next += 1;
        self.members.insert(number, true);
        if let Some(rate) = &mut self.rate {
            rate.join(number, now);
        }
        if let Some(time) = &mut self.time {
            time.start(now);
        }
        self.active = self.active.max(now);
        number
    }

    /// A session has ended; it is kept, and what it said may still be read.
    pub(super) fn stop(&mut self, number: u64, now: Timestamp) {
        if let Some(running @ true) = self.members.get_mut(&number) {
            *running = false;
            if let Some(time) = &mut self.time {
                time.stop(now);
            }
        }
    }

    pub(super) fn leave(&mut self, number: u64, now: Timestamp) {
        self.stop(number, now);
        self.members.remove(&number);
        if let Some(rate) = &mut self.rate {
            rate.leave(number, now);
        }
    }

    pub(super) fn touch(&mut self, now: Timestamp) {
        self.active = self.active.max(now);
    }

    pub(super) fn has_idle(&self) -> bool {
        self.idle.is_some()
    }

    pub(super) fn rate(&mut self) -> Option<&mut SharedRate> {
        self.rate.as_mut()
    }

    /// Why no further session may begin: the limit, and when the next period does.
    pub(super) fn refusal(&mut self, now: Timestamp) -> Option<(UserTime, Timestamp)> {
        let time = self.time.as_mut()?;
        time.is_used_up(now)
            .then(|| (time.limit(), time.next_period()))
    }

    /// Why the sessions have to end now.
    pub(super) fn verdict(&mut self, now: Timestamp) -> Option<SessionEnd> {
        if let Some(time) = &mut self.time
            && time.is_used_up(now)
        {
            let UserTime { time, every } = time.limit();
            return Some(SessionEnd::new(EndReason::MaxDuration).with_text(format!(
                "the sessions of this user have run for {time:?} together, which is all they may \
                 within {every:?}"
            )));
        }
        let idle = self.idle?;
        (now >= self.active.after(idle)).then(|| {
            SessionEnd::new(EndReason::Idle).with_text(format!(
                "nothing came in or out of any session of this user for {idle:?}"
            ))
        })
    }

    /// When there may be a verdict.
    pub(super) fn deadline(&mut self, now: Timestamp) -> Option<Timestamp> {
        let idle = self.idle.map(|idle| self.active.after(idle));
        let time = self.time.as_mut().and_then(|time| time.deadline(now));
        [idle, time].into_iter().flatten().min()
    }

    /// Whether a new account would say the same.
    pub(super) fn is_even(&mut self, now: Timestamp) -> bool {
        self.members.is_empty()
            && self.rate.as_mut().is_none_or(|rate| rate.is_full(now))
            && self.time.as_mut().is_none_or(|time| time.is_unused(now))
    }

    /// How much of its time is used; `None` while it has sessions.
    pub(super) fn used_without_session(&self) -> Option<Duration> {
        let used = || self.time.as_ref().map(SharedTime::used);
        self.members.is_empty().then(|| used().unwrap_or_default())
    }
}
