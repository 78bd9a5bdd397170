//! What a leader knows of the others.

use std::collections::VecDeque;

use longshore_core::Timestamp;

use super::{RaftTimes, Snapshot};

#[derive(Debug)]
pub(super) struct Leading {
    pub(super) peers: Vec<Progress>,
    /// The first entry of this term.
    pub(super) first: u64,
    /// The last round of heartbeats.
    pub(super) round: u64,
    /// What waits for a round: which, the question, and what was agreed on then.
    pub(super) asked: VecDeque<(u64, u64, u64)>,
    pub(super) heartbeat_due: Timestamp,
    pub(super) since: Timestamp,
    times: RaftTimes,
}

#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) matched: u64,
    pub(super) next: u64,
    /// When entries were sent that are not answered yet.
    pub(super) sent: Option<Timestamp>,
    pub(super) round: u64,
    pub(super) heard: Timestamp,
    pub(super) counts: bool,
    pub(super) transfer: Option<Transfer>,
}

/// A snapshot on its way.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) snapshot: Snapshot,
    pub(super) offset: u64,
}

impl Leading {
    pub(super) fn new(count: usize, first: u64, times: RaftTimes, now: Timestamp) -> Self {
        let progress = Progress {
            matched: 0,
            next: first,
            sent: None,
            round: 0,
            heard: now,
            counts: true,
            transfer: None,
        };
        Self {
            peers: vec![progress; count],
            first,
            round: 0,
            asked: VecDeque::new(),
            heartbeat_due: now,
            since: now,
            times,
        }
    }

    /// Notes a question for the next round.
    pub(super) fn ask(&mut self, id: u64, commit: u64) {
        // Entries of earlier terms may be agreed on without our knowing, but none behind our first.
        self.asked
            .push_back((self.round + 1, id, commit.max(self.first)));
    }

    pub(super) fn next_deadline(&self) -> Timestamp {
        self.heartbeat_due
    }

    pub(super) fn times(&self) -> RaftTimes {
        self.times
    }
}
