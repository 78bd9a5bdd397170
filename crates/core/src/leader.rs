use std::fmt::Debug;

use crate::BoxStream;

/// Who leads, as one participant of an election sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Leader {
    /// Nobody that is known of.
    #[default]
    Nobody,
    /// This participant.
    Here {
        /// Larger than that of every leader before: what it writes and asks for carries it, so that
        /// who receives it can refuse an older leader (a fencing token, after Kleppmann).
        token: u64,
    },
    /// Another participant, reached at this address as it advertised it (`host:port`).
    Elsewhere(String),
}

/// What a control plane has to know of an election. The election itself is not its business: it may
/// be held over a key-value store, by embedded consensus or by hand.
///
/// Rules: at no moment do two participants see [`Leader::Here`], as far as their clocks run equally
/// fast; tokens only grow; a leadership that can't be renewed ends here before another begins; the
/// stream of [`watch`](Self::watch) begins with the present state and never misses the last one.
pub trait LeaderElection: Debug + Send + Sync + 'static {
    /// Who leads now. Cheap, and to be asked before each act of a leader: a leadership is judged by
    /// this participant's own clock at each call, not by the last news of the store.
    fn leader(&self) -> Leader;

    /// The present state and every change. A slow reader may miss states in between. Dropping the
    /// stream ends the watch.
    fn watch(&self) -> BoxStream<Leader>;
}
