//! What goes through a stream that may look and change nothing: requests of the Docker API that only
//! read. And what is told to a stream that may do nothing.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use longshore_core::{
    BoxByteStream, Clock, ClockExt, Connector, Error, Result,
    http::{Body, HttpClient, empty_body, full_body},
};

/// Passes what only reads on to the engine and refuses the rest, until the stream ends.
///
/// No request of it becomes a raw stream, so nothing can be typed into a container.
pub(crate) async fn observe(
    stream: BoxByteStream,
    engine: Arc<dyn Connector>,
    clock: Arc<dyn Clock>,
) {
    let client = HttpClient::new(engine, clock).with_idle_limit(1);
    let service = service_fn(move |request: Request<Incoming>| {
        let client = client.clone();
        async move {
            if !only_reads(&request) {
                let (method, path) = (request.method(), request.uri().path());
                let path: String = path.chars().take(SHOWN).collect();
                tracing::warn!(%method, path, "refused to a manager that only observes");
                return Ok(refusal(
                    "the manager that sent this does not lead, so it may look at this node and \
                     change nothing: ask the one that leads",
                ));
            }
            pass_on(&client, request).await
        }
    });
    let served = http1::Builder::new()
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "an observing stream ended");
    }
}

/// Tells whoever opened the stream why it may do nothing, as the answer to its first request: behind
/// it waits a client of the Docker API, which sees no other reason.
pub(crate) async fn refuse(stream: BoxByteStream, reason: String, clock: &dyn Clock) {
    let service = service_fn(move |_: Request<Incoming>| {
        let mut response = refusal(&reason);
        let close = header::HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        async move { Ok::<_, Infallible>(response) }
    });
    let told = http1::Builder::new()
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // Who asks nothing is told nothing.
    let _ = clock.timeout(PATIENCE, "telling why", told).await;
}

/// Whether a request changes nothing at a Docker engine: by its method, except that waiting for a
/// container's end is a `POST`, and that the `GET` which attaches to one carries input.
fn only_reads<B>(request: &Request<B>) -> bool {
    let path = request.uri().path();
    if request.headers().contains_key(header::UPGRADE) || path.ends_with("/attach/ws") {
        return false;
    }
    match *request.method() {
        Method::GET | Method::HEAD => true,
        Method::POST => is_wait(path),
        _ => false,
    }
}

/// `/containers/{id}/wait`, with or without a version before it.
fn is_wait(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let parts = match parts.as_slice() {
        [version, rest @ ..] if version.starts_with('v') => rest,
        all => all,
    };
    matches!(parts, ["containers", id, "wait"] if !id.is_empty())
}

async fn pass_on(client: &HttpClient, request: Request<Incoming>) -> Result<Response<Body>> {
    let (mut parts, _) = request.into_parts();
    drop_hop_by_hop(&mut parts.headers);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.extensions.clear();
    let response = client
        .send(Request::from_parts(parts, empty_body()))
        .await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::protocol(
            "the engine switched protocols without being asked",
        ));
    }
    let (mut parts, body) = response.into_parts();
    drop_hop_by_hop(&mut parts.headers);
    parts.extensions.clear();
    Ok(Response::from_parts(parts, body.boxed_unsync()))
}

fn drop_hop_by_hop(headers: &mut http::HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// As Docker tells errors. The status says that what the request relies on, a leadership, is not so.
fn refusal(reason: &str) -> Response<Body> {
    let body = serde_json::json!({ "message": reason }).to_string();
    let mut response = Response::new(full_body(body));
    *response.status_mut() = StatusCode::PRECONDITION_FAILED;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Headers that belong to one connection.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];
/// The longest head of a request.
const HEAD: usize = 64 * 1024;
/// How long a refused stream may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);
/// More of a path is not logged.
const SHOWN: usize = 200;

#[cfg(test)]
mod tests;
