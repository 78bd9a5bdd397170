use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use longshore_core::{ByteStream, Clock, ClockExt, Identity, Shutdown, UnixByteStream};
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service;

use super::{
    Hosts, ListenOptions,
    endless::{self, UntilShutdown},
    slots::Slot,
    tap::{Tap, TapLimits, TapState},
};

/// A connection as it came.
pub(super) enum Accepted {
    Unix(UnixStream),
    Tcp(TcpStream, SocketAddr),
}

impl Accepted {
    /// The peer's address, on TCP.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(_, peer) => Some(peer.ip()),
        }
    }
}

/// What one connection is served with.
pub(super) struct Connection<A> {
    pub(super) app: A,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: ListenOptions,
    pub(super) shutdown: Shutdown,
    /// The names it may be called by, on TCP without TLS.
    pub(super) hosts: Option<Hosts>,
    #[cfg(feature = "tls")]
    pub(super) slots: Arc<super::slots::Slots>,
    #[cfg(feature = "tls")]
    pub(super) acceptor: Option<super::tls::Acceptor>,
}

impl<A> Connection<A>
where
    A: Service<Request<AxumBody>, Response = Response<AxumBody>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    A::Future: Send,
{
    /// Serves it until it ends or has to give way. A raw stream that it became keeps the slot.
    pub(super) async fn serve(self, accepted: Accepted, slot: Slot) {
        let evicted = slot.evicted();
        tokio::select! {
            () = self.accepted(accepted, slot) => {}
            () = evicted => {}
        }
    }

    async fn accepted(mut self, accepted: Accepted, slot: Slot) {
        match accepted {
            Accepted::Unix(stream) => {
                let peer = stream.peer_cred();
                match peer.and_then(|peer| Ok((peer, UnixByteStream::new(stream)?))) {
                    Ok((peer, stream)) => {
                        let who = Identity::new(format!("unix:{}", peer.uid()), "unix");
                        self.http(stream, who, slot).await;
                    }
                    Err(error) => tracing::warn!(%error, "a connection that can't be served"),
                }
            }
            #[cfg(feature = "tls")]
            Accepted::Tcp(stream, peer) if self.acceptor.is_some() => {
                self.secured(stream, peer, slot).await;
            }
            Accepted::Tcp(stream, peer) => {
                let here = stream.local_addr().ok();
                self.hosts = self.hosts.map(|hosts| hosts.reached_at(here));
                let who = if peer.ip().is_loopback() {
                    Identity::new("loopback", "local")
                } else {
                    Identity::new("anonymous", "none")
                };
                self.http(stream, who, slot).await;
            }
        }
    }

    #[cfg(feature = "tls")]
    async fn secured(self, stream: TcpStream, peer: SocketAddr, slot: Slot) {
        let Some(acceptor) = self.acceptor.clone() else {
            return;
        };
        let handshake = acceptor.accept(stream);
        let limit = self.options.handshake_limit;
        match self
            .clock
            .timeout(limit, "the TLS handshake", handshake)
            .await
            .and_then(|done| done)
        {
            Ok((stream, who)) => {
                slot.wait();
                self.http(stream, who, slot).await;
            }
            Err(error) if self.slots.may_tell_of_handshake() => {
                tracing::info!(%peer, error = %error.chain(), "TLS handshake failed");
            }
            Err(error) => {
                tracing::debug!(%peer, error = %error.chain(), "TLS handshake failed");
            }
        }
    }

    async fn http(self, stream: impl ByteStream, who: Identity, slot: Slot) {
        let state = Arc::new(TapState::new(slot));
        let limits = TapLimits {
            head: self.options.head_limit,
            idle: self.options.idle_limit,
            head_bytes: self.options.head_bytes,
        };
        let tap = Tap::new(stream, Arc::clone(&state), Arc::clone(&self.clock), limits);
        let (app, hosts) = (self.app, self.hosts);
        let shutdown = self.shutdown.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let in_time = state.begin();
            request.extensions_mut().insert(who.clone());
            if let Some(hosts) = &hosts {
                request.extensions_mut().insert(hosts.clone());
            }
            request.extensions_mut().insert(Arc::clone(&state));
            let state = Arc::clone(&state);
            let mut over = endless::ending(request.method(), request.uri(), &shutdown);
            let answer = app.clone().call(request.map(AxumBody::new));
            async move {
                if !in_time {
                    return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
                }
                let Ok(answer) = endless::answered(answer, over.as_mut()).await;
                Ok(answer).map(|response: Response<AxumBody>| {
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        state.set_raw();
                    }
                    response.map(|body| Answer {
                        body: UntilShutdown { body, over },
                        state,
                    })
                })
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // The tap keeps the deadlines; the library's own would cut idle connections short.
            .header_read_timeout(None)
            .max_buf_size(self.options.head_bytes.max(8192))
            .serve_connection(TokioIo::new(tap), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.shutdown.requested() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    result = connection => result,
                    () = self.clock.sleep(self.options.drain_limit) => return,
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a client connection ended");
        }
    }
}

/// An answer's body that tells the tap when it is done with.
struct Answer {
    body: UntilShutdown,
    state: Arc<TapState>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.state.end();
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
