use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;

use super::{
    client::{Body, broken},
    meter::Meter,
};
use crate::{BoxByteStream, Error, Result};

/// Idle connections, newest last.
pub(super) struct Pool {
    idle: Mutex<Vec<Connection>>,
    limit: usize,
}

impl Pool {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            idle: Mutex::new(Vec::new()),
            limit,
        }
    }

    /// The connection used last: the least likely to have been closed by the server.
    pub(super) fn take(&self) -> Option<Connection> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    pub(super) fn put(&self, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.limit {
            idle.push(connection);
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// One HTTP connection. Its driver task ends with it.
pub(super) struct Connection {
    sender: http1::SendRequest<Body>,
    meter: Meter,
}

impl Connection {
    pub(super) async fn handshake(stream: BoxByteStream, peer: &'static str) -> Result<Self> {
        let meter = Meter::open();
        let (sender, driver) = http1::handshake(TokioIo::new(meter.over(stream)))
            .await
            .map_err(|error| broken(error, peer))?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, peer, "an HTTP connection ended");
            }
        });
        Ok(Self { sender, meter })
    }

    pub(super) async fn ready(&mut self) -> Result<(), hyper::Error> {
        self.sender.ready().await
    }

    /// Sends a request whose answer, head and body, may have at most `limit` bytes. On failure gives
    /// the request back if the server can't have seen it.
    pub(super) async fn try_send(
        &mut self,
        request: Request<Body>,
        limit: u64,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<Body>>)> {
        self.meter.allow(limit);
        let sent = self.sender.try_send_request(request).await;
        sent.map_err(|mut error| {
            let request = error.take_message();
            (error.into_error(), request)
        })
    }
}

/// A response body that gives its connection back to the pool when it was read to the end.
pub(super) struct PooledBody {
    body: Incoming,
    connection: Option<Connection>,
    pool: Arc<Pool>,
    peer: &'static str,
}

impl PooledBody {
    pub(super) fn new(
        body: Incoming,
        connection: Connection,
        pool: Arc<Pool>,
        peer: &'static str,
    ) -> Self {
        let mut this = Self {
            body,
            connection: Some(connection),
            pool,
            peer,
        };
        if this.body.is_end_stream() {
            this.release();
        }
        this
    }

    fn release(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.put(connection);
        }
    }
}

impl HttpBody for PooledBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.release();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| broken(error, self.peer))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
