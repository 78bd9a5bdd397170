use std::sync::Arc;

use http::{Method, Request, StatusCode, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use longshore_core::{ClockExt, Error, ErrorKind, Result, http::read_body};

use super::{
    attach, containers, create, events, exec, images, lifecycle, logs, prune,
    query::{Query, decode},
    reply::{API_VERSION, MIN_API_VERSION, Reply, ok, refusal},
    server::Shared,
    stats, system, top, wait,
};

/// One request, with its path taken apart.
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    pub(super) query: Query,
    pub(super) head: Parts,
    body: Option<Incoming>,
}

impl Call {
    /// The request's body, at most 4 MiB, within 30 seconds.
    pub(super) async fn body(&mut self) -> Result<bytes::Bytes> {
        let Some(body) = self.body.take() else {
            return Ok(bytes::Bytes::new());
        };
        let body = body
            .map_err(|error| Error::closed("the request broke off").with_source(error))
            .boxed_unsync();
        let read = read_body(body, LARGEST_BODY);
        let clock = &self.shared.clock;
        clock
            .timeout(BODY_TIME, "reading the request's body", read)
            .await?
            .map_err(|error| match error.kind() {
                ErrorKind::ResourceExhausted => Error::invalid(format!(
                    "the request's body is larger than {LARGEST_BODY} bytes"
                )),
                _ => error,
            })
    }

    /// Reads the rest of a request's body away, within bounds.
    async fn drain(&mut self) {
        let Some(mut body) = self.body.take() else {
            return;
        };
        let read = async {
            let mut left = MOST_DRAINED;
            while let Some(Ok(frame)) = body.frame().await {
                left = match left.checked_sub(frame.data_ref().map_or(0, bytes::Bytes::len)) {
                    Some(left) => left,
                    None => break,
                };
            }
        };
        let clock = &self.shared.clock;
        let _ = clock
            .timeout(BODY_TIME, "reading the request's body", read)
            .await;
    }
}

pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Reply {
    match route(shared, request).await {
        Ok(reply) => reply,
        Err(error) => {
            tracing::debug!(error = error.chain(), "an API request was refused");
            refusal(&error)
        }
    }
}

async fn route(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Reply> {
    let (head, body) = request.into_parts();
    let path = unversioned(head.uri.path())?.to_owned();
    let method = head.method.clone();
    let call = Call {
        shared,
        query: Query::parse(head.uri.query().unwrap_or_default()),
        head,
        body: Some(body),
    };
    let parts: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| decode(part, false))
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match (&method, parts.as_slice()) {
        (&Method::GET | &Method::HEAD, ["_ping"]) => system::ping(&call, &method).await,
        (&Method::GET, ["version"]) => system::version(&call).await,
        (&Method::GET, ["info"]) => system::info(&call).await,
        (&Method::GET, ["events"]) => events::events(call).await,
        (&Method::GET, ["containers", "json" | "ps"]) => containers::list(&call).await,
        (&Method::POST, ["containers", "create"]) => create::create(call).await,
        (&Method::POST, ["containers", "prune"]) => prune::containers(&call).await,
        (
            &Method::POST,
            [
                group @ ("images" | "networks" | "volumes" | "build"),
                "prune",
            ],
        ) => Ok(prune::nothing(group)),
        (_, ["containers", name]) if method == Method::DELETE => {
            lifecycle::remove(&call, name).await
        }
        (_, ["containers", name, action]) => container(call, &method, name, action).await,
        (&Method::GET, ["containers", _, "attach", "ws"]) => Err(Error::unsupported(
            "attaching over a WebSocket is not offered by this engine",
        )),
        (&Method::POST, ["exec", id, "start"]) => exec::start(call, id).await,
        (&Method::GET, ["exec", id, "json"]) => exec::inspect(&call, id),
        (&Method::POST, ["exec", id, "resize"]) => exec::resize(&call, id).await,
        (&Method::GET, ["images", "json"]) => images::list(&call).await,
        (&Method::POST, ["images", "create"]) => images::create(&call).await,
        (&Method::GET, ["images", name @ .., "json"]) if !name.is_empty() => {
            images::inspect(&call, &name.join("/")).await
        }
        (&Method::GET, ["networks"]) => Ok(ok(&serde_json::json!([]))),
        (&Method::GET, ["networks", name]) => {
            Err(Error::not_found(format!("network {name} not found")))
        }
        (&Method::GET, ["volumes"]) => {
            Ok(ok(&serde_json::json!({ "Volumes": [], "Warnings": null })))
        }
        (&Method::GET, ["volumes", name]) => {
            Err(Error::not_found(format!("get {name}: no such volume")))
        }
        (&Method::GET, ["plugins", name, "json"]) => {
            Err(Error::not_found(format!("plugin {name:?} not found")))
        }
        (&Method::GET, ["plugins"]) => Ok(ok(&serde_json::json!([]))),
        (
            _,
            [
                "swarm" | "nodes" | "services" | "tasks" | "secrets" | "configs",
                ..,
            ],
        ) => Err(Error::unavailable("This node is not a swarm manager.").with_retryable(false)),
        (_, [group, ..]) if OTHERS.contains(group) => Err(Error::unsupported(format!(
            "{method} {path} is not offered by this engine: it runs no Docker daemon"
        ))),
        _ => Ok(missing()),
    }
}

async fn container(mut call: Call, method: &Method, name: &str, action: &str) -> Result<Reply> {
    match (method, action) {
        (&Method::GET, "json") => containers::inspect(&call, name).await,
        (&Method::GET, "logs") => logs::logs(&call, name).await,
        (&Method::GET, "top") => top::top(&call, name).await,
        (&Method::GET, "stats") => stats::stats(&call, name).await,
        (&Method::POST, "start") => lifecycle::start(&call, name).await,
        (&Method::POST, "stop") => lifecycle::stop(&call, name).await,
        (&Method::POST, "restart") => lifecycle::restart(&call, name).await,
        (&Method::POST, "kill") => lifecycle::kill(&call, name).await,
        (&Method::POST, "rename") => lifecycle::rename(&call, name).await,
        (&Method::POST, "wait") => wait::wait(&call, name).await,
        (&Method::POST, "attach") => attach::attach(call, name).await,
        (&Method::POST, "resize") => attach::resize(&call, name).await,
        (&Method::POST, "exec") => {
            let body = call.body().await?;
            exec::create(&call, name, &body).await
        }
        (_, "archive" | "export" | "changes" | "copy") => {
            // The client reads no answer before it has sent everything.
            call.drain().await;
            Err(Error::unsupported(format!(
                "{action} of container {name} is not offered by this engine: its containers have no \
                 file system of their own"
            )))
        }
        (&Method::POST, "pause" | "unpause" | "update" | "prune") => Err(Error::unsupported(
            format!("{action} of container {name} is not offered by this engine"),
        )),
        _ => Ok(missing()),
    }
}

fn missing() -> Reply {
    let mut reply = refusal(&Error::not_found("page not found"));
    *reply.status_mut() = StatusCode::NOT_FOUND;
    reply
}

/// The path without `/vX.Y`, which must be a version spoken here.
fn unversioned(path: &str) -> Result<&str> {
    let Some(rest) = path.strip_prefix("/v") else {
        return Ok(path);
    };
    let (version, rest) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let Some(asked) = numbers(version) else {
        return Ok(path);
    };
    if Some(asked) > numbers(API_VERSION) {
        return Err(Error::invalid(format!(
            "client version {version} is too new. Maximum supported API version is {API_VERSION}"
        )));
    }
    if Some(asked) < numbers(MIN_API_VERSION) {
        return Err(Error::invalid(format!(
            "client version {version} is too old. Minimum supported API version is \
             {MIN_API_VERSION}, please upgrade your client to a newer version"
        )));
    }
    Ok(rest)
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What Docker's API has and these engines have not.
const OTHERS: [&str; 12] = [
    "auth",
    "build",
    "commit",
    "containers",
    "distribution",
    "grpc",
    "images",
    "networks",
    "plugins",
    "session",
    "system",
    "volumes",
];
const LARGEST_BODY: usize = 4 << 20;
const MOST_DRAINED: usize = 256 << 20;
const BODY_TIME: std::time::Duration = std::time::Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_checked_and_cut_off() {
        assert_eq!(unversioned("/v1.41/info").unwrap(), "/info");
        assert_eq!(unversioned("/version").unwrap(), "/version");
        assert_eq!(unversioned("/v1.30").unwrap(), "/");
        assert_eq!(
            unversioned("/v1.99/info").unwrap_err().message(),
            "client version 1.99 is too new. Maximum supported API version is 1.41"
        );
        assert_eq!(
            unversioned("/v1.10/info").unwrap_err().message(),
            "client version 1.10 is too old. Minimum supported API version is 1.24, please \
             upgrade your client to a newer version"
        );
    }
}
