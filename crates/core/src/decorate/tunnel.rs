//! A decorated transport hands out decorated listeners and carriers, which share its layer.
#![deny(clippy::missing_trait_methods)]

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    BoxByteStream, Carrier, CloseReason, Endpoint, Error, IncomingStream, PeerIdentity,
    PendingCarrier, Result, StreamTarget, TunnelCapabilities, TunnelListener, TunnelTransport,
    decorate::{Decorated, Layer, Operation},
};

#[async_trait]
impl<T: TunnelTransport + ?Sized, L: Layer> TunnelTransport for Decorated<T, L> {
    fn capabilities(&self) -> TunnelCapabilities {
        self.inner.capabilities()
    }

    /// Never repeated: a listener of a failed call may still hold the address.
    async fn listen(&self, at: &Endpoint) -> Result<Arc<dyn TunnelListener>> {
        let operation = Operation::once("tunnel.listen").about(at);
        let listener = self.layer.call(operation, || self.inner.listen(at)).await?;
        Ok(Arc::new(Decorated::shared(listener, &self.layer)))
    }

    async fn dial(&self, to: &Endpoint) -> Result<Arc<dyn Carrier>> {
        let operation = Operation::repeatable("tunnel.dial").about(to);
        let carrier = self.layer.call(operation, || self.inner.dial(to)).await?;
        Ok(Arc::new(Decorated::shared(carrier, &self.layer)))
    }
}

#[async_trait]
impl<T: TunnelListener + ?Sized, L: Layer> TunnelListener for Decorated<T, L> {
    fn local(&self) -> Endpoint {
        self.inner.local()
    }

    /// Not decorated by itself: it waits, and its failures are final. What it gives is decorated.
    async fn accept(&self) -> Result<Box<dyn PendingCarrier>> {
        let pending = self.inner.accept().await?;
        Ok(Box::new(Pending {
            inner: pending,
            layer: self.layer.clone(),
        }))
    }
}

#[derive(Debug)]
struct Pending<L> {
    inner: Box<dyn PendingCarrier>,
    layer: Arc<L>,
}

#[async_trait]
impl<L: Layer> PendingCarrier for Pending<L> {
    fn remote(&self) -> Option<Endpoint> {
        self.inner.remote()
    }

    async fn handshake(self: Box<Self>) -> Result<Arc<dyn Carrier>> {
        let Self { inner, layer } = *self;
        // A handshake uses its connection up, so a layer that calls twice against the rule gets an
        // error instead of a second try.
        let once = Mutex::new(Some(inner));
        let carrier = layer
            .call(Operation::once("tunnel.handshake"), || {
                match once.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    Some(pending) => pending.handshake(),
                    None => Box::pin(async {
                        Err(Error::internal(
                            "a layer repeated a call that must be made once",
                        ))
                    }),
                }
            })
            .await?;
        Ok(Arc::new(Decorated::shared(carrier, &layer)))
    }
}

#[async_trait]
impl<T: Carrier + ?Sized, L: Layer> Carrier for Decorated<T, L> {
    fn peer(&self) -> &PeerIdentity {
        self.inner.peer()
    }

    async fn open(&self, target: &StreamTarget) -> Result<BoxByteStream> {
        let operation = Operation::repeatable("tunnel.open").about(target);
        self.layer.call(operation, || self.inner.open(target)).await
    }

    /// Not decorated: it waits, and its failures are final.
    async fn accept(&self) -> Result<IncomingStream> {
        self.inner.accept().await
    }

    async fn close(&self, reason: &str) {
        self.inner.close(reason).await;
    }

    async fn closed(&self) -> CloseReason {
        self.inner.closed().await
    }

    fn round_trip(&self) -> Option<Duration> {
        self.inner.round_trip()
    }
}
