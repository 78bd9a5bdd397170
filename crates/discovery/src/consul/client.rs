//! Requests to Consul.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, StatusCode};
use longshore_core::{Clock, Error, KvEntry, LeaseId, Random, Result, Revision};

use super::{failure, plan::Plan, session, snapshot::Snapshot, wire};
use crate::store::{Answer, Call, HttpEndpoints, KeyPath, StoreOptions};

#[derive(Debug)]
pub(super) struct Client {
    endpoints: HttpEndpoints,
    token: Option<HeaderValue>,
    description: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

impl Client {
    pub(super) fn new(options: &StoreOptions) -> Result<Self> {
        let token = match &options.credentials {
            None => None,
            Some(credentials) => {
                let mut token = HeaderValue::from_str(&credentials.password)
                    .map_err(|_| Error::invalid("consul's ACL token has forbidden characters"))?;
                token.set_sensitive(true);
                Some(token)
            }
        };
        Ok(Self {
            endpoints: HttpEndpoints::new(options, "consul"),
            token,
            description: options.describe("consul"),
            clock: options.clock.clone(),
            random: options.random.clone(),
        })
    }

    pub(super) fn describe(&self) -> &str {
        &self.description
    }

    /// Everything under a prefix; with an index, as soon as it is no longer as at that index, or
    /// after a while.
    pub(super) async fn list(&self, prefix: &str, behind: Option<Revision>) -> Result<Snapshot> {
        let path = escaped(&KeyPath::encode_prefix(prefix));
        let mut target = format!("/v1/kv/{path}?recurse&consistent");
        let mut patience = Duration::ZERO;
        if let Some(behind) = behind {
            target.push_str(&format!("&index={}&wait={}s", behind.0, WAIT.as_secs()));
            // Consul adds up to a sixteenth so that not all clients return at once.
            patience = WAIT + WAIT / 16;
        }
        let call = Call::new(Method::GET, target).repeatable();
        let answer = self.send(call.with_patience(patience)).await?;
        let revision = index(&answer)?;
        let pairs: Vec<wire::Pair> = match answer.status {
            StatusCode::NOT_FOUND => Vec::new(),
            _ => parse(&answer)?,
        };
        let entries = pairs.into_iter().map(wire::Pair::into_entry);
        let entries: Result<BTreeMap<_, _>> = entries
            .filter(|entry| {
                entry
                    .as_ref()
                    .map_or(true, |entry| entry.key.starts_with(prefix))
            })
            .map(|entry| entry.map(|entry| (entry.key.clone(), entry)))
            .collect();
        Ok(Snapshot {
            entries: entries?,
            revision,
        })
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        let target = format!("/v1/kv/{}?consistent", escaped(&KeyPath::encode(key)));
        let answer = self
            .send(Call::new(Method::GET, target).repeatable())
            .await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let pairs: Vec<wire::Pair> = parse(&answer)?;
        pairs
            .into_iter()
            .next()
            .map(wire::Pair::into_entry)
            .transpose()
    }

    /// The index at which it was done; `None` where nothing was written.
    pub(super) async fn transact(&self, plan: &Plan) -> Result<Option<Revision>> {
        let body = serde_json::to_vec(&plan.operations)
            .map_err(|error| Error::internal("a request that is no JSON").with_source(error))?;
        let call = Call::new(Method::PUT, "/v1/txn").with_body(body);
        let answer = self.endpoints.call(&self.signed(call)).await?;
        if !answer.status.is_success() && answer.status != StatusCode::CONFLICT {
            return Err(failure::of(answer.status, &answer.body));
        }
        let outcome: wire::Outcome = parse(&answer)?;
        if let Some(error) = outcome.errors.iter().flatten().next() {
            let purpose = plan.purposes.get(error.op_index).copied();
            return Err(failure::of_operation(purpose, &error.what));
        }
        if !plan.puts {
            return Ok(None);
        }
        let written = outcome.results.unwrap_or_default();
        let written = written.into_iter().filter_map(|result| result.kv);
        Ok(written.map(|pair| Revision(pair.modify_index)).max())
    }

    pub(super) async fn create_session(&self, ttl: Duration) -> Result<LeaseId> {
        let request = wire::NewSession {
            name: "longshore",
            ttl: format!("{}ms", ttl.as_millis().max(1)),
            behavior: "delete",
            lock_delay: "0s",
            node_checks: [],
        };
        let body = serde_json::to_vec(&request)
            .map_err(|error| Error::internal("a request that is no JSON").with_source(error))?;
        let call = Call::new(Method::PUT, "/v1/session/create").with_body(body);
        let created: wire::SessionRef = parse(&self.send(call).await?)?;
        session::parse(&created.id)
            .ok_or_else(|| Error::protocol("consul gave a session id that is no UUID"))
    }

    pub(super) async fn renew_session(&self, lease: LeaseId) -> Result<()> {
        let target = format!("/v1/session/renew/{}", session::format(lease));
        let answer = self
            .send(Call::new(Method::PUT, target).repeatable())
            .await?;
        match answer.status {
            StatusCode::NOT_FOUND => Err(failure::ended(lease)),
            _ => Ok(()),
        }
    }

    pub(super) async fn destroy_session(&self, lease: LeaseId) -> Result<()> {
        let target = format!("/v1/session/destroy/{}", session::format(lease));
        self.send(Call::new(Method::PUT, target).repeatable())
            .await
            .map(drop)
    }

    /// Sends; a status that is neither success nor "not found" is an error.
    async fn send(&self, call: Call) -> Result<Answer> {
        let server = self.endpoints.current();
        let answer = self.endpoints.call(&self.signed(call)).await?;
        if answer.status.is_success() || answer.status == StatusCode::NOT_FOUND {
            return Ok(answer);
        }
        if answer.status.is_server_error() {
            self.endpoints.leave(server);
        }
        Err(failure::of(answer.status, &answer.body))
    }

    fn signed(&self, call: Call) -> Call {
        let name = HeaderName::from_static("x-consul-token");
        let token = self.token.clone();
        call.with_header(token.map(|token| (name, token)))
    }
}

fn index(answer: &Answer) -> Result<Revision> {
    answer
        .headers
        .get("x-consul-index")
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Revision)
        .ok_or_else(|| Error::protocol("the answer has no X-Consul-Index: is this consul?"))
}

fn parse<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        Error::protocol("consul's answer is not what its API sends").with_source(error)
    })
}

/// A path in a URL: already printable ASCII.
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// How long a watch's query waits for a change.
const WAIT: Duration = Duration::from_secs(10);
