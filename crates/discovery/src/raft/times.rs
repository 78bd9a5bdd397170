use std::time::Duration;

/// How patient the members of a [`RaftKv`](crate::RaftKv) are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RaftTimes {
    /// How often a leader is heard at least, 150 ms.
    pub heartbeat: Duration,
    /// After what silence, at the soonest, others elect a new one: once to twice this, 1 s. Well
    /// above the heartbeat, a round trip and what the disk takes for a write.
    pub election: Duration,
    /// How long a call may take before it is refused, 5 s.
    pub request: Duration,
}

impl Default for RaftTimes {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            election: Duration::from_secs(1),
            request: Duration::from_secs(5),
        }
    }
}

impl RaftTimes {
    /// Sets how often a leader is heard; at least a millisecond.
    #[must_use]
    pub fn with_heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat.max(Duration::from_millis(1));
        self
    }

    /// Sets after what silence a new leader is elected; at least two heartbeats count.
    #[must_use]
    pub fn with_election(mut self, election: Duration) -> Self {
        self.election = election.max(Duration::from_millis(2));
        self
    }

    /// Sets how long a call may take.
    #[must_use]
    pub fn with_request(mut self, request: Duration) -> Self {
        self.request = request;
        self
    }
}
