//! The hosted discovery service behind `token://`: Swarm's protocol, over any [`KvStore`].
//!
//! | request | answer |
//! | --- | --- |
//! | `POST …/clusters` | 200, a new cluster's token |
//! | `POST …/clusters/TOKEN?ttl=SECONDS`, body `host:port` | 200; `X-Registration` names the registration |
//! | `GET …/clusters/TOKEN` | 200, a JSON array of `host:port`; `X-Index` numbers the state |
//!
//! That much is Swarm's (the two headers are ours). What it lacked:
//!
//! | request | answer |
//! | --- | --- |
//! | `GET …/clusters/TOKEN?index=N&wait=SECONDS` | as above, as soon as something is newer than `N`, or after the wait |
//! | `PUT …/clusters/TOKEN`, body `host:port`, `X-Registration` | 204: renewed; 404: it has ended |
//! | `DELETE …/clusters/TOKEN`, body `host:port`, `X-Registration` | 204: taken back, also when it had ended |
//!
//! Errors are 400, 404, 405, 408, 429 or 503 with a line of text. The token is the secret:
//! whoever has it may read and register. Serve it over TLS.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use longshore_core::{Clock, ClockExt, Error, ErrorKind, KvStore, Random, Result};
use tokio::sync::Semaphore;

mod registry;
mod route;
mod serve;

pub use serve::serve;

use registry::{Listing, Registry};
use route::Route;

/// How much a [`TokenService`] lets strangers use.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TokenLimits {
    /// Clusters at a time. 10,000.
    pub clusters: usize,
    /// Nodes in one cluster. 10,000.
    pub nodes: usize,
    /// The longest time to live of a registration. One day.
    pub ttl: Duration,
    /// The longest wait for a change. 60 s.
    pub wait: Duration,
    /// Requests that wait for a change, at a time. 4,096.
    pub waiting: usize,
    /// How long a request's body may take to arrive. 10 s.
    pub body: Duration,
}

impl Default for TokenLimits {
    fn default() -> Self {
        Self {
            clusters: 10_000,
            nodes: 10_000,
            ttl: Duration::from_secs(24 * 3600),
            wait: Duration::from_secs(60),
            waiting: 4096,
            body: Duration::from_secs(10),
        }
    }
}

impl TokenLimits {
    /// Sets how many clusters there may be and how many nodes in each.
    #[must_use]
    pub fn with_sizes(mut self, clusters: usize, nodes: usize) -> Self {
        (self.clusters, self.nodes) = (clusters, nodes);
        self
    }

    /// Sets the longest wait and how many may wait.
    #[must_use]
    pub fn with_waits(mut self, wait: Duration, waiting: usize) -> Self {
        (self.wait, self.waiting) = (wait, waiting);
        self
    }
}

/// The service, as a function from request to response: mount it in any HTTP server, below any
/// path. Clones serve the same clusters.
///
/// ```
/// # use std::sync::Arc;
/// # use longshore_core::{OsRandom, SystemClock};
/// use longshore_discovery::{MemoryKv, token_service::{TokenLimits, TokenService}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), http::Error> {
/// let clock = Arc::new(SystemClock::new());
/// let store = Arc::new(MemoryKv::new(clock.clone()));
/// let service = TokenService::new(store, "tokens", TokenLimits::default(), clock, Arc::new(OsRandom));
///
/// // In axum: axum::Router::new().fallback(move |request| async move { service.handle(request).await })
/// let request = http::Request::post("/v1/clusters").body(http_body_util::Empty::<bytes::Bytes>::new())?;
/// assert_eq!(service.handle(request).await.status(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TokenService {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    registry: Registry,
    limits: TokenLimits,
    clock: Arc<dyn Clock>,
    waiting: Semaphore,
}

impl TokenService {
    /// Keeps its clusters under `prefix` of the store.
    pub fn new(
        store: Arc<dyn KvStore>,
        prefix: &str,
        limits: TokenLimits,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let registry = Registry::new(store, prefix, limits, clock.clone(), random);
        let waiting = Semaphore::new(limits.waiting.min(Semaphore::MAX_PERMITS));
        Self {
            shared: Arc::new(Shared {
                registry,
                limits,
                clock,
                waiting,
            }),
        }
    }

    /// Makes a cluster and gives its token.
    ///
    /// # Errors
    /// There are as many as may be, or the store fails.
    pub async fn create(&self) -> Result<String> {
        self.shared.registry.create().await
    }

    /// Answers one request. Dropping the future ends a wait and has no other effect than a lost
    /// answer.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body + Send,
        B::Data: Send,
    {
        match self.answer(request).await {
            Ok(response) => response,
            Err(error) => refuse(&error),
        }
    }

    async fn answer<B>(&self, request: Request<B>) -> Result<Response<Full<Bytes>>>
    where
        B: Body + Send,
        B::Data: Send,
    {
        let (head, body) = request.into_parts();
        let route = Route::parse(&head.uri)?;
        let registry = &self.shared.registry;
        let registration = head.headers.get(REGISTRATION).cloned();
        let handle = registration.as_ref().and_then(|value| value.to_str().ok());
        match (&head.method, route.token.as_deref()) {
            (&Method::POST, None) => {
                let token = registry.create().await?;
                Ok(Response::new(Full::from(token)))
            }
            (&Method::GET, Some(token)) => self.list(token, &route).await,
            (&Method::POST, Some(token)) => {
                let address = self.read_address(body).await?;
                let ttl = route.ttl.unwrap_or(DEFAULT_TTL);
                let handle = registry.register(token, &address, ttl).await?;
                let mut response = Response::new(Full::default());
                if let Ok(value) = handle.parse() {
                    response.headers_mut().insert(REGISTRATION, value);
                }
                Ok(response)
            }
            (&Method::PUT, Some(token)) => {
                let address = self.read_address(body).await?;
                let handle = handle.ok_or_else(unnamed)?;
                registry.renew(token, &address, handle).await?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            (&Method::DELETE, Some(token)) => {
                let address = self.read_address(body).await?;
                let handle = handle.ok_or_else(unnamed)?;
                registry.deregister(token, &address, handle).await?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            _ => Ok(empty(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    async fn list(&self, token: &str, route: &Route) -> Result<Response<Full<Bytes>>> {
        let registry = &self.shared.registry;
        registry.check(token).await?;
        if let (Some(index), Some(wait)) = (route.index, route.wait) {
            let Ok(_permit) = self.shared.waiting.try_acquire() else {
                return Err(Error::unavailable(
                    "too many requests wait for changes; try again later",
                ));
            };
            let wait = wait.min(self.shared.limits.wait);
            let changed = registry.changed(token, index);
            // Running out of time is no error: the list is the same then.
            let _ = self.shared.clock.timeout(wait, "the wait", changed).await;
        }
        let Listing { addresses, index } = registry.list(token).await?;
        let text = serde_json::to_vec(&addresses)
            .map_err(|error| Error::internal("the list can't be written").with_source(error))?;
        let mut response = Response::new(Full::from(text));
        let headers = response.headers_mut();
        headers.insert(INDEX, index.into());
        let json = http::HeaderValue::from_static("application/json");
        headers.insert(http::header::CONTENT_TYPE, json);
        Ok(response)
    }

    async fn read_address<B>(&self, body: B) -> Result<String>
    where
        B: Body + Send,
        B::Data: Send,
    {
        let read = async {
            let mut body = std::pin::pin!(body);
            let mut text = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| Error::invalid("the request's body broke off"))?;
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                if text.len() + data.remaining() > LONGEST_ADDRESS {
                    let message = format!("an address has at most {LONGEST_ADDRESS} bytes");
                    return Err(Error::invalid(message));
                }
                text.put(data);
            }
            Ok::<_, Error>(text)
        };
        let limit = self.shared.limits.body;
        let text = self
            .shared
            .clock
            .timeout(limit, "the request's body", read)
            .await??;
        let text = std::str::from_utf8(&text).map_err(|_| Error::invalid("not an address"))?;
        Ok(text.trim().to_owned())
    }
}

fn unnamed() -> Error {
    Error::invalid("the request needs the X-Registration that registering gave")
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn refuse(error: &Error) -> Response<Full<Bytes>> {
    let status = match error.kind() {
        ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Timeout => StatusCode::REQUEST_TIMEOUT,
        ErrorKind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = Response::new(Full::from(format!("{error}\n")));
    *response.status_mut() = status;
    response
}

/// Names a registration.
pub(crate) const REGISTRATION: &str = "x-registration";
/// Numbers the state of a list.
pub(crate) const INDEX: &str = "x-index";
/// Swarm's `--ttl`.
const DEFAULT_TTL: Duration = Duration::from_secs(180);
const LONGEST_ADDRESS: usize = 512;
