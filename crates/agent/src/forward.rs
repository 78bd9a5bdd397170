//! Streams of the plane, forwarded to what the node lends.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use longshore_core::{BoxByteStream, Clock, Connector, IncomingStream, Result, StreamTarget};
use tokio::{
    io::AsyncWriteExt,
    sync::{Semaphore, watch},
};

use crate::{
    gate::{LeaderGate, Pass, Passage},
    observe,
};

/// What the plane may reach.
#[derive(Debug)]
pub(crate) struct Services {
    engine: Arc<LentEngine>,
    others: BTreeMap<String, Arc<dyn Connector>>,
    gate: LeaderGate,
    clock: Arc<dyn Clock>,
    slots: Arc<Semaphore>,
    max_streams: usize,
}

/// The engine, which notes whether it could be reached.
#[derive(Debug)]
struct LentEngine {
    connector: Arc<dyn Connector>,
    /// Why it could not be reached last; `None` when it could.
    error: watch::Sender<Option<String>>,
}

impl Services {
    pub(crate) fn new(
        engine: Arc<dyn Connector>,
        others: BTreeMap<String, Arc<dyn Connector>>,
        gate: LeaderGate,
        clock: Arc<dyn Clock>,
        max_streams: usize,
    ) -> Self {
        let engine = Arc::new(LentEngine {
            connector: engine,
            error: watch::Sender::new(None),
        });
        Self {
            engine,
            others,
            gate,
            clock,
            slots: Arc::new(Semaphore::new(max_streams)),
            max_streams,
        }
    }

    /// Why the engine could not be reached last, now and as it changes.
    pub(crate) fn engine_error(&self) -> watch::Receiver<Option<String>> {
        self.engine.error.subscribe()
    }

    pub(crate) fn open_streams(&self) -> usize {
        self.max_streams - self.slots.available_permits()
    }

    /// Forwards one stream until both directions have ended, or until a newer leader has come. A
    /// stream to what is not lent is dropped: the plane sees a reset. One that the gate refuses is
    /// told why where it is to the engine.
    pub(crate) async fn forward(&self, incoming: IncomingStream) {
        let (mandate, target) = incoming.target.bare();
        let connector: Arc<dyn Connector> = match &target {
            StreamTarget::Engine => self.engine.clone(),
            StreamTarget::Service(name) => match self.others.get(name) {
                Some(connector) => Arc::clone(connector),
                None => {
                    tracing::warn!(%target, "the plane asked for a service that is not offered");
                    return;
                }
            },
            _ => {
                tracing::warn!(%target, "the plane opened an unexpected stream");
                return;
            }
        };
        let Ok(_slot) = self.slots.try_acquire() else {
            tracing::warn!(%target, limit = self.max_streams, "too many streams: one was refused");
            return;
        };
        let is_engine = matches!(target, StreamTarget::Engine);
        let (far, clock) = (incoming.stream, Arc::clone(&self.clock));
        match self.gate.admit(mandate).await {
            Passage::Act(pass) => splice(&target, far, &*connector, pass).await,
            Passage::Observe if is_engine => observe::observe(far, connector, clock).await,
            Passage::Observe => {
                tracing::warn!(%target, "refused: what a service only shows is not known here");
            }
            Passage::Refused(reason) => {
                tracing::warn!(%target, reason, "refused a stream of the plane");
                if is_engine {
                    observe::refuse(far, reason, &*clock).await;
                }
            }
        }
    }
}

/// Carries bytes both ways, whatever they are.
async fn splice(
    target: &StreamTarget,
    mut far: BoxByteStream,
    connector: &dyn Connector,
    mut pass: Pass,
) {
    let spliced = async {
        let mut near = match connector.connect().await {
            Ok(near) => near,
            Err(error) => {
                let error = error.chain();
                match target {
                    // It was told already, as far as it is news.
                    StreamTarget::Engine => {}
                    _ => tracing::warn!(%target, error, "can't reach the local service"),
                }
                return;
            }
        };
        match tokio::io::copy_bidirectional_with_sizes(&mut far, &mut near, BUFFER, BUFFER).await {
            Ok((up, down)) => tracing::trace!(%target, up, down, "a stream ended"),
            Err(error) => {
                tracing::debug!(%target, %error, "a stream broke");
                // Dropped without shutdown, both sides see a break and not a clean end.
                return;
            }
        }
        let _ = far.shutdown().await;
    };
    tokio::select! {
        biased;
        reason = pass.ended() => tracing::info!(%target, reason, "ended a stream of the plane"),
        () = spliced => {}
    }
}

#[async_trait]
impl Connector for LentEngine {
    async fn connect(&self) -> Result<BoxByteStream> {
        let connected = self.connector.connect().await;
        let error = connected.as_ref().err().map(longshore_core::Error::chain);
        let news = self.error.send_if_modified(|known| {
            let news = *known != error;
            known.clone_from(&error);
            news
        });
        match &error {
            // The plane tries again and again, and the answer is the same each time.
            Some(error) if !news => {
                tracing::debug!(error, "still can't reach the local engine");
            }
            Some(error) => tracing::warn!(error, "can't reach the local engine"),
            None if news => tracing::info!("the local engine can be reached again"),
            None => {}
        }
        connected
    }

    fn describe(&self) -> String {
        self.connector.describe()
    }
}

const BUFFER: usize = 16 * 1024;
