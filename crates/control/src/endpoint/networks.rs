//! Networks, asked of the engines when they are needed.
//!
//! A network that one engine keeps for itself (`local` scope) is shown as `node/name`. One that was
//! made through this endpoint without naming a node is made on one node first, and again on another
//! one when a container has to go there, so that a compose project works on any number of nodes; it
//! still connects nothing across nodes, and the create says so. Such networks carry a label and
//! count as one under their bare name.

mod instance;
mod local;

use std::collections::BTreeMap;

use http::{HeaderMap, Method, StatusCode};
use longshore_core::http::full_body;
use serde_json::{Map, Value};

pub(super) use self::local::LocalNetworks;
use self::{
    instance::{Instance, SCOPE_LABEL, instances, matches, merge_endpoints, resolve},
    local::replicate,
};

use super::{
    Shared,
    call::{self, Call, empty},
    containers::on,
    create::object_mut,
    error::{ApiError, ApiResult},
    proxy::request,
    route::NetworkOp,
};
use crate::{ApiVersion, NodeView};

pub(super) async fn list(shared: &Shared, call: &Call) -> ApiResult {
    let filters = call.query.filters()?;
    for kind in filters.values("type") {
        if kind != "custom" && kind != "builtin" {
            return Err(ApiError::bad_request(format!(
                "Invalid filter: 'type'='{kind}'"
            )));
        }
    }
    let mut merged: BTreeMap<String, (Instance, Value)> = BTreeMap::new();
    for instance in instances(shared, call.version).await {
        match merged.get_mut(instance.id()) {
            Some((_, value)) => merge_endpoints(value, &instance.value),
            None => {
                let mut value = instance.value.clone();
                value["Name"] = instance.shown_name().into();
                merged.insert(instance.id().to_owned(), (instance, value));
            }
        }
    }
    let mut shown: Vec<Value> = merged
        .into_values()
        .filter(|(instance, _)| matches(&filters, instance))
        .map(|(_, value)| value)
        .collect();
    shown.sort_by(|a, b| a["Name"].as_str().cmp(&b["Name"].as_str()));
    call::json(StatusCode::OK, &shown)
}

pub(super) async fn inspect(shared: &Shared, call: &Call, name: &str) -> ApiResult {
    let missing = || format!("No such network: {name}");
    let all = instances(shared, call.version).await;
    let found = resolve(&all, name, missing)?;
    // The list leaves endpoints out: each holder is asked for its own.
    let mut merged: Option<Value> = None;
    for instance in found {
        let path = format!("/networks/{}", instance.id());
        let value: Value = shared
            .get(&instance.node, call.version, &path, &call.raw_query)
            .await?;
        match &mut merged {
            Some(merged) => merge_endpoints(merged, &value),
            None => merged = Some(value),
        }
    }
    let merged = merged.ok_or_else(|| ApiError::not_found(missing()))?;
    Ok(call::raw_json(StatusCode::OK, merged.to_string()))
}

pub(super) async fn create(shared: &Shared, mut call: Call) -> ApiResult {
    let Value::Object(mut body) = call.read_json(shared).await? else {
        return Err(ApiError::bad_request(
            "invalid JSON: a network's configuration is an object",
        ));
    };
    let full = body
        .get("Name")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    let (node, name) = match full.split_once('/') {
        Some((node, name)) => (Some(node), name),
        None => (None, full.as_str()),
    };
    if name.is_empty() {
        return Err(ApiError::bad_request("the network's name is missing"));
    }
    let node = match node {
        Some(reference) => shared
            .plane
            .node(reference)
            .ok_or_else(|| ApiError::not_found(format!("No such node: {reference}")))?,
        None => {
            let all = instances(shared, call.version).await;
            if all.iter().any(|instance| {
                instance.name() == name && (instance.is_per_node() || !instance.is_local())
            }) {
                return Err(ApiError::conflict(format!(
                    "network with name {name} already exists"
                )));
            }
            let labels = object_mut(&mut body, "Labels");
            labels.insert(SCOPE_LABEL.to_owned(), "node".into());
            pick_node(shared)?
        }
    };
    body.insert("Name".to_owned(), name.into());
    let driver = body
        .get("Driver")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    let drivers: &[&str] = match driver.as_str() {
        // Overlay networks need a cluster store or swarm mode at the engines; where they have
        // neither, a bridge is what works.
        "" => &["overlay", "bridge"],
        driver => &[driver],
    };
    let mut refused = None;
    for driver in drivers {
        body.insert("Driver".to_owned(), (*driver).into());
        let asked = post(shared, call.version, &node, &call.headers, &body).await;
        match asked {
            Ok(answer) => {
                let answer: Value = serde_json::from_slice(&answer)
                    .map_err(|error| ApiError::internal(format!("malformed answer: {error}")))?;
                return Ok(on(&node.name, call::json(StatusCode::CREATED, &answer)?));
            }
            Err(error) if error.status() == StatusCode::CONFLICT => return Err(error),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| ApiError::internal("no driver was tried")))
}

/// The node that a network without demands goes to: the one a container without demands would.
fn pick_node(shared: &Shared) -> ApiResult<NodeView> {
    let explanation = shared
        .plane
        .explain(&longshore_core::PlacementRequest::default());
    let chosen = explanation
        .ok()
        .and_then(|explanation| explanation.placement)
        .and_then(|placement| shared.plane.node(placement.chosen.node.as_str()));
    chosen
        .or_else(|| shared.healthy_nodes().into_iter().next())
        .ok_or_else(|| ApiError::unavailable("No healthy node available in the cluster"))
}

async fn post(
    shared: &Shared,
    version: Option<ApiVersion>,
    node: &NodeView,
    headers: &HeaderMap,
    body: &Map<String, Value>,
) -> ApiResult<bytes::Bytes> {
    let target = shared.target_at(node, version, "/networks/create", "");
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut headers = headers.clone();
    headers.insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    let request = request(Method::POST, &target, &headers, full_body(body))?;
    let (_, answer) = shared.ask(node, shared.options.work_limit, request).await?;
    Ok(answer)
}

pub(super) async fn remove(shared: &Shared, call: Call, name: &str) -> ApiResult {
    let all = instances(shared, call.version).await;
    let mut found = resolve(&all, name, || format!("No such network {name}"))?;
    // An instance of a network that all nodes share is removed once.
    let mut seen = Vec::new();
    found.retain(|instance| {
        let fresh = !seen.contains(&instance.id());
        seen.push(instance.id());
        fresh
    });
    let mut errors = Vec::new();
    let mut status = StatusCode::INTERNAL_SERVER_ERROR;
    let several = found.len() > 1;
    for instance in found {
        let path = format!("/networks/{}", instance.id());
        let target = shared.target_at(&instance.node, call.version, &path, "");
        let body = longshore_core::http::empty_body();
        let request = request(Method::DELETE, &target, &HeaderMap::new(), body)?;
        let asked = shared
            .ask(&instance.node, shared.options.work_limit, request)
            .await;
        if let Err(error) = asked
            && error.status() != StatusCode::NOT_FOUND
        {
            status = error.status();
            errors.push(if several {
                format!("{}: {}", instance.node.name, error.message())
            } else {
                error.message().to_owned()
            });
        }
    }
    if errors.is_empty() {
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    Err(ApiError::new(status, "engine", errors.join("\n")))
}

/// Connects or disconnects a container: on the container's node.
pub(super) async fn attach(
    shared: &Shared,
    mut call: Call,
    name: &str,
    op: NetworkOp,
) -> ApiResult {
    let Value::Object(mut body) = call.read_json(shared).await? else {
        return Err(ApiError::bad_request("Container is not specified"));
    };
    let container = body
        .get("Container")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    if container.is_empty() {
        return Err(ApiError::bad_request("Container is not specified"));
    }
    let owned = shared.find_healthy(&container, || format!("No such container: {container}"))?;
    let all = instances(shared, call.version).await;
    let at_home: Vec<Instance> = all
        .iter()
        .filter(|instance| instance.node.id == owned.node.id)
        .cloned()
        .collect();
    let missing = || format!("No such network: {name}");
    let network = match resolve(&at_home, name, missing) {
        Ok(found) => found[0].id().to_owned(),
        // Known elsewhere: made on the container's node if it is that kind of network.
        Err(_) => {
            let known = resolve(&all, name, missing)?[0].clone();
            if known.is_local() && op == NetworkOp::Connect && known.is_per_node() {
                replicate(shared, call.version, &known, &owned.node).await?;
                known.name().to_owned()
            } else if known.is_local() {
                return Err(ApiError::not_found(format!(
                    "network {} is local to its node, and container {container} is on node {}",
                    known.shown_name(),
                    owned.node.name
                )));
            } else {
                known.id().to_owned()
            }
        }
    };
    body.insert("Container".to_owned(), owned.id().into());
    let word = if op == NetworkOp::Connect {
        "connect"
    } else {
        "disconnect"
    };
    let path = format!("/networks/{network}/{word}");
    let target = shared.target_at(&owned.node, call.version, &path, "");
    let body = full_body(Value::Object(body).to_string());
    let request = request(Method::POST, &target, &call.headers, body)?;
    let asked = shared
        .ask(&owned.node, shared.options.work_limit, request)
        .await;
    shared.observe(&owned).await;
    asked?;
    Ok(on(&owned.node.name, empty(StatusCode::OK)))
}
