/// What happens when there is no room for another session's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retention {
    /// Nothing more is recorded, so no session opens. Nothing is ever removed.
    #[default]
    Keep,
    /// The records of the sessions that ended first are removed.
    RemoveOldest,
}

/// What happens when one session's record is as long as it may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// Recording fails, which ends the session unless its hub was told otherwise.
    #[default]
    Fail,
    /// The record says that something is missing, and the session goes on.
    Stop,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RecordLimits {
    /// Bytes of one session's record. 256 MiB.
    pub session: u64,
    /// Bytes of all records. 16 GiB.
    pub total: u64,
    /// How many sessions. 10,000.
    pub sessions: usize,
    /// Commands that are noted of one session. 1,000.
    pub commands: usize,
    /// When there is no room for another record.
    pub retention: Retention,
    /// When one record is full.
    pub when_full: WhenFull,
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self {
            session: 256 << 20,
            total: 16 << 30,
            sessions: 10_000,
            commands: 1_000,
            retention: Retention::Keep,
            when_full: WhenFull::Fail,
        }
    }
}

impl RecordLimits {
    /// Sets the bytes of one session's record, at least 64 KiB, and of all.
    #[must_use]
    pub fn with_bytes(mut self, session: u64, total: u64) -> Self {
        (self.session, self.total) = (session.max(64 << 10), total);
        self
    }

    /// Sets how many sessions are kept.
    #[must_use]
    pub fn with_sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions;
        self
    }

    /// Sets what happens when there is no room for another session's record.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Sets what happens when one session's record is full.
    #[must_use]
    pub fn with_when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }
}
