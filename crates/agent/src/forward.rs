//! Streams of the plane, forwarded to what the node lends.

use std::{collections::BTreeMap, sync::Arc};

use longshore_core::{Connector, IncomingStream, StreamTarget};
use tokio::{
    io::AsyncWriteExt,
    sync::{Semaphore, watch},
};

/// What the plane may reach.
#[derive(Debug)]
pub(crate) struct Services {
    engine: Arc<dyn Connector>,
    others: BTreeMap<String, Arc<dyn Connector>>,
    slots: Arc<Semaphore>,
    max_streams: usize,
    /// Why the engine could not be reached last; `None` when it could.
    engine_error: watch::Sender<Option<String>>,
}

impl Services {
    pub(crate) fn new(
        engine: Arc<dyn Connector>,
        others: BTreeMap<String, Arc<dyn Connector>>,
        max_streams: usize,
    ) -> Self {
        Self {
            engine,
            others,
            slots: Arc::new(Semaphore::new(max_streams)),
            max_streams,
            engine_error: watch::Sender::new(None),
        }
    }

    /// Why the engine could not be reached last, now and as it changes.
    pub(crate) fn engine_error(&self) -> watch::Receiver<Option<String>> {
        self.engine_error.subscribe()
    }

    pub(crate) fn open_streams(&self) -> usize {
        self.max_streams - self.slots.available_permits()
    }

    /// Forwards one stream until both directions have ended. A stream that is refused is dropped:
    /// the plane sees a reset.
    pub(crate) async fn forward(&self, incoming: IncomingStream) {
        let target = incoming.target;
        let connector = match &target {
            StreamTarget::Engine => &self.engine,
            StreamTarget::Service(name) => match self.others.get(name) {
                Some(connector) => connector,
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
        let mut far = incoming.stream;
        let connected = connector.connect().await;
        let error = connected.as_ref().err().map(longshore_core::Error::chain);
        let news = match &target {
            StreamTarget::Engine => self.engine_error.send_if_modified(|known| {
                let news = *known != error;
                known.clone_from(&error);
                news
            }),
            _ => true,
        };
        let Ok(mut near) = connected else {
            // The plane tries again and again, and the answer is the same each time.
            if news {
                tracing::warn!(%target, error, "can't reach the local service");
            } else {
                tracing::debug!(%target, error, "still can't reach the local service");
            }
            return;
        };
        if news && matches!(target, StreamTarget::Engine) {
            tracing::info!("the local engine can be reached again");
        }
        match tokio::io::copy_bidirectional_with_sizes(&mut far, &mut near, BUFFER, BUFFER).await {
            Ok((up, down)) => tracing::trace!(%target, up, down, "a stream ended"),
            Err(error) => {
                tracing::debug!(%target, %error, "a stream broke");
                // Dropped without shutdown, both sides see a break and not a clean end.
                return;
            }
        }
        let _ = far.shutdown().await;
    }
}

const BUFFER: usize = 16 * 1024;
