//! One other member.

use std::{sync::Arc, time::Duration};

use longshore_core::Timestamp;

use super::wire::Record;

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) record: Arc<Record>,
    /// While it is suspected.
    pub(super) suspicion: Option<Box<Suspicion>>,
    /// Since when it is gone.
    pub(super) lost_at: Option<Timestamp>,
}

/// Lifeguard's: the more members accuse on their own, the sooner the accused is declared dead.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    accusers: Vec<u64>,
    start: Timestamp,
    shortest: Duration,
    longest: Duration,
    pub(super) ends: Timestamp,
}

/// With so many accusers besides the first, it is as short as it gets.
const ENOUGH: usize = 3;

impl Suspicion {
    pub(super) fn new(accuser: u64, shortest: Duration, longest: Duration, now: Timestamp) -> Self {
        Self {
            accusers: vec![accuser],
            start: now,
            shortest,
            longest,
            ends: now.after(longest),
        }
    }

    /// Says whether this accuser is a new one that counts.
    pub(super) fn confirm(&mut self, accuser: u64) -> bool {
        if self.accusers.len() > ENOUGH || self.accusers.contains(&accuser) {
            return false;
        }
        self.accusers.push(accuser);
        let part = (self.accusers.len() as f64).ln() / ((ENOUGH + 1) as f64).ln();
        let shorter = (self.longest - self.shortest).mul_f64(part.min(1.0));
        self.ends = self.start.after(self.longest - shorter);
        true
    }
}
