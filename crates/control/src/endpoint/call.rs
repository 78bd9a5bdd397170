use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use longshore_core::{
    ClockExt, Identity,
    http::{empty_body, full_body, read_body},
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Payload, Shared,
    error::{ApiError, ApiResult},
    pending::Meant,
    query::Query,
    replica::Primary,
    text::{Lines, plain_json},
    upload::Upload,
};
use crate::{ApiVersion, ContainerView};

/// One request, taken apart.
pub(super) struct Call {
    pub(super) who: Identity,
    pub(super) method: Method,
    /// The version in the path, if there was one.
    pub(super) version: Option<ApiVersion>,
    /// The path without it.
    pub(super) path: String,
    pub(super) raw_query: String,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    /// Behind a lock only to make this `Sync`; never contended.
    pub(super) body: Mutex<Payload>,
    /// How the body fares.
    pub(super) upload: Upload,
    pub(super) upgrade: Option<OnUpgrade>,
    /// The client did not ask for the upgrade itself: no switching headers in the answer.
    pub(super) legacy: bool,
    /// The body, where it was read for the audit log already; it is put back, too.
    pub(super) parsed: Option<Value>,
    /// What the audit log tells of the body.
    pub(super) detail: String,
    /// How long leave holds, where it has to be asked for again during a session.
    pub(super) leave: Option<std::time::Duration>,
    /// To whom it has to be passed on.
    pub(super) primary: Option<Primary>,
    /// The container that leave to read was given for.
    pub(super) found: Option<Arc<ContainerView>>,
    /// The pending work that leave was given for.
    pub(super) meant: Option<Meant>,
}

impl Call {
    /// Takes the body, leaving none.
    pub(super) fn take_body(&mut self) -> Payload {
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(body, empty_body())
    }

    /// Puts a body back that was taken.
    pub(super) fn put_body(&mut self, body: Payload) {
        *self.body.get_mut().unwrap_or_else(PoisonError::into_inner) = body;
    }

    /// Path and query as they came.
    pub(super) fn target(&self) -> String {
        let version = self.version.map(|version| format!("/v{version}"));
        let query = if self.raw_query.is_empty() { "" } else { "?" };
        format!(
            "{}{}{query}{}",
            version.unwrap_or_default(),
            self.path,
            self.raw_query
        )
    }

    /// Reads a body that has to fit into memory.
    pub(super) async fn read_body(&mut self, shared: &Shared) -> ApiResult<Bytes> {
        let limit = shared.options.body_limit;
        let body = self.take_body();
        let too_large = || {
            ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "resource-exhausted",
                format!("the request body is larger than {limit} bytes"),
            )
        };
        if hyper::body::Body::size_hint(&body).lower() > limit as u64 {
            return Err(too_large());
        }
        let read = shared
            .plane
            .clock()
            .timeout(
                shared.options.call_limit,
                "reading the request body",
                read_body(body, limit),
            )
            .await
            .map_err(|error| {
                ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", error.to_string())
            })?;
        read.map_err(|error| match error.kind() {
            longshore_core::ErrorKind::ResourceExhausted => too_large(),
            longshore_core::ErrorKind::Timeout => {
                ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", error.to_string())
            }
            _ => ApiError::bad_request("the request body is truncated"),
        })
    }

    /// Reads a JSON body; an empty one reads as `null`.
    pub(super) async fn read_json(&mut self, shared: &Shared) -> ApiResult<Value> {
        if let Some(value) = self.parsed.take() {
            return Ok(value);
        }
        Self::parse_json(&self.read_body(shared).await?)
    }

    pub(super) fn parse_json(bytes: &[u8]) -> ApiResult<Value> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_slice(bytes)
            .map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))
    }
}

/// Refuses a field that an engine reads as one of these though it is written otherwise: engines look
/// at no case, so what is checked here under one spelling would come under another.
pub(super) fn exact_fields(body: &Map<String, Value>, names: &[&str]) -> ApiResult<()> {
    let folded = |name: &str| name.to_lowercase().to_uppercase();
    for key in body.keys() {
        let meant = names.iter().find(|name| folded(name) == folded(key));
        if let Some(name) = meant.filter(|name| *name != key) {
            return Err(ApiError::bad_request(format!(
                "invalid JSON: the field {key:?} is to be written {name:?}"
            )));
        }
    }
    Ok(())
}

/// A JSON answer, of which nothing commands a terminal.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> ApiResult {
    written(status, value, Lines::One)
}

/// As [`json`], where texts may have lines.
pub(super) fn prose_json(status: StatusCode, value: &impl Serialize) -> ApiResult {
    written(status, value, Lines::Many)
}

fn written(status: StatusCode, value: &impl Serialize, lines: Lines) -> ApiResult {
    let body = serde_json::to_vec(value)
        .and_then(|body| plain_json(body, lines))
        .map_err(|error| ApiError::internal(format!("the answer can't be written: {error}")))?;
    Ok(raw_json(status, body))
}

/// An answer that is JSON already.
pub(super) fn raw_json(status: StatusCode, body: impl Into<Bytes>) -> Response<Payload> {
    let mut response = Response::new(full_body(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Payload> {
    let mut response = Response::new(empty_body());
    *response.status_mut() = status;
    response
}

/// On which node something was done: put into an answer's extensions, for the audit log.
#[derive(Clone, Debug)]
pub(super) struct OnNode(pub(super) String);

/// In an answer's extensions: the session records its own end.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordsItself;
