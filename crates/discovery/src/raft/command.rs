//! What is agreed on, and what came of it.

use std::time::Duration;

use longshore_core::{Error, ErrorKind, LeaseId, Revision, TransactionOp};

/// Which request of which member a command carries out, so that none is carried out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RequestId {
    pub(super) member: u8,
    pub(super) incarnation: u64,
    pub(super) number: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Command {
    /// Nobody's for what the leader decides by itself.
    pub(super) request: Option<RequestId>,
    /// The member waits for no request before this one.
    pub(super) settled: u64,
    pub(super) action: Action,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Apply(Vec<TransactionOp>),
    Grant(Duration),
    Revoke(LeaseId),
    /// Leases whose time is over by the leader's clock.
    Expire(Vec<LeaseId>),
}

/// The same on every member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done { revision: Revision, deleted: u64 },
    Granted { lease: LeaseId, ttl: Duration },
    Refused(Refusal),
}

/// An error that all members agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn of(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            message: error.to_string(),
        }
    }

    pub(super) fn into_error(self) -> Error {
        Error::new(self.kind, self.message).with_backend("raft")
    }
}
