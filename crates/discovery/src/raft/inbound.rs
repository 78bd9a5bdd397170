//! Those who dial us.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use longshore_core::{Clock, ClockExt, Error, ErrorKind, Result};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
};

use crate::abort_on_drop::AbortOnDrop;

use super::{
    driver::Shared,
    frame::{self, Hello},
    message::Message,
    network::{RaftAccess, RaftIncoming, RaftNetwork},
    served, wire,
};

/// A message, from whom, and about which cluster.
pub(super) type Letter = (usize, Option<u128>, Message);

/// What every connection that comes in needs.
pub(super) struct Inbound {
    pub(super) names: Vec<String>,
    pub(super) me: usize,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) letters: mpsc::Sender<Letter>,
    /// For clients. Does not keep the member alive.
    pub(super) store: Weak<Shared>,
    /// The newest connection of each member; an older one is a leftover.
    pub(super) newest: Mutex<Vec<Option<AbortHandle>>>,
}

impl Inbound {
    /// Accepts for ever. Dropping it ends all connections.
    pub(super) async fn run(self, network: Arc<dyn RaftNetwork>) {
        let this = Arc::new(self);
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            // Never closed.
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let incoming = loop {
                tokio::select! {
                    incoming = network.accept() => break incoming,
                    Some(_) = connections.join_next() => {}
                }
            };
            match incoming {
                Ok(incoming) => {
                    let this = this.clone();
                    connections.spawn(async move {
                        if let Err(error) = this.clone().serve(incoming).await {
                            tracing::warn!(
                                error = error.chain(),
                                "a connection was refused or broke"
                            );
                        }
                        drop(place);
                    });
                }
                Err(error) if error.kind() == ErrorKind::Closed => return,
                Err(error) => {
                    tracing::warn!(error = error.chain(), "accepting managers failed");
                    this.clock.sleep(PAUSE).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, incoming: RaftIncoming) -> Result<()> {
        let clock = self.clock.clone();
        let greet = async {
            let mut peer = incoming.shake_hands().await?;
            let hello = Hello::read(&mut peer.stream).await?;
            Ok::<_, Error>((peer, hello))
        };
        let (peer, hello) = clock
            .timeout(LONGEST_GREETING, "the greeting of a manager", greet)
            .await??;
        match hello {
            Hello::Client => served::serve(peer.stream, &self.store).await,
            Hello::Member(_) if peer.access != RaftAccess::Manager => Err(Error::new(
                ErrorKind::PermissionDenied,
                "a peer that is no manager wants to be one",
            )),
            Hello::Member(name) => {
                let from = self.names.iter().position(|known| *known == name);
                let from = from.filter(|from| *from != self.me).ok_or_else(|| {
                    Error::invalid(format!(
                        "a manager {name:?} dialled, which is none of the others in the list {}",
                        self.names.join(",")
                    ))
                })?;
                let mut stream = peer.stream;
                let letters = self.letters.clone();
                let reading = tokio::spawn(async move {
                    while let Some(frame) = frame::read(&mut stream).await? {
                        let (cluster, message) = wire::decode(frame)?;
                        if letters.send((from, cluster, message)).await.is_err() {
                            break;
                        }
                    }
                    Ok(())
                });
                let guard = AbortOnDrop(reading.abort_handle());
                self.replace(from, reading.abort_handle());
                let result = reading.await;
                drop(guard);
                // Cut off by a newer connection is no failure.
                result.unwrap_or(Ok(()))
            }
        }
    }

    fn replace(&self, from: usize, newest: AbortHandle) {
        let mut all = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = all[from].replace(newest) {
            older.abort();
        }
    }
}

/// Of managers and clients.
const MOST_CONNECTIONS: usize = 256;
const LONGEST_GREETING: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);
