//! longshore's own routes: why a container is where it is, and nodes.

use http::StatusCode;
use longshore_core::Change;
use serde_json::{Value, json};

use super::{
    Shared,
    call::{Call, json, prose_json},
    create::placement_of,
    error::{ApiError, ApiResult},
    what_if,
};

/// `GET /longshore/v1/explain?container=…`.
pub(super) fn container(shared: &Shared, call: &Call) -> ApiResult {
    let name = call.query.text("container");
    if name.is_empty() {
        return Err(ApiError::bad_request("Container is not specified"));
    }
    let explanation = shared
        .plane
        .explain_container(name)
        .map_err(|error| ApiError::lookup(&error, || format!("No such container: {name}")))?;
    prose_json(StatusCode::OK, &explanation)
}

/// `POST /longshore/v1/explain` with a create body: where it would go and why, or why nowhere.
/// Nothing is made or held. What-if by the query: `with-node=cpu=4,memory=8GiB,label=zone=eu` adds a
/// node like this, `without=constraint:zone==eu` drops a demand; both may be given several times.
pub(super) async fn request(shared: &Shared, mut call: Call) -> ApiResult {
    let name = call.query.text("name").trim_start_matches('/').to_owned();
    let body = call.read_json(shared).await?;
    let mut request = placement_of(shared, body, &name)?;
    for demand in call.query.all("without") {
        what_if::drop_demand(&mut request, demand)?;
    }
    let nodes = call.query.all("with-node").enumerate();
    let nodes: Vec<Change> = nodes
        .map(|(at, text)| what_if::node(text, at + 1).map(Change::Node))
        .collect::<Result<_, _>>()?;
    let explanation = match nodes.is_empty() {
        true => shared.plane.explain(&request)?,
        false => shared.plane.explain_after(nodes, &request)?,
    };
    prose_json(StatusCode::OK, &explanation)
}

/// `GET /longshore/v1/nodes`.
pub(super) fn nodes(shared: &Shared) -> ApiResult {
    let nodes: Vec<Value> = shared
        .plane
        .nodes()
        .into_iter()
        .map(|node| {
            let info = node.info.as_deref();
            json!({
                "id": node.id,
                "name": node.name,
                "address": node.address,
                "ip": node.ip,
                "health": node.health,
                "health_indicator": node.health_indicator,
                "availability": node.availability,
                "error": node.error,
                "since": node.since.to_string(),
                "next_retry": node.next_retry.map(|at| at.to_string()),
                "updated_at": node.updated_at.to_string(),
                "containers": {
                    "total": node.containers.total,
                    "running": node.containers.running,
                    "paused": node.containers.paused,
                    "stopped": node.containers.stopped,
                },
                "reserved": node.reserved,
                "capacity": node.capacity,
                "devices": node.devices,
                "images": node.images.len(),
                "labels": info.map(|info| &info.labels),
                "attributes": info.map(|info| &info.attributes),
                "engine": info.map(|info| json!({
                    "version": info.version,
                    "api_version": info.api_version,
                    "min_api_version": info.min_api_version,
                    "cpu": info.cpu,
                    "memory": info.memory,
                })),
                "warnings": node.warnings,
                "clock_skew": node.clock_skew.map(|skew| skew.to_string()),
                "stale": node.stale,
            })
        })
        .collect();
    json(StatusCode::OK, &nodes)
}
