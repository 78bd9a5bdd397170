use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use longshore_core::{
    Error, ErrorKind,
    http::{Body, empty_body, full_body, stream_body},
};
use serde_json::{Value, json};

/// The newest API version spoken here.
pub(super) const API_VERSION: &str = "1.41";
/// The oldest.
pub(super) const MIN_API_VERSION: &str = "1.24";

pub(super) type Reply = Response<Body>;

pub(super) fn json_reply(status: StatusCode, value: &Value) -> Reply {
    let mut text = value.to_string();
    text.push('\n');
    let mut reply = plain(status, full_body(text));
    reply.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    reply
}

pub(super) fn ok(value: &Value) -> Reply {
    json_reply(StatusCode::OK, value)
}

pub(super) fn empty(status: StatusCode) -> Reply {
    plain(status, empty_body())
}

/// A body that comes piece by piece.
pub(super) fn streamed<S>(content_type: &'static str, pieces: S) -> Reply
where
    S: futures::Stream<Item = longshore_core::Result<Bytes>> + Send + 'static,
{
    let mut reply = plain(StatusCode::OK, stream_body(pieces));
    reply
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

pub(super) fn plain(status: StatusCode, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert("Api-Version", HeaderValue::from_static(API_VERSION));
    headers.insert("Docker-Experimental", HeaderValue::from_static("false"));
    headers.insert("Ostype", HeaderValue::from_static("linux"));
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
    reply
}

/// An error as Docker tells it, with longshore's stable word for its kind beside the message.
pub(super) fn refusal(error: &Error) -> Reply {
    json_reply(
        status_of(error),
        &json!({ "message": error.message(), "reason": error.kind().as_str() }),
    )
}

fn status_of(error: &Error) -> StatusCode {
    match error.kind() {
        ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::AlreadyExists | ErrorKind::Conflict | ErrorKind::Ambiguous => {
            StatusCode::CONFLICT
        }
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Unavailable | ErrorKind::Closed | ErrorKind::ResourceExhausted => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

const SERVER: &str = concat!("longshore/", env!("CARGO_PKG_VERSION"));
