//! What members tell each other.

use bytes::Bytes;
use longshore_core::LeaseId;

use super::{
    identity::Status,
    log::{Entry, Position},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Would you vote for me? Without consequences, so that a member that was cut off disturbs
    /// nobody (Ongaro, *Consensus*, 2014, §9.6).
    PreVote {
        /// The term that the vote would be in.
        term: u64,
        last: Position,
    },
    PreVoted {
        term: u64,
        granted: bool,
    },
    Vote {
        term: u64,
        last: Position,
    },
    Voted {
        term: u64,
        granted: bool,
    },
    Append {
        term: u64,
        before: Position,
        commit: u64,
        entries: Vec<Entry>,
    },
    Appended {
        term: u64,
        /// Up to where the sender's log is the leader's; or, refused, where it may be.
        matched: Result<u64, u64>,
        /// Whether the sender's word counts for a majority.
        counts: bool,
    },
    Heartbeat {
        term: u64,
        commit: u64,
        /// Counts up; an answer with the same number came after the question.
        round: u64,
    },
    HeartbeatAnswer {
        term: u64,
        round: u64,
        /// The end of the sender's log: shorter than it was, when a disk was lost.
        last: u64,
        counts: bool,
    },
    /// A part of the state itself, for who is behind the log.
    Snapshot {
        term: u64,
        at: Position,
        offset: u64,
        total: u64,
        part: Bytes,
    },
    /// How much of it is there.
    SnapshotPart {
        term: u64,
        at: Position,
        received: u64,
        counts: bool,
    },
    /// Asks the leader to append commands.
    Propose(Bytes),
    /// Asks the leader whether it leads, and up to where it has come; or to keep a lease.
    Confirm {
        id: u64,
        lease: Option<LeaseId>,
    },
    /// The answer: what to have applied before reading, and whether the lease lives.
    Confirmed {
        id: u64,
        index: u64,
        lives: bool,
    },
    /// Who are you, and do you have a cluster? With who asks.
    Ask(Status),
    Status(Status),
}

impl Message {
    /// The term that its sender is in or asks for; zero in what has none.
    pub(super) fn term(&self) -> u64 {
        match self {
            Self::PreVote { term, .. }
            | Self::PreVoted { term, .. }
            | Self::Vote { term, .. }
            | Self::Voted { term, .. }
            | Self::Append { term, .. }
            | Self::Appended { term, .. }
            | Self::Heartbeat { term, .. }
            | Self::HeartbeatAnswer { term, .. }
            | Self::Snapshot { term, .. }
            | Self::SnapshotPart { term, .. } => *term,
            Self::Propose(_)
            | Self::Confirm { .. }
            | Self::Confirmed { .. }
            | Self::Ask(_)
            | Self::Status(_) => 0,
        }
    }
}
