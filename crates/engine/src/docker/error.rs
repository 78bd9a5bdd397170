use bollard::errors::Error as BollardError;
use http::StatusCode;
use longshore_core::{Error, ErrorKind, printable};
use serde::Deserialize;

/// The message in an error body: Docker's `{"message": …}`, or plain text.
pub(super) fn message_of(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        message: String,
    }
    match serde_json::from_slice::<Body>(body) {
        Ok(body) => body.message,
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    }
}

/// What a refusal by the engine means. Docker's own message is kept.
pub(super) fn from_status(status: StatusCode, message: &str) -> Error {
    let (kind, retryable) = classify(status, message);
    let message = match message.trim() {
        "" => format!("the engine answered {status}"),
        told => text(told),
    };
    Error::new(kind, message)
        .with_retryable(retryable)
        .with_context("status", status.as_u16())
}

pub(super) fn from_bollard(error: BollardError) -> Error {
    let kind = match &error {
        BollardError::DockerResponseServerError {
            status_code,
            message,
        } => {
            let status =
                StatusCode::from_u16(*status_code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return from_status(status, message);
        }
        BollardError::IOError { err } => {
            if let Some(told) = told_below(err) {
                return again(told).with_source(error);
            }
            ErrorKind::Unavailable
        }
        BollardError::HyperResponseError { err } => {
            if let Some(told) = told_below(err) {
                return again(told).with_source(error);
            }
            ErrorKind::Unavailable
        }
        BollardError::RequestTimeoutError => ErrorKind::Timeout,
        BollardError::JsonDataError { .. } | BollardError::JsonSerdeError { .. } => {
            ErrorKind::Protocol
        }
        BollardError::DockerStreamError { error: message } => {
            return Error::internal(text(message));
        }
        _ => ErrorKind::Internal,
    };
    let message = match kind {
        ErrorKind::Protocol => "the engine's answer is not Docker's",
        ErrorKind::Unavailable => "the connection to the engine broke",
        _ => "the Docker client failed",
    };
    Error::new(kind, message).with_source(error)
}

/// What an engine says, as it may be logged and shown.
pub(super) fn text(told: &str) -> String {
    printable(told, LONGEST_TEXT).into_owned()
}

/// More of an engine's words is not kept.
const LONGEST_TEXT: usize = 4096;

/// An error of ours that went through libraries: the stream below them knows best what ended it.
fn told_below<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let mut error = Some(error);
    while let Some(this) = error {
        if let Some(told) = this.downcast_ref::<Error>() {
            return Some(told);
        }
        error = match this.downcast_ref::<std::io::Error>() {
            // Its `source` skips what it wraps.
            Some(wrapper) => wrapper.get_ref().map(|inner| inner as _),
            None => this.source(),
        };
    }
    None
}

/// The same error once more; the original stays below it as its cause.
fn again(told: &Error) -> Error {
    let error =
        Error::new(told.kind(), told.message().to_owned()).with_retryable(told.is_retryable());
    match told.context("engine") {
        Some(engine) => error.with_context("engine", engine),
        None => error,
    }
}

fn classify(status: StatusCode, message: &str) -> (ErrorKind, bool) {
    let says = |part: &str| message.contains(part);
    match status.as_u16() {
        // The request was right when it was sent; agreeing on a version anew cures it.
        400 if says("client version") => (ErrorKind::Unavailable, true),
        400 | 406 | 422 => (ErrorKind::InvalidInput, false),
        401 => (ErrorKind::Unauthenticated, false),
        403 => (ErrorKind::PermissionDenied, false),
        404 => (ErrorKind::NotFound, false),
        409 if says("is already in use by container") => (ErrorKind::AlreadyExists, false),
        409 if says("already in progress") => (ErrorKind::Conflict, true),
        409 => (ErrorKind::Conflict, false),
        // A node's agent: it has obeyed a newer leader than whoever asks.
        412 => (ErrorKind::Stale, false),
        429 => (ErrorKind::ResourceExhausted, true),
        // Older engines report these as their own faults.
        500 if says("port is already allocated") || says("address already in use") => {
            (ErrorKind::Conflict, false)
        }
        500 if says("is not running") => (ErrorKind::Conflict, false),
        500 if says("No such container") => (ErrorKind::NotFound, false),
        501 => (ErrorKind::Unsupported, false),
        502 | 503 => (ErrorKind::Unavailable, true),
        504 => (ErrorKind::Timeout, true),
        _ => (ErrorKind::Internal, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, kind: ErrorKind, retryable: bool, message: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        let error = from_status(status, &message_of(body.as_bytes()));
        assert_eq!((error.kind(), error.is_retryable()), (kind, retryable));
        assert_eq!(error.message(), message);
    }

    #[test]
    fn refusals_keep_their_meaning_and_dockers_words() {
        check(
            404,
            r#"{"message":"No such container: x"}"#,
            ErrorKind::NotFound,
            false,
            "No such container: x",
        );
        check(
            409,
            r#"{"message":"Conflict. The container name \"/a\" is already in use by container \"b\"."}"#,
            ErrorKind::AlreadyExists,
            false,
            "Conflict. The container name \"/a\" is already in use by container \"b\".",
        );
        check(
            409,
            r#"{"message":"removal of container a is already in progress"}"#,
            ErrorKind::Conflict,
            true,
            "removal of container a is already in progress",
        );
        check(
            400,
            r#"{"message":"client version 1.53 is too new"}"#,
            ErrorKind::Unavailable,
            true,
            "client version 1.53 is too new",
        );
        check(503, "down\n", ErrorKind::Unavailable, true, "down");
        let forged = r#"{"message":"no\n2026-01-01 INFO all is well\u001b[2J"}"#;
        check(
            500,
            forged,
            ErrorKind::Internal,
            false,
            "no\\u{a}2026-01-01 INFO all is well\\u{1b}[2J",
        );
        check(
            500,
            "",
            ErrorKind::Internal,
            false,
            "the engine answered 500 Internal Server Error",
        );
    }

    #[test]
    fn an_error_survives_its_way_through_bollard() {
        let ours = Error::unavailable("no route").with_context("engine", "tcp://a:1");
        let error = from_bollard(std::io::Error::other(ours).into());
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.to_string(), "no route (engine: tcp://a:1)");
    }
}
