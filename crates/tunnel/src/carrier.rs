use std::{fmt, io, sync::Arc, time::Duration};

use async_trait::async_trait;
use longshore_core::{
    BoxByteStream, ByteStream, Carrier, Clock, CloseReason, Error, ErrorKind, IncomingStream,
    PeerIdentity, Result, StreamTarget,
};

use crate::{
    driver::{Driver, Progress, Shared},
    mux::{Mux, MuxOptions, Side},
    stream::TunnelStream,
};

/// A carrier over any byte stream: what all transports of this crate give.
///
/// It lives as long as its handle or one of its streams; with the last of them it closes. The
/// driver runs as a task of its own on the current tokio runtime.
pub struct MuxCarrier {
    peer: PeerIdentity,
    in_use: Arc<InUse>,
}

impl MuxCarrier {
    /// Says hello over `io` and waits for the peer's.
    ///
    /// The caller has made sure who the peer is. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when the peer says nothing in time, [`ErrorKind::Protocol`] when it
    /// speaks something else, [`ErrorKind::Closed`] when it leaves.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn establish(
        io: impl ByteStream,
        side: Side,
        peer: PeerIdentity,
        options: MuxOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let explain = |error| Error::io("the connection failed", error);
        Self::establish_explained(io, side, peer, options, clock, explain).await
    }

    /// The same for a transport that knows more about its failures.
    pub(crate) async fn establish_explained(
        io: impl ByteStream,
        side: Side,
        peer: PeerIdentity,
        options: MuxOptions,
        clock: Arc<dyn Clock>,
        explain: fn(io::Error) -> Error,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::new(Mux::new(side, options, clock.now())));
        let in_use = Arc::new(InUse(Arc::clone(&shared)));
        let mut progress = shared.progress.subscribe();
        tokio::spawn(Driver::new(io, Arc::clone(&shared), clock, explain).run());
        let carrier = Self { peer, in_use };
        let reached = progress
            .wait_for(|progress| *progress != Progress::Opening)
            .await;
        match reached.as_deref() {
            Ok(Progress::Open) => Ok(carrier),
            Ok(Progress::Closed(reason)) => Err(not_established(reason, shared.failure.get())),
            _ => Err(Error::closed("the carrier's driver has ended")),
        }
    }

    fn shared(&self) -> &Shared {
        self.in_use.shared()
    }
}

#[async_trait]
impl Carrier for MuxCarrier {
    fn peer(&self) -> &PeerIdentity {
        &self.peer
    }

    async fn open(&self, target: &StreamTarget) -> Result<BoxByteStream> {
        let id = {
            let mut state = self.shared().lock();
            let id = state.mux.open(target)?;
            state.nudge();
            id
        };
        Ok(Box::new(TunnelStream::new(id, Arc::clone(&self.in_use))))
    }

    async fn accept(&self) -> Result<IncomingStream> {
        loop {
            let rung = self.shared().incoming.notified();
            {
                let mut state = self.shared().lock();
                if let Some((id, target)) = state.mux.accept() {
                    let stream = Box::new(TunnelStream::new(id, Arc::clone(&self.in_use)));
                    return Ok(IncomingStream { target, stream });
                }
                if let Some(reason) = state.mux.close_reason() {
                    return Err(
                        Error::closed("the carrier has ended").with_context("reason", reason)
                    );
                }
            }
            rung.await;
        }
    }

    async fn close(&self, reason: &str) {
        let mut state = self.shared().lock();
        state.mux.close(reason);
        state.nudge();
    }

    async fn closed(&self) -> CloseReason {
        let mut progress = self.shared().progress.subscribe();
        match progress
            .wait_for(|progress| matches!(progress, Progress::Closed(_)))
            .await
            .as_deref()
        {
            Ok(Progress::Closed(reason)) => reason.clone(),
            _ => CloseReason::Broken("the carrier's driver has ended".to_owned()),
        }
    }

    fn round_trip(&self) -> Option<Duration> {
        self.shared().lock().mux.round_trip()
    }
}

impl Drop for MuxCarrier {
    fn drop(&mut self) {
        let mut state = self.shared().lock();
        state.mux.stop_accepting();
        state.nudge();
    }
}

impl fmt::Debug for MuxCarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MuxCarrier")
            .field("peer", &self.peer)
            .field("progress", &*self.shared().progress.borrow())
            .finish()
    }
}

/// Held by a carrier's handle and by its streams; the last one to go closes it.
pub(crate) struct InUse(Arc<Shared>);

impl InUse {
    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.mux.close("no longer used");
        state.nudge();
    }
}

fn not_established(reason: &CloseReason, failure: Option<&Error>) -> Error {
    let error = match (reason, failure) {
        (_, Some(failure)) => Error::new(failure.kind(), failure.message().to_owned())
            .with_retryable(failure.is_retryable()),
        (CloseReason::Silent, _) => {
            Error::new(ErrorKind::Timeout, "the peer did not say hello in time")
        }
        (CloseReason::Peer(text), _) => {
            Error::closed(format!("the peer ended the connection: {text}"))
        }
        (reason, _) => Error::protocol(format!("the peer did not say hello: {reason}")),
    };
    error.with_operation("tunnel.hello")
}
