use std::borrow::Cow;

use http::{HeaderValue, Response, StatusCode, header};
use longshore_core::{Error, ErrorKind};

use super::{
    Payload,
    text::{plain, prose},
    version::JSON_ERRORS,
};
use crate::ApiVersion;
use longshore_core::http::full_body;

/// An answer that is an error: status, message for people, stable reason for programs.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
    reason: Cow<'static, str>,
    candidates: Vec<String>,
    /// Whether the same call may well succeed in a moment.
    retry: bool,
    /// Whether it has a cause that may pass by itself.
    passes: bool,
    /// Whether an engine may have done it all the same: its answer was lost.
    lost: bool,
}

/// What a handler gives back.
pub(super) type ApiResult<T = Response<Payload>> = Result<T, ApiError>;

impl ApiError {
    pub(super) fn new(
        status: StatusCode,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            message: prose(message.into()),
            reason: reason.into(),
            candidates: Vec::new(),
            retry: false,
            passes: may_pass(status),
            lost: false,
        }
    }

    /// Says whether its cause may pass by itself, where the status does not tell.
    pub(super) fn with_passing(mut self, passes: bool) -> Self {
        self.passes = passes;
        self
    }

    /// With another status than that of its kind.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Nobody knows whether it was done.
    pub(super) fn with_answer_lost(mut self) -> Self {
        self.lost = true;
        self
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-input", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "already-exists", message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", message)
    }

    /// 503 with `Retry-After`.
    pub(super) fn try_again(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        Self {
            retry: true,
            ..error
        }
    }

    /// An answer of the primary that is an error, in the form that [`to_json`](Self::to_json) gives.
    pub(super) fn from_primary(status: StatusCode, body: &[u8]) -> Self {
        #[derive(serde::Deserialize)]
        struct Body {
            message: String,
            reason: String,
            #[serde(default)]
            candidates: Vec<String>,
        }
        let retry = status == StatusCode::SERVICE_UNAVAILABLE;
        match serde_json::from_slice::<Body>(body) {
            Ok(body) => Self {
                candidates: body.candidates,
                retry,
                ..Self::new(status, body.reason, body.message)
            },
            Err(_) => Self {
                retry,
                ..Self::from_engine(status, body)
            },
        }
    }

    pub(super) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "unsupported", message)
    }

    /// A lookup that failed: "not found" gets the route's own text, ambiguity lists its candidates.
    pub(super) fn lookup(error: &Error, missing: impl FnOnce() -> String) -> Self {
        if error.kind() == ErrorKind::NotFound {
            Self::not_found(missing())
        } else {
            Self::from_error(error)
        }
    }

    /// An answer of an engine that is an error; its message is kept.
    pub(super) fn from_engine(status: StatusCode, body: &[u8]) -> Self {
        // No engine says so: it is a node's agent, which knows of a newer leader.
        if status == StatusCode::PRECONDITION_FAILED {
            return Self {
                reason: "stale".into(),
                passes: false,
                ..Self::try_again(engine_message(body))
            };
        }
        let reason = match status {
            StatusCode::BAD_REQUEST => "invalid-input",
            StatusCode::UNAUTHORIZED => "unauthenticated",
            StatusCode::FORBIDDEN => "permission-denied",
            StatusCode::NOT_FOUND => "not-found",
            StatusCode::CONFLICT => "conflict",
            StatusCode::NOT_IMPLEMENTED => "unsupported",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "engine",
        };
        let status = if status.is_client_error() || status.is_server_error() {
            status
        } else {
            StatusCode::BAD_GATEWAY
        };
        Self::new(status, reason, engine_message(body))
    }

    pub(super) fn from_error(error: &Error) -> Self {
        let status = match error.kind() {
            ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::AlreadyExists | ErrorKind::Conflict | ErrorKind::Ambiguous => {
                StatusCode::CONFLICT
            }
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
            ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            ErrorKind::Stale | ErrorKind::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let candidates = match error.context("candidates") {
            Some(list) if error.kind() == ErrorKind::Ambiguous => list
                .split(", ")
                .map(|one| plain(one).into_owned())
                .collect(),
            _ => Vec::new(),
        };
        // Placement failures and name conflicts are texts that tools compare: no context behind them.
        let message = match error.kind() {
            ErrorKind::Unplaceable | ErrorKind::AlreadyExists | ErrorKind::Ambiguous => {
                error.message().to_owned()
            }
            _ => error.to_string(),
        };
        Self {
            candidates,
            ..Self::new(status, error.kind().as_str(), message)
        }
    }

    /// Whether its cause may pass by itself: too much to do, a node that can't be reached, a name that
    /// is about to be free. What is wrong in itself stays so.
    pub(super) fn passes(&self) -> bool {
        self.passes
    }

    /// Whether an engine may have done it all the same.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// The answer: JSON from API 1.24 on, plain text before.
    pub(super) fn into_response(self, version: Option<ApiVersion>) -> Response<Payload> {
        let as_text = version.is_some_and(|version| version < JSON_ERRORS);
        let (kind, body) = if as_text {
            ("text/plain; charset=utf-8", self.message + "\n")
        } else {
            ("application/json", self.to_json())
        };
        let mut response = Response::new(full_body(body));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if self.retry {
            let after = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
        response
    }

    /// The JSON form, also used where the HTTP library has no request to hang an answer on.
    pub(super) fn to_json(&self) -> String {
        let mut body = serde_json::json!({"message": self.message, "reason": self.reason});
        if !self.candidates.is_empty() {
            body["candidates"] = self.candidates.clone().into();
        }
        body.to_string()
    }
}

/// What is no fault of the request: a conflict, too many requests, anything of the server's but that it
/// can't do that at all.
fn may_pass(status: StatusCode) -> bool {
    match status {
        StatusCode::NOT_IMPLEMENTED => false,
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => true,
        status => status.is_server_error(),
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::from_error(&error)
    }
}

/// The message in an engine's error body: `{"message": …}` or plain text. In one line: where many
/// nodes' errors stand together, each has one.
pub(super) fn engine_message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    let text = match serde_json::from_slice::<Message>(body) {
        Ok(parsed) => parsed.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let lines: Vec<&str> = text.split(['\r', '\n']).map(str::trim).collect();
    match plain(lines.join(" ").trim()).as_ref() {
        "" => "the engine gave no reason".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn json(error: ApiError, expected: &str) {
        assert_eq!(error.to_json(), expected);
    }

    #[test]
    fn messages_come_as_json_with_a_reason() {
        json(
            ApiError::not_found("No such container: x"),
            r#"{"message":"No such container: x","reason":"not-found"}"#,
        );
        json(
            Error::new(ErrorKind::Ambiguous, "2 containers match x")
                .with_context("candidates", "a/x, b/x")
                .into(),
            r#"{"candidates":["a/x","b/x"],"message":"2 containers match x","reason":"ambiguous"}"#,
        );
    }

    #[test]
    fn what_may_pass_is_told_from_what_is_wrong_in_itself() {
        let of = |status: u16| ApiError::from_engine(StatusCode::from_u16(status).unwrap(), b"x");
        for status in [408, 409, 429, 500, 502, 503, 504] {
            assert!(of(status).passes(), "{status}");
        }
        // 412 is an agent's word that another manager leads.
        for status in [400, 401, 403, 404, 412, 501] {
            assert!(!of(status).passes(), "{status}");
        }
        assert!(!of(500).is_lost(), "it was answered");
    }

    #[test]
    fn an_engine_message_is_kept_whatever_its_form() {
        assert_eq!(engine_message(br#"{"message":"no"}"#), "no");
        assert_eq!(engine_message(b"plain\n"), "plain");
        assert_eq!(
            engine_message(br#"{"message":"a\u001b[2J\nnode-2: b"}"#),
            "a�[2J node-2: b"
        );
        assert_eq!(engine_message(b""), "the engine gave no reason");
    }
}
