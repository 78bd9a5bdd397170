mod log;
mod ring;
mod weight;

use longshore_core::{EngineEvent, Timestamp};

pub(crate) use self::log::EventLog;
use crate::NodeRef;

/// What happened to a node's membership; Swarm's synthetic events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeEventKind {
    /// It was validated and takes part: `engine_connect`.
    Connect,
    /// It stopped answering or left: `engine_disconnect`.
    Disconnect,
    /// It answers again: `engine_reconnect`.
    Reconnect,
}

impl NodeEventKind {
    /// Swarm's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "engine_connect",
            Self::Disconnect => "engine_disconnect",
            Self::Reconnect => "engine_reconnect",
        }
    }
}

/// One event of the cluster.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// An engine's event, with the node that told it.
    Engine {
        /// The node.
        node: NodeRef,
        /// What it told.
        event: EngineEvent,
    },
    /// A node came, went or came back.
    Node {
        /// The node.
        node: NodeRef,
        /// What happened.
        kind: NodeEventKind,
        /// When, by the control plane's clock.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// Something that an operator must look at, told once: mass failure, and its end.
    Alarm {
        /// When, by the control plane's clock.
        at: Timestamp,
        /// What.
        reason: String,
    },
    /// The reader was too slow, or asked for more than is kept: at most so many events are missing
    /// here.
    Lost(u64),
}
