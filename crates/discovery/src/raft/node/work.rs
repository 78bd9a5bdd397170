//! What a member begins with, and what it gives to do.

use super::{Entry, HardState, Identity, Message, Position, Snapshot};
use crate::raft::RaftTimes;

/// What a member is told about itself.
#[derive(Clone, Debug)]
pub(in crate::raft) struct NodeOptions {
    pub(in crate::raft) me: usize,
    /// Of all members, sorted.
    pub(in crate::raft) names: Vec<String>,
    pub(in crate::raft) times: RaftTimes,
    pub(in crate::raft) compaction: Compaction,
}

/// When the log gives way to a snapshot.
#[derive(Clone, Copy, Debug)]
pub(in crate::raft) struct Compaction {
    pub(in crate::raft) entries: usize,
    pub(in crate::raft) bytes: usize,
    /// Entries that are kept for those who are a little behind.
    pub(in crate::raft) trail: u64,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            entries: 8192,
            bytes: 16 << 20,
            trail: 1024,
        }
    }
}

/// What a disk held.
#[derive(Clone, Debug)]
pub(in crate::raft) struct Loaded {
    pub(in crate::raft) identity: Identity,
    pub(in crate::raft) hard: HardState,
    pub(in crate::raft) snapshot: Option<Snapshot>,
    pub(in crate::raft) entries: Vec<Entry>,
}

/// What has to be on the disk before the messages that wait for it are sent.
#[derive(Debug, Default)]
pub(in crate::raft) struct Save {
    pub(in crate::raft) identity: Option<Identity>,
    pub(in crate::raft) hard: Option<HardState>,
    /// Takes the place of the log up to it.
    pub(in crate::raft) snapshot: Option<Snapshot>,
    /// From here on the log is void.
    pub(in crate::raft) truncate: Option<u64>,
    pub(in crate::raft) entries: Vec<Entry>,
    /// To be reported when it is done.
    pub(in crate::raft) up_to: Position,
}

impl Save {
    pub(in crate::raft) fn is_empty(&self) -> bool {
        self.identity.is_none()
            && self.hard.is_none()
            && self.snapshot.is_none()
            && self.truncate.is_none()
            && self.entries.is_empty()
    }
}

/// What to do next: send, save, send.
#[derive(Debug)]
pub(in crate::raft) struct Ready {
    pub(in crate::raft) at_once: Vec<(usize, Message)>,
    pub(in crate::raft) save: Save,
    pub(in crate::raft) once_saved: Vec<(usize, Message)>,
}
