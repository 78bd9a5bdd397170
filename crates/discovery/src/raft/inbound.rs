//! Those who dial us.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use longshore_core::{Clock, ClockExt, Error, ErrorKind, Result};
use tokio::{
    sync::{Semaphore, TryAcquireError, mpsc},
    task::{AbortHandle, JoinSet},
};

use crate::abort_on_drop::AbortOnDrop;

use super::{
    driver::Shared,
    frame::{self, Hello},
    greeting::{Greeting, Queue},
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
    /// Those of whom nothing is known yet.
    pub(super) greeting: Arc<Queue>,
    /// Places of clients. Members need none: each has one connection.
    pub(super) clients: Semaphore,
}

impl Inbound {
    /// Accepts for ever. Dropping it ends all connections.
    pub(super) async fn run(self, network: Arc<dyn RaftNetwork>) {
        let this = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            let incoming = loop {
                tokio::select! {
                    incoming = network.accept() => break incoming,
                    Some(_) = connections.join_next() => {}
                }
            };
            match incoming {
                Ok(incoming) => {
                    let this = this.clone();
                    let queue = this.greeting.clone();
                    queue.admit(|place| {
                        connections.spawn(async move {
                            if let Err(error) = this.serve(incoming, place).await {
                                tracing::warn!(
                                    error = error.chain(),
                                    "a connection was refused or broke"
                                );
                            }
                        })
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

    async fn serve(self: Arc<Self>, incoming: RaftIncoming, place: Greeting) -> Result<()> {
        let clock = self.clock.clone();
        let greet = async {
            let mut peer = incoming.shake_hands().await?;
            let hello = Hello::read(&mut peer.stream).await?;
            Ok::<_, Error>((peer, hello))
        };
        let (peer, hello) = clock
            .timeout(LONGEST_GREETING, "the greeting of a manager", greet)
            .await??;
        drop(place);
        match hello {
            Hello::Client => {
                let full = |_: TryAcquireError| {
                    let message = format!("there are {MOST_CLIENTS} clients already");
                    Error::new(ErrorKind::ResourceExhausted, message)
                };
                let _place = self.clients.try_acquire().map_err(full)?;
                served::serve(peer.stream, &self.store, &*clock).await
            }
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

/// So many that members and their clients are never turned away, and a flood holds little.
pub(super) const MOST_CLIENTS: usize = 512;
const LONGEST_GREETING: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
