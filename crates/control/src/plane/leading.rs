use std::sync::Arc;

use futures::StreamExt;
use longshore_core::{EngineProvider, Leader, LeaderElection};

use super::{ControlPlane, Inner};

impl Inner {
    /// Whether this manager may act by itself, at this very moment.
    pub(crate) fn leads(&self) -> bool {
        match &self.election {
            None => true,
            Some(election) => matches!(election.leader(), Leader::Here { .. }),
        }
    }
}

impl ControlPlane {
    /// Whether this manager leads. One without an election always does.
    pub fn leads(&self) -> bool {
        self.inner.leads()
    }

    /// The election it takes part in.
    pub fn election(&self) -> Option<&Arc<dyn LeaderElection>> {
        self.inner.election.as_ref()
    }

    #[cfg(feature = "endpoint")]
    pub(crate) fn engines(&self) -> &Arc<dyn EngineProvider> {
        &self.inner.engines
    }
}

/// Wakes whoever acts for a leader. The election itself tells of its changes in the log.
pub(super) async fn follow(inner: &Inner, election: &Arc<dyn LeaderElection>) {
    let mut news = election.watch();
    while news.next().await.is_some() {
        inner.changed.notify_one();
    }
}
