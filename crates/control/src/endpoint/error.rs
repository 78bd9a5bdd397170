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
        }
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
                status,
                message: prose(body.message),
                reason: body.reason.into(),
                candidates: body.candidates,
                retry,
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
            status,
            message: prose(message),
            reason: error.kind().as_str().into(),
            candidates,
            retry: false,
        }
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
