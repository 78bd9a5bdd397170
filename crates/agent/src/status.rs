use longshore_core::{Endpoint, Timestamp};

/// Where an agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentState {
    /// Dialling or greeting.
    Connecting,
    /// The plane has welcomed the node.
    Connected {
        /// Which plane.
        plane: Endpoint,
        /// The session's epoch: larger than that of every session before.
        epoch: u64,
    },
    /// Waiting before the next attempt.
    Waiting {
        /// When it comes.
        until: Timestamp,
    },
    /// Ended by shutdown.
    Stopped,
}

/// What an agent says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentStatus {
    /// Where it is.
    pub state: AgentState,
    /// What went wrong last, until the next success.
    pub last_error: Option<String>,
    /// Sessions that the plane has welcomed so far.
    pub sessions: u64,
    /// Streams open to the engine and other services now.
    pub open_streams: usize,
}

impl AgentStatus {
    pub(crate) fn new() -> Self {
        Self {
            state: AgentState::Connecting,
            last_error: None,
            sessions: 0,
            open_streams: 0,
        }
    }
}
