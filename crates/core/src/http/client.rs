use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::{HeaderValue, Request, Response, header::HOST};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};

use super::{
    pool::{Connection, Pool, PooledBody},
    upgrade::{Upgraded, upgrade},
};
use crate::{Clock, ClockExt, Connector, Error, ErrorKind, Result};

/// A request or response body of any kind.
pub type Body = UnsyncBoxBody<Bytes, Error>;

/// No body.
pub fn empty_body() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body held in memory.
pub fn full_body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body that comes piece by piece.
pub fn stream_body<S>(pieces: S) -> Body
where
    S: Stream<Item = Result<Bytes>> + Send + 'static,
{
    use futures::StreamExt;
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// Reads a whole body, at most `limit` bytes.
///
/// # Errors
/// [`ErrorKind::ResourceExhausted`] when the body is larger, and whatever ends the connection.
pub async fn read_body(mut body: Body, limit: usize) -> Result<Bytes> {
    let too_large = || {
        Error::new(
            ErrorKind::ResourceExhausted,
            format!("the answer is larger than {limit} bytes"),
        )
    };
    // Most answers come in one piece, which need not be copied.
    let mut whole = Bytes::new();
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if whole.len() + buffer.len() + data.len() > limit {
            return Err(too_large());
        }
        if buffer.is_empty() && whole.is_empty() {
            whole = data;
            continue;
        }
        if buffer.is_empty() {
            buffer.extend_from_slice(&std::mem::take(&mut whole));
        }
        buffer.extend_from_slice(&data);
    }
    Ok(if buffer.is_empty() {
        whole
    } else {
        buffer.freeze()
    })
}

/// An HTTP/1.1 client for one server that is reached through a [`Connector`].
///
/// Clones share the pool of idle connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    connector: Arc<dyn Connector>,
    clock: Arc<dyn Clock>,
    pool: Arc<Pool>,
    connect_limit: Duration,
    peer: &'static str,
}

impl HttpClient {
    /// A client that keeps up to eight idle connections and gives a connection attempt ten seconds.
    pub fn new(connector: Arc<dyn Connector>, clock: Arc<dyn Clock>) -> Self {
        Self {
            connector,
            clock,
            pool: Arc::new(Pool::new(MAX_IDLE)),
            connect_limit: Duration::from_secs(10),
            peer: "engine",
        }
    }

    /// Says what the server is, for errors: `engine` unless told.
    #[must_use]
    pub fn with_peer(mut self, peer: &'static str) -> Self {
        self.peer = peer;
        self
    }

    /// Changes how many idle connections are kept. Clones made before keep their pool.
    #[must_use]
    pub fn with_idle_limit(mut self, connections: usize) -> Self {
        self.pool = Arc::new(Pool::new(connections));
        self
    }

    /// Changes how long a connection attempt may take.
    #[must_use]
    pub fn with_connect_limit(mut self, limit: Duration) -> Self {
        self.connect_limit = limit;
        self
    }

    /// The connector below.
    pub fn connector(&self) -> &Arc<dyn Connector> {
        &self.connector
    }

    /// Sends a request and gives the answer as soon as its head is there. The body streams; the
    /// connection is used again once the body was read to its end.
    ///
    /// The request target must be in origin form (`/containers/json`). A missing `Host` is set.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the server can't be reached (operation `http.connect`: nothing
    /// was sent) or the connection breaks before the answer; [`ErrorKind::Protocol`] when the answer is not HTTP. Statuses are not errors.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the server may have acted on the request.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>> {
        let (response, connection) = self.exchange(request, u64::MAX).await?;
        let pool = Arc::clone(&self.pool);
        let peer = self.peer;
        Ok(response.map(|body| PooledBody::new(body, connection, pool, peer).boxed_unsync()))
    }

    /// As [`send`](Self::send), but with hyper's own body type, for client libraries that insist on
    /// it (bollard). Such a body can't tell that it was read, so a task of its own waits for the
    /// connection to become usable again; prefer `send`. Such libraries read bodies whole, so the
    /// answer may have `limit` bytes, its head included, and is cut off behind them.
    ///
    /// # Errors
    /// As for [`send`](Self::send). The body ends with an error around one of
    /// [`ErrorKind::ResourceExhausted`] when the answer is larger.
    ///
    /// # Cancel safety
    /// As for [`send`](Self::send).
    pub async fn send_incoming(
        &self,
        request: Request<Body>,
        limit: u64,
    ) -> Result<Response<Incoming>> {
        let (response, mut connection) = self.exchange(request, limit).await?;
        let pool = Arc::clone(&self.pool);
        tokio::spawn(async move {
            // Ends with an error when the body is dropped before its end: not reusable then.
            if connection.ready().await.is_ok() {
                pool.put(connection);
            }
        });
        Ok(response)
    }

    async fn exchange(
        &self,
        mut request: Request<Body>,
        limit: u64,
    ) -> Result<(Response<Incoming>, Connection)> {
        request
            .headers_mut()
            .entry(HOST)
            .or_insert(HeaderValue::from_static("longshore"));
        loop {
            let (mut connection, reused) = match self.pool.take() {
                Some(connection) => (connection, true),
                None => (self.open().await?, false),
            };
            if reused && connection.ready().await.is_err() {
                continue;
            }
            match connection.try_send(request, limit).await {
                Ok(response) => return Ok((response, connection)),
                // An idle connection that the server closed meanwhile hands the request back.
                Err((_, Some(returned))) if reused => request = returned,
                Err((error, _)) => {
                    return Err(
                        broken(error, self.peer).with_context(self.peer, self.connector.describe())
                    );
                }
            }
        }
    }

    /// Sends a request that asks for the raw stream (`Connection: Upgrade`, `Upgrade: tcp` unless the
    /// request names another protocol) on a connection of its own.
    ///
    /// A status other than 101 and 200 comes back as [`Upgraded::Refused`] with its body.
    ///
    /// # Errors
    /// As for [`send`](Self::send); a response head over 64 KiB is [`ErrorKind::Protocol`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the server may have acted on the request.
    pub async fn upgrade(&self, request: Request<Bytes>) -> Result<Upgraded> {
        let stream = self.connect().await?;
        upgrade(stream, request)
            .await
            .map_err(|error| error.with_context(self.peer, self.connector.describe()))
    }

    async fn connect(&self) -> Result<crate::BoxByteStream> {
        let connecting = self.connector.connect();
        self.clock
            .timeout(self.connect_limit, "connecting", connecting)
            .await
            .map_err(|late| late.with_context(self.peer, self.connector.describe()))
            .and_then(|connected| connected)
            .map_err(|error| error.with_operation("http.connect"))
    }

    async fn open(&self) -> Result<Connection> {
        Connection::handshake(self.connect().await?, self.peer).await
    }
}

/// What ended a connection. A stream that knows better than hyper (a TLS stream, which knows the
/// reason of an alert) fails with an `io::Error` around an [`Error`]; that one is told then.
pub(super) fn broken(error: hyper::Error, peer: &str) -> Error {
    let told = std::error::Error::source(&error)
        .and_then(|cause| cause.downcast_ref::<std::io::Error>())
        .and_then(|cause| cause.get_ref()?.downcast_ref::<Error>())
        .map(|told| {
            Error::new(told.kind(), told.message().to_owned()).with_retryable(told.is_retryable())
        });
    match told {
        Some(told) => told,
        None if error.is_parse() => {
            Error::protocol(format!("the {peer}'s answer is not valid HTTP"))
        }
        None => Error::unavailable(format!("the connection to the {peer} broke")),
    }
    .with_source(error)
}

const MAX_IDLE: usize = 8;
