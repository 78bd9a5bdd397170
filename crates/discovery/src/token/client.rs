//! The protocol's client side.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header::HOST};
use longshore_core::{
    Clock, ClockExt, Connector, Error, ErrorKind, Result,
    http::{HttpClient, full_body, read_body},
};

use super::TokenBase;
use crate::{
    entry,
    polled::{Found, Source},
};

pub(super) struct Client {
    http: HttpClient,
    clock: Arc<dyn Clock>,
    base: TokenBase,
    token: String,
    /// How long the service is asked to wait for a change.
    wait: Duration,
}

pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Client {
    pub(super) fn new(
        base: TokenBase,
        token: String,
        connector: Arc<dyn Connector>,
        clock: Arc<dyn Clock>,
        heartbeat: Duration,
    ) -> Self {
        let wait = heartbeat.clamp(Duration::from_secs(1), LONGEST_WAIT);
        Self {
            http: HttpClient::new(connector, clock.clone()),
            clock,
            base,
            token,
            wait,
        }
    }

    pub(super) async fn create(&self) -> Result<String> {
        let target = format!("{}/clusters", self.base.path);
        let answer = self.send(Method::POST, target, "", None, PATIENCE).await?;
        let answer = answer.checked("Failed to create a cluster")?;
        let token = std::str::from_utf8(&answer.body).unwrap_or("").trim();
        let sound = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if token.is_empty() || token.len() > 128 || !token.bytes().all(sound) {
            return Err(Error::protocol(
                "the token service answered without a token",
            ));
        }
        Ok(token.to_owned())
    }

    /// The registration's handle; empty from a service that knows none.
    pub(super) async fn register(&self, address: &str, ttl: Duration) -> Result<String> {
        let target = format!("{}?ttl={}", self.target(), ttl.as_secs());
        let answer = self
            .send(Method::POST, target, address, None, PATIENCE)
            .await?;
        let answer = answer.checked("Failed to register")?;
        Ok(answer.header(REGISTRATION).unwrap_or_default().to_owned())
    }

    pub(super) async fn renew(&self, address: &str, handle: &str) -> Result<()> {
        let answer = self
            .send(Method::PUT, self.target(), address, Some(handle), PATIENCE)
            .await?;
        answer.checked("Failed to renew the registration").map(drop)
    }

    pub(super) async fn deregister(&self, address: &str, handle: &str) -> Result<()> {
        let answer = self
            .send(
                Method::DELETE,
                self.target(),
                address,
                Some(handle),
                PATIENCE,
            )
            .await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(()),
            _ => answer.checked("Failed to deregister").map(drop),
        }
    }

    fn target(&self) -> String {
        format!("{}/clusters/{}", self.base.path, self.token)
    }

    async fn send(
        &self,
        method: Method,
        target: String,
        body: &str,
        handle: Option<&str>,
        patience: Duration,
    ) -> Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, self.base.endpoint.to_string());
        if let Some(handle) = handle {
            request = request.header(REGISTRATION, handle);
        }
        let request = request
            .body(full_body(body.to_owned()))
            .map_err(|error| Error::invalid("no sound request").with_source(error))?;
        let exchange = async {
            let response = self.http.send(request).await?;
            let (head, body) = response.into_parts();
            let body = read_body(body, LARGEST).await?;
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body,
            })
        };
        let answer = self
            .clock
            .timeout(patience, "the token service's answer", exchange)
            .await;
        answer
            .and_then(|answer| answer)
            .map_err(|error| error.with_backend("token"))
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn checked(self, failed: &'static str) -> Result<Self> {
        if self.status.is_success() {
            return Ok(self);
        }
        let kind = match self.status.as_u16() {
            404 => ErrorKind::NotFound,
            401 => ErrorKind::Unauthenticated,
            403 => ErrorKind::PermissionDenied,
            408 | 500.. => ErrorKind::Unavailable,
            429 => ErrorKind::ResourceExhausted,
            _ => ErrorKind::InvalidInput,
        };
        let code = self.status.as_u16();
        let message = format!("{failed}, Discovery service returned {code} HTTP status code");
        let said: String = String::from_utf8_lossy(&self.body)
            .chars()
            .take(200)
            .collect();
        let mut error = Error::new(kind, message).with_backend("token");
        if kind == ErrorKind::ResourceExhausted {
            error = error.with_retryable(true);
        }
        match said.trim() {
            "" => Err(error),
            said => Err(error.with_context("answer", said.escape_debug())),
        }
    }
}

#[async_trait]
impl Source for Client {
    async fn read(&self) -> Result<Found> {
        let answer = self
            .send(Method::GET, self.target(), "", None, PATIENCE)
            .await?;
        let answer = answer.checked("Failed to fetch entries")?;
        let entries: Vec<String> = serde_json::from_slice(&answer.body).map_err(|error| {
            Error::protocol(format!("Failed to decode response: {error}")).with_backend("token")
        })?;
        if entries.len() > MOST_ENTRIES {
            let message = format!("the token service lists more than {MOST_ENTRIES} nodes");
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        let (mut nodes, mut problems) = (Vec::new(), Vec::new());
        for text in entries {
            match entry::parse(text.trim(), MOST_ENTRIES - 1) {
                Ok(found) => nodes.extend(found),
                Err(error) if problems.len() < MOST_PROBLEMS => problems.push(error),
                Err(_) => {}
            }
        }
        let cursor = answer.header(INDEX).map(str::to_owned);
        let cursor = cursor.filter(|index| index.parse::<u64>().is_ok());
        Ok(Found {
            nodes,
            problems,
            cursor,
            again: None,
        })
    }

    async fn changed(&self, cursor: &str) -> Result<()> {
        let wait = self.wait.as_secs();
        let target = format!("{}?index={cursor}&wait={wait}", self.target());
        let patience = self.wait + PATIENCE;
        let start = self.clock.now();
        let answer = self.send(Method::GET, target, "", None, patience).await?;
        let answer = answer.checked("Failed to fetch entries")?;
        // A service that does not wait must not be asked in a circle.
        if answer.header(INDEX).is_none_or(|index| index == cursor)
            && self.clock.now().since(start) < self.wait / 2
        {
            self.clock.sleep(self.wait / 2).await;
        }
        Ok(())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({}, …)", self.base)
    }
}

/// As the service has them.
const REGISTRATION: &str = "x-registration";
const INDEX: &str = "x-index";
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const LARGEST: usize = 4 << 20;
const MOST_ENTRIES: usize = 65_536;
const MOST_PROBLEMS: usize = 100;
