//! Calls about one container, passed on to the engine that runs it.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, StatusCode};
use longshore_core::{ClockExt, Target, http::empty_body};

use super::{
    Shared,
    call::{Call, OnNode, empty, raw_json},
    error::{ApiError, ApiResult},
    hijack::{Far, Session, hijack},
    proxy::{patiently, request},
    route::ContainerOp,
};
use crate::ApiVersion;

/// A call that streams or answers by itself: logs, top, stats, archive, export, resize.
pub(super) async fn pass(
    shared: &Shared,
    mut call: Call,
    name: &str,
    op: ContainerOp,
) -> ApiResult {
    let owned = shared.find_healthy(name, || format!("No such container: {name}"))?;
    let path = format!("/containers/{}/{}", owned.id(), op.path());
    let query = call.raw_query.clone();
    // `stats` of a container that does not run answers late, `archive` may be large: the head may
    // take as long as work does.
    let limit = match op {
        ContainerOp::ArchiveWrite | ContainerOp::Logs | ContainerOp::Stats => None,
        _ => Some(shared.options.work_limit),
    };
    shared
        .forward(&owned.node, &mut call, &path, &query, limit)
        .await
}

/// A call that changes the container: stop, restart, kill, pause, unpause, update.
pub(super) async fn change(
    shared: &Shared,
    mut call: Call,
    name: &str,
    op: ContainerOp,
) -> ApiResult {
    let owned = shared.find_healthy(name, || format!("No such container: {name}"))?;
    let path = format!("/containers/{}/{}", owned.id(), op.path());
    let query = call.raw_query.clone();
    // A stop may be told to wait as long as the client wishes (`t`), for ever with -1.
    let limit = match (op, call.query.integer("t")) {
        (ContainerOp::Stop | ContainerOp::Restart, ..0) => None,
        (ContainerOp::Stop | ContainerOp::Restart, t) => {
            let grace = Duration::from_secs(u64::try_from(t).unwrap_or(0));
            Some(shared.options.work_limit.saturating_add(grace))
        }
        _ => Some(shared.options.work_limit),
    };
    let response = shared
        .forward(&owned.node, &mut call, &path, &query, limit)
        .await;
    shared.observe(&owned).await;
    response
}

/// Starts it. The body, which old clients send, is ignored.
pub(super) async fn start(shared: &Shared, call: Call, name: &str) -> ApiResult {
    start_with(shared, call.version, name, &call.raw_query).await
}

async fn start_with(
    shared: &Shared,
    version: Option<ApiVersion>,
    name: &str,
    query: &str,
) -> ApiResult {
    let owned = shared.find(name, || format!("No such container {name}"))?;
    let path = format!("/containers/{}/start", owned.id());
    let target = shared.target_at(&owned.node, version, &path, query);
    let request = request(Method::POST, &target, &HeaderMap::new(), empty_body())?;
    let started = shared
        .ask(&owned.node, shared.options.work_limit, request)
        .await;
    shared.observe(&owned).await;
    started?;
    Ok(on(&owned.node.name, empty(StatusCode::NO_CONTENT)))
}

/// Removes it.
pub(super) async fn remove(shared: &Shared, mut call: Call, name: &str) -> ApiResult {
    let owned = shared.find(name, || format!("Container {name} not found"))?;
    let path = format!("/containers/{}", owned.id());
    let query = call.raw_query.clone();
    let limit = Some(shared.options.work_limit);
    let removed = shared
        .forward(&owned.node, &mut call, &path, &query, limit)
        .await;
    shared.observe(&owned).await;
    match removed {
        // Gone on the engine, and by now gone from the view, too.
        Err(error) if error.status() == StatusCode::NOT_FOUND => {
            Err(ApiError::not_found(format!("Container {name} not found")))
        }
        Err(error) => Err(error),
        Ok(_) => Ok(on(&owned.node.name, empty(StatusCode::NO_CONTENT))),
    }
}

/// Renames it; the name is unique in the cluster.
pub(super) async fn rename(shared: &Shared, call: Call, name: &str) -> ApiResult {
    let owned = shared.find_healthy(name, || format!("No such container: {name}"))?;
    let wanted = call.query.text("name").trim_start_matches('/').to_owned();
    if wanted.is_empty() {
        return Err(ApiError::bad_request(
            "neither old nor new names may be empty",
        ));
    }
    let wanted = longshore_core::WorkloadName::new(wanted)
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let guard = shared.plane.reserve_name(wanted.as_str())?;
    let path = format!("/containers/{}/rename", owned.id());
    let query = format!("?name={wanted}");
    let target = shared.target_at(&owned.node, call.version, &path, &query);
    let request = request(Method::POST, &target, &HeaderMap::new(), empty_body())?;
    shared
        .ask(&owned.node, shared.options.work_limit, request)
        .await?;
    guard.made(&owned.view.node, &owned.view.workload.id);
    shared.observe(&owned).await;
    Ok(on(&owned.node.name, empty(StatusCode::NO_CONTENT)))
}

/// Waits for its end. The answer's head goes out at once, also when the engine keeps its own back:
/// clients begin the work they wait for only when they see it.
pub(super) async fn wait(shared: &Arc<Shared>, mut call: Call, name: &str) -> ApiResult {
    use futures::{FutureExt, StreamExt};
    let owned = shared.find_healthy(name, || format!("No such container: {name}"))?;
    let path = format!("/containers/{}/wait", owned.id());
    let target = shared.target_at(&owned.node, call.version, &path, &call.raw_query);
    let body = call.take_body();
    let request = request(Method::POST, &target, &call.headers, body)?;
    let client = shared.client(&owned.node)?.clone();
    let mut sent = async move { patiently(&client, request).await }.boxed();
    // An engine that has something to say against it says so at once.
    let clock = Arc::clone(shared.plane.clock());
    if let Ok(answered) = clock.timeout(PROMPT, "a prompt answer", &mut sent).await {
        let response = answered.map_err(|error| super::proxy::unreachable(&owned.node, &error))?;
        return shared.relay(&owned.node, response).await;
    }
    let late = sent
        .map(|answered| match answered {
            Ok(response) => {
                http_body_util::BodyExt::into_data_stream(response.into_body()).left_stream()
            }
            Err(error) => futures::stream::once(async move { Err(error) }).right_stream(),
        })
        .flatten_stream();
    let mut response = raw_json(StatusCode::OK, bytes::Bytes::new());
    *response.body_mut() = longshore_core::http::stream_body(late);
    Ok(response)
}

/// Attaches to it: a hijacked stream.
pub(super) async fn attach(
    shared: &Arc<Shared>,
    mut call: Call,
    name: &str,
    op: ContainerOp,
) -> ApiResult {
    let owned = shared.find_healthy(name, || format!("No such container: {name}"))?;
    let path = format!("/containers/{}/{}", owned.id(), op.path());
    let target = shared.target_at(&owned.node, call.version, &path, &call.raw_query);
    let body = call.read_body(shared).await?;
    let session = Session {
        target: Target::new("container", name).with_labels(owned.view.workload.labels.clone()),
        far: Far::Engine(Box::new(owned.node.clone())),
        path: target,
        body,
    };
    hijack(shared, call, session).await
}

/// Makes an image of a container, on its node.
pub(super) async fn commit(shared: &Shared, mut call: Call) -> ApiResult {
    let name = call.query.text("container").to_owned();
    if name.is_empty() {
        return Err(ApiError::bad_request("Container is not specified"));
    }
    let owned = shared.find_healthy(&name, || format!("No such container: {name}"))?;
    let mut query = call.query.clone();
    query.set("container", Some(owned.id().to_owned()));
    let query = query.encode();
    let response = shared
        .forward(&owned.node, &mut call, "/commit", &query, None)
        .await?;
    shared.refresh(&owned.node).await;
    Ok(response)
}

pub(super) fn on<B>(node: &str, mut response: http::Response<B>) -> http::Response<B> {
    response.extensions_mut().insert(OnNode(node.to_owned()));
    response
}

/// How long an answer's own head is waited for before ours goes out.
const PROMPT: Duration = Duration::from_millis(200);
