//! An election whose outcome a test decides.

use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::watch;

use crate::{BoxStream, Leader, LeaderElection};

/// A [`LeaderElection`] that says what it was told. Clones are the same participant.
#[derive(Clone, Debug)]
pub struct ManualElection(Arc<watch::Sender<Leader>>);

impl ManualElection {
    /// Begins with this state.
    pub fn new(leader: Leader) -> Self {
        Self(Arc::new(watch::Sender::new(leader)))
    }

    /// Changes the state and tells it to all watches.
    pub fn set(&self, leader: Leader) {
        self.0.send_replace(leader);
    }
}

impl LeaderElection for ManualElection {
    fn leader(&self) -> Leader {
        self.0.borrow().clone()
    }

    fn watch(&self) -> BoxStream<Leader> {
        let mut changes = self.0.subscribe();
        changes.mark_changed();
        stream::unfold(changes, |mut changes| async move {
            changes.changed().await.ok()?;
            let leader = changes.borrow_and_update().clone();
            Some((leader, changes))
        })
        .boxed()
    }
}
