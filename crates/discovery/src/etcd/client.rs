//! Requests to the gateway, and the access token where the cluster wants one.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use http::{HeaderName, HeaderValue, Method, header::AUTHORIZATION};
use longshore_core::{Clock, Error, ErrorKind, Random, Result, Revision, http::Body};
use serde::{Serialize, de::DeserializeOwned};

use super::{failure, wire};
use crate::store::{Answer, Call, HttpEndpoints, StoreCredentials, StoreOptions};

#[derive(Debug)]
pub(super) struct Client {
    endpoints: HttpEndpoints,
    credentials: Option<StoreCredentials>,
    token: Mutex<Option<HeaderValue>>,
    description: String,
    /// The cluster that answered last; 0 before the first answer.
    cluster: AtomicU64,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

/// Where a cluster stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) cluster: u64,
    pub(super) revision: Revision,
}

impl Client {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self {
            endpoints: HttpEndpoints::new(options, "etcd"),
            credentials: options.credentials.clone(),
            token: Mutex::new(None),
            description: options.describe("etcd"),
            cluster: AtomicU64::new(0),
            clock: options.clock.clone(),
            random: options.random.clone(),
        }
    }

    pub(super) fn describe(&self) -> &str {
        &self.description
    }

    pub(super) fn longest_message(&self) -> usize {
        self.endpoints.largest_answer()
    }

    /// A call that may be sent again.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        path: &'static str,
        request: &impl Serialize,
    ) -> Result<T> {
        self.exchange(Call::new(Method::POST, path).repeatable(), request)
            .await
    }

    /// A call that must not be done twice.
    pub(super) async fn write<T: DeserializeOwned>(
        &self,
        path: &'static str,
        request: &impl Serialize,
    ) -> Result<T> {
        self.exchange(Call::new(Method::POST, path), request).await
    }

    /// A range, which also says which cluster answers.
    pub(super) async fn range(&self, request: &wire::Range) -> Result<wire::RangeAnswer> {
        let answer: wire::RangeAnswer = self.read("/v3/kv/range", request).await?;
        self.cluster
            .store(answer.header.cluster_id, Ordering::Relaxed);
        Ok(answer)
    }

    /// The cluster that answered last.
    pub(super) fn cluster(&self) -> Option<u64> {
        Some(self.cluster.load(Ordering::Relaxed)).filter(|cluster| *cluster != 0)
    }

    /// Asked of a majority.
    pub(super) async fn standing(&self) -> Result<Standing> {
        let request = wire::Range {
            key: wire::encode("\0"),
            count_only: true,
            ..wire::Range::default()
        };
        let answer = self.range(&request).await?;
        Ok(Standing {
            cluster: answer.header.cluster_id,
            revision: Revision(answer.header.revision),
        })
    }

    /// Begins a watch; the answer goes on for as long as it lives.
    pub(super) async fn watch(&self, request: &wire::WatchRequest) -> Result<Body> {
        let call = Call::new(Method::POST, "/v3/watch").with_body(body(request)?);
        for fresh in [false, true] {
            let call = call.clone().with_header(self.access(fresh).await?);
            let (server, response) = self.endpoints.open(&call).await?;
            let (head, body) = response.into_parts();
            if head.status.is_success() {
                return Ok(body);
            }
            let body = longshore_core::http::read_body(body, 64 * 1024).await?;
            let error = refusal(&body, head.status);
            if self.token_is_old(&error) && !fresh {
                continue;
            }
            self.endpoints.leave(server);
            return Err(error);
        }
        Err(failure::of(16, "invalid auth token"))
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        call: Call,
        request: &impl Serialize,
    ) -> Result<T> {
        let call = call.with_body(body(request)?);
        let server = self.endpoints.current();
        let first = call.clone().with_header(self.access(false).await?);
        let result = parse(&self.endpoints.call(&first).await?);
        match result {
            // The token is told before anything is done, so this may be sent again.
            Err(error) if self.token_is_old(&error) => {
                let again = call.with_header(self.access(true).await?);
                parse(&self.endpoints.call(&again).await?)
            }
            Err(error) if error.is_retryable() => {
                self.endpoints.leave(server);
                Err(error)
            }
            result => result,
        }
    }

    fn token_is_old(&self, error: &Error) -> bool {
        self.credentials.is_some() && error.kind() == ErrorKind::Unauthenticated
    }

    /// The header that says who we are; a new one when the old is refused.
    async fn access(&self, fresh: bool) -> Result<Option<(HeaderName, HeaderValue)>> {
        let Some(StoreCredentials { user, password }) = &self.credentials else {
            return Ok(None);
        };
        let known = self
            .token
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(token) = known.filter(|_| !fresh) {
            return Ok(Some((AUTHORIZATION, token)));
        }
        let request = wire::Authenticate {
            name: user,
            password,
        };
        let call = Call::new(Method::POST, "/v3/auth/authenticate").repeatable();
        let answer = self
            .endpoints
            .call(&call.with_body(body(&request)?))
            .await?;
        let answer: wire::AuthenticateAnswer = parse(&answer)?;
        let mut token = HeaderValue::from_str(&answer.token)
            .map_err(|_| Error::protocol("etcd gave a token that is no header"))?;
        token.set_sensitive(true);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(Some((AUTHORIZATION, token)))
    }
}

fn body(request: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(request)
        .map_err(|error| Error::internal("a request that is no JSON").with_source(error))
}

fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T> {
    if !answer.status.is_success() {
        return Err(refusal(&answer.body, answer.status));
    }
    serde_json::from_slice(&answer.body).map_err(|error| {
        Error::protocol("etcd's answer is not what its gateway sends (is this etcd 3.4 or later?)")
            .with_source(error)
    })
}

fn refusal(body: &[u8], status: http::StatusCode) -> Error {
    match serde_json::from_slice::<wire::Refusal>(body) {
        Ok(refusal) if refusal.code != 0 => {
            let text = match refusal.error.is_empty() {
                true => refusal.message,
                false => refusal.error,
            };
            failure::of(refusal.code, &text)
        }
        _ if status == http::StatusCode::NOT_FOUND => Error::protocol(
            "the server has no etcd v3 gateway: etcd 3.4 or later is needed (status 404)",
        ),
        _ => Error::unavailable(format!("etcd answered with status {status}")),
    }
}
