use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use longshore_core::{BoxByteStream, Error, Result};
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc},
    task::AbortHandle,
};

use super::network::{RaftAccess, RaftIncoming, RaftNetwork, RaftPeer};

/// The network of a [`RaftKv`](crate::RaftKv) within one process, for tests and simulations. It can be
/// cut. Clones are the same network.
#[derive(Clone, Debug, Default)]
pub struct RaftMemoryNetwork(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    listening: BTreeMap<String, mpsc::Sender<RaftIncoming>>,
    /// Between whom nothing passes.
    cut: BTreeSet<(String, String)>,
    /// Who is connected, from whom to whom.
    relays: Vec<(String, String, AbortHandle)>,
}

impl RaftMemoryNetwork {
    /// A network without anybody.
    pub fn new() -> Self {
        Self::default()
    }

    /// A member's place in it. A second one of the same name takes the place of the first.
    pub fn join(&self, member: &str) -> Arc<dyn RaftNetwork> {
        let (sender, incoming) = mpsc::channel(BACKLOG);
        self.lock().listening.insert(member.to_owned(), sender);
        Arc::new(Place {
            network: self.clone(),
            name: member.to_owned(),
            incoming: AsyncMutex::new(incoming),
        })
    }

    /// Cuts two members off from each other, in both directions.
    pub fn cut(&self, one: &str, other: &str) {
        let mut state = self.lock();
        let is_pair =
            |from: &str, to: &str| (from == one && to == other) || (from == other && to == one);
        state.cut.insert((one.to_owned(), other.to_owned()));
        state.cut.insert((other.to_owned(), one.to_owned()));
        state.relays.retain(|(from, to, relay)| {
            let cut = is_pair(from, to);
            if cut {
                relay.abort();
            }
            !cut
        });
    }

    /// Lets everybody reach everybody again.
    pub fn heal(&self) {
        self.lock().cut.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self, from: &str, to: &str) -> Result<BoxByteStream> {
        let mut state = self.lock();
        let unreachable = || Error::unavailable(format!("{to} is not to be reached"));
        if state.cut.contains(&(from.to_owned(), to.to_owned())) {
            return Err(unreachable());
        }
        let listening = state.listening.get(to).ok_or_else(unreachable)?.clone();
        let (near, mut near_end) = tokio::io::duplex(BUFFER);
        let (mut far_end, far) = tokio::io::duplex(BUFFER);
        let peer = RaftPeer::new(Box::new(far), RaftAccess::Manager);
        listening
            .try_send(RaftIncoming::new(async move { Ok(peer) }))
            .map_err(|_| unreachable())?;
        // Ends with either end; or is cut, and both ends see it.
        let relay = tokio::spawn(async move {
            let _ = tokio::io::copy_bidirectional(&mut near_end, &mut far_end).await;
        });
        state.relays.retain(|(_, _, relay)| !relay.is_finished());
        let relay = relay.abort_handle();
        state.relays.push((from.to_owned(), to.to_owned(), relay));
        Ok(Box::new(near))
    }
}

#[derive(Debug)]
struct Place {
    network: RaftMemoryNetwork,
    name: String,
    incoming: AsyncMutex<mpsc::Receiver<RaftIncoming>>,
}

#[async_trait]
impl RaftNetwork for Place {
    async fn dial(&self, member: &str) -> Result<BoxByteStream> {
        self.network.connect(&self.name, member)
    }

    async fn accept(&self) -> Result<RaftIncoming> {
        let incoming = self.incoming.lock().await.recv().await;
        incoming.ok_or_else(|| Error::closed("somebody else has taken this place"))
    }
}

const BACKLOG: usize = 16;
const BUFFER: usize = 64 << 10;
