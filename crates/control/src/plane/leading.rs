use std::{collections::HashMap, sync::Arc};

use futures::{FutureExt, StreamExt, stream};
use longshore_core::{
    BoxFuture, ClockExt, Error, ErrorKind, Leader, LeaderElection, NodeId, Result,
};

use super::{ControlPlane, Inner};

/// Whether this manager leads, to be asked before each act.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leadership(Option<Arc<dyn LeaderElection>>);

impl Leadership {
    pub(super) fn new(election: Option<Arc<dyn LeaderElection>>) -> Self {
        Self(election)
    }

    /// The fencing token to act under, at this very moment; none for a manager without an election.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] while another one leads, [`ErrorKind::Unavailable`] while nobody does.
    pub(crate) fn token(&self) -> Result<Option<u64>> {
        let Some(election) = &self.0 else {
            return Ok(None);
        };
        match election.leader() {
            Leader::Here { token } => Ok(Some(token)),
            Leader::Elsewhere(address) => Err(Error::new(
                ErrorKind::Stale,
                format!("this manager does not lead: ask the one that does, {address}"),
            )),
            _ => Err(Error::unavailable(
                "this manager does not lead, and nobody else is known to: try again",
            )),
        }
    }
}

impl Inner {
    /// Whether this manager may act by itself, at this very moment.
    pub(crate) fn leads(&self) -> bool {
        self.leadership().token().is_ok()
    }

    pub(crate) fn leadership(&self) -> Leadership {
        Leadership::new(self.election.clone())
    }

    /// As [`Leadership::token`].
    pub(crate) fn token(&self) -> Result<Option<u64>> {
        self.leadership().token()
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
    pub(crate) fn engines(&self) -> &Arc<dyn longshore_core::EngineProvider> {
        &self.inner.engines
    }
}

/// Wakes whoever acts for a leader, and tells store and nodes of a new leadership, so that they
/// refuse the ones before it from then on. The election itself tells of its changes in the log.
pub(super) async fn follow(inner: &Inner, election: &Arc<dyn LeaderElection>) {
    let mut news = election.watch();
    let mut telling: Option<BoxFuture<'_, ()>> = None;
    loop {
        let told = async {
            match &mut telling {
                Some(telling) => telling.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            leader = news.next() => {
                telling = match leader {
                    Some(Leader::Here { token }) => Some(tell(inner, token).boxed()),
                    Some(_) => None,
                    None => return,
                };
                inner.changed.notify_one();
            }
            () = told => telling = None,
        }
    }
}

async fn tell(inner: &Inner, token: u64) {
    let store = async {
        if let Some(desired) = &inner.desired {
            desired.raise(inner, token).await;
        }
    };
    tokio::join!(store, tell_nodes(inner, token));
}

/// Once for each session: a node that dials in later may come from an older leader.
async fn tell_nodes(inner: &Inner, token: u64) {
    let mut changes = inner.hub.changes();
    let mut told: HashMap<NodeId, u64> = HashMap::new();
    loop {
        let sessions = inner.hub.sessions();
        let new: Vec<_> = sessions
            .into_iter()
            .filter(|session| session.live)
            .filter(|session| told.get(&session.node) != Some(&session.generation))
            .collect();
        told.extend(
            new.iter()
                .map(|session| (session.node.clone(), session.generation)),
        );
        stream::iter(new)
            .for_each_concurrent(NODES_AT_ONCE, |session| async move {
                let limit = inner.options.call_timeout;
                let telling = inner.hub.tell(&session.node, token);
                let told = inner.clock.timeout(limit, "telling a node who leads", telling);
                if let Err(error) = told.await.and_then(|told| told) {
                    // Its first write tells it all the same.
                    tracing::debug!(node = %session.node, error = %error.chain(), "not told who leads");
                }
            })
            .await;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// How many nodes are told at a time.
const NODES_AT_ONCE: usize = 64;
