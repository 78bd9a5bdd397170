//! What the machine asks of the store, and what it is told.

use longshore_core::{Expect, KvEntry, Lease, LeaseId};

/// One call to the store. At most one is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    ReadLock,
    Grant,
    TakeLock { lease: LeaseId, expect: Expect },
    ReadToken,
    WriteToken { token: u64, expect: Expect },
    KeepAlive(LeaseId),
    Revoke(LeaseId),
}

/// What the call of that name gave.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Lock(Option<KvEntry>),
    Granted(Lease),
    Taken,
    Token(Option<KvEntry>),
    TokenWritten,
    KeptAlive,
    Revoked,
}

/// What happens to a machine.
#[derive(Debug)]
pub(super) enum Input {
    /// The call under way came to an end.
    Answer(longshore_core::Result<Answer>),
    /// Something about the lock may have changed.
    Hint,
    /// The watch ended.
    WatchLost,
    /// Give up whatever is held, and end.
    Resign,
    /// Time has passed.
    Tick,
}

/// What a machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Start this call.
    Call(Call),
    /// Drop the call under way: whether it was done is unknown.
    Abandon,
    /// Open the watch (again).
    Watch,
}
