//! The lease behind a candidacy, by the candidate's own clock. Pure.

use std::time::Duration;

use longshore_core::{Lease, LeaseId, Timestamp};

/// A lease that is held, as far as its holder can know.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) id: LeaseId,
    ttl: Duration,
    margin: Duration,
    /// Until when it counts: always reckoned from before the request was sent that the store
    /// answered, and short of the end by the margin.
    pub(super) valid_until: Timestamp,
    /// When to ask for more time.
    pub(super) renew_at: Timestamp,
    /// When the last answered renewal was sent, until the lock was seen to be ours after it.
    pub(super) unverified: Option<Timestamp>,
}

impl Held {
    pub(super) fn new(lease: &Lease, sent: Timestamp, margin: f64, jitter: f64) -> Self {
        let margin = lease.ttl.mul_f64(margin);
        let mut held = Self {
            id: lease.id,
            ttl: lease.ttl,
            margin,
            valid_until: sent,
            renew_at: sent,
            unverified: None,
        };
        held.extend(sent, jitter);
        held
    }

    /// Counts from `sent`; the next renewal is due a third of the time to live later, ±10 %.
    pub(super) fn extend(&mut self, sent: Timestamp, jitter: f64) {
        let until = sent.after(self.ttl.saturating_sub(self.margin));
        self.valid_until = self.valid_until.max(until);
        self.renew_at = sent.after((self.ttl / 3).mul_f64(0.9 + 0.2 * jitter));
        self.unverified = None;
    }

    /// Between tries that fail.
    pub(super) fn retry(&self) -> Duration {
        self.ttl / 15
    }

    pub(super) fn is_valid(&self, now: Timestamp) -> bool {
        now < self.valid_until
    }
}
