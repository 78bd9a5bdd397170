//! HTTP to a store of several servers: bounded in number, time and length, with failover.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use longshore_core::{
    Clock, ClockExt, Connector, Error, Result,
    http::{Body, HttpClient, empty_body, full_body, read_body},
};
use tokio::sync::Semaphore;

use super::{StoreOptions, dial::Dialer, endpoints::Rotation, tls::Refusal};

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) body: Bytes,
    /// For this call alone, like an access token.
    pub(crate) header: Option<(HeaderName, HeaderValue)>,
    /// Whether asking twice does no harm: then another server is asked when one fails.
    pub(crate) repeatable: bool,
    /// Added to the usual time limit: how long the server is asked to wait.
    pub(crate) patience: Duration,
}

impl Call {
    pub(crate) fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            body: Bytes::new(),
            header: None,
            repeatable: false,
            patience: Duration::ZERO,
        }
    }

    pub(crate) fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn with_header(mut self, header: Option<(HeaderName, HeaderValue)>) -> Self {
        self.header = header;
        self
    }

    #[cfg(feature = "consul")]
    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub(crate) fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    #[cfg(feature = "consul")]
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

/// The servers of a store.
#[derive(Debug)]
pub(crate) struct HttpEndpoints {
    clients: Vec<HttpClient>,
    hosts: Vec<HeaderValue>,
    refusals: Vec<Refusal>,
    rotation: Rotation,
    places: Semaphore,
    clock: Arc<dyn Clock>,
    request_limit: Duration,
    largest_answer: usize,
}

impl HttpEndpoints {
    pub(crate) fn new(options: &StoreOptions, peer: &'static str) -> Self {
        let dialers = options.endpoints.iter();
        let dialers = dialers.map(|endpoint| Dialer::new(endpoint.clone(), options.tls.clone()));
        let dialers: Vec<_> = dialers.collect();
        let client = |dialer: &Dialer| {
            let dialer: Arc<dyn Connector> = Arc::new(dialer.clone());
            HttpClient::new(dialer, options.clock.clone())
                .with_connect_limit(options.connect_limit)
                .with_peer(peer)
                .with_idle_limit(options.most_requests)
        };
        let host = |endpoint: &longshore_core::Endpoint| {
            HeaderValue::from_str(&endpoint.to_string())
                .unwrap_or(HeaderValue::from_static("store"))
        };
        Self {
            clients: dialers.iter().map(client).collect(),
            refusals: dialers.iter().map(Dialer::refusal).collect(),
            hosts: options.endpoints.iter().map(host).collect(),
            rotation: Rotation::default(),
            places: Semaphore::new(options.most_requests),
            clock: options.clock.clone(),
            request_limit: options.request_limit,
            largest_answer: options.largest_answer,
        }
    }

    #[cfg(feature = "etcd")]
    pub(crate) fn largest_answer(&self) -> usize {
        self.largest_answer
    }

    /// Leaves the server that is asked now: it answers, but can't serve.
    pub(crate) fn leave(&self, server: usize) {
        self.rotation.leave(server, self.clients.len());
    }

    pub(crate) fn current(&self) -> usize {
        self.rotation.current(self.clients.len())
    }

    /// Sends and reads the whole answer. A call that may not be repeated is sent to another server
    /// only when the one before could not be connected to.
    pub(crate) async fn call(&self, call: &Call) -> Result<Answer> {
        // Who waits for news takes no place: there are as many as there are watches, and together they
        // would keep everything else from the store.
        let _place = match call.patience.is_zero() {
            true => Some(self.places.acquire().await),
            false => None,
        };
        let limit = self.request_limit + call.patience;
        let mut tries = self.clients.len();
        loop {
            tries = tries.saturating_sub(1);
            let server = self.current();
            let exchange = async {
                let response = self.send(server, call).await?;
                let (head, body) = response.into_parts();
                let body = read_body(body, self.largest_answer).await?;
                Ok(Answer {
                    status: head.status,
                    #[cfg(feature = "consul")]
                    headers: head.headers,
                    body,
                })
            };
            let answer = self
                .clock
                .timeout(limit, "the store's answer", exchange)
                .await
                .and_then(|answer| answer);
            match answer {
                Err(error) if error.is_retryable() => {
                    self.leave(server);
                    let unsent = error.operation() == Some(NOT_CONNECTED);
                    if tries == 0 || !(call.repeatable || unsent) {
                        return Err(error);
                    }
                }
                answer => return answer,
            }
        }
    }

    #[cfg(feature = "etcd")]
    /// Sends and gives the answer while it still comes. Says which server it comes from.
    pub(crate) async fn open(&self, call: &Call) -> Result<(usize, Response<Body>)> {
        let mut tries = self.clients.len();
        loop {
            tries = tries.saturating_sub(1);
            let server = self.current();
            let answer = self
                .clock
                .timeout(
                    self.request_limit,
                    "the store's answer",
                    self.send(server, call),
                )
                .await
                .and_then(|answer| answer);
            match answer {
                Ok(response) => return Ok((server, response)),
                Err(error) => {
                    self.leave(server);
                    if tries == 0 {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn send(&self, server: usize, call: &Call) -> Result<Response<Body>> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(call.target.as_str())
            .header(header::HOST, self.hosts[server].clone());
        if let Some((name, value)) = &call.header {
            request = request.header(name, value);
        }
        let body = match call.body.is_empty() {
            true => empty_body(),
            false => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                full_body(call.body.clone())
            }
        };
        let request = request
            .body(body)
            .map_err(|error| Error::internal("a request that is no HTTP").with_source(error))?;
        let client = &self.clients[server];
        let explain = |error| {
            let host = client.connector().describe();
            self.refusals[server].explain(&host, error)
        };
        client.send(request).await.map_err(explain)
    }
}

/// The operation that core's HTTP client names when there was no connection to send on.
const NOT_CONNECTED: &str = "http.connect";
