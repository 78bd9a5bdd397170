//! Exec instances: made on a container's engine, found again by their id.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, Method, StatusCode};
use longshore_core::{NodeId, Target, WorkloadId, http::full_body};
use serde::Deserialize;

use super::{
    Shared,
    call::{Call, raw_json},
    containers::on,
    error::{ApiError, ApiResult},
    fan::first_answer,
    hijack::{Far, Session, hijack},
    proxy::request,
    record::Made,
};
use crate::NodeView;

/// Whose an exec instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExecOwner {
    pub(super) node: NodeId,
    pub(super) container: WorkloadId,
}

/// Remembers the newest exec instances; older ones are found by asking the engines.
#[derive(Debug)]
pub(super) struct ExecOwners {
    known: Mutex<Known>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Known {
    owners: HashMap<String, ExecOwner>,
    order: VecDeque<String>,
}

impl ExecOwners {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            known: Mutex::default(),
            capacity: capacity.max(1),
        }
    }

    pub(super) fn remember(&self, id: &str, owner: ExecOwner) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.owners.insert(id.to_owned(), owner).is_none() {
            known.order.push_back(id.to_owned());
        }
        while known.order.len() > self.capacity {
            if let Some(oldest) = known.order.pop_front() {
                known.owners.remove(&oldest);
            }
        }
    }

    pub(super) fn owner(&self, id: &str) -> Option<ExecOwner> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.owners.get(id).cloned()
    }
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "Id")]
    id: String,
}

/// Makes an exec instance.
pub(super) async fn create(shared: &Shared, mut call: Call, name: &str) -> ApiResult {
    let owned = shared.find(name, || format!("No such container: {name}"))?;
    let body = call.read_json(shared).await?;
    let has_command = body
        .get("Cmd")
        .and_then(serde_json::Value::as_array)
        .is_some_and(|command| !command.is_empty());
    if !has_command {
        return Err(ApiError::bad_request("No exec command specified"));
    }
    let path = format!("/containers/{}/exec", owned.id());
    let target = shared.target_at(&owned.node, call.version, &path, "");
    let request = request(
        Method::POST,
        &target,
        &call.headers,
        full_body(body.to_string()),
    )?;
    let (_, answer) = shared
        .ask(&owned.node, shared.options.call_limit, request)
        .await?;
    let created: Created = serde_json::from_slice(&answer).map_err(|error| {
        ApiError::internal(format!("the engine's answer is malformed: {error}"))
    })?;
    shared.execs.remember(
        &created.id,
        ExecOwner {
            node: owned.view.node.clone(),
            container: owned.view.workload.id.clone(),
        },
    );
    let mut answer = raw_json(StatusCode::CREATED, answer);
    answer.extensions_mut().insert(Made(created.id));
    Ok(on(&owned.node.name, answer))
}

/// The node of an exec instance; engines are asked for one that is not remembered.
async fn node_of(shared: &Shared, call: &Call, id: &str) -> ApiResult<NodeView> {
    let unknown = || ApiError::not_found(format!("Exec {id} not found"));
    if !id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        return Err(unknown());
    }
    if let Some(owner) = shared.execs.owner(id) {
        return shared.plane.node(owner.node.as_str()).ok_or_else(unknown);
    }
    let path = format!("/exec/{id}/json");
    let found: Option<(NodeView, serde_json::Value)> =
        first_answer(shared, call.version, &path, "").await;
    let (node, exec) = found.ok_or_else(unknown)?;
    let container = exec.get("ContainerID").and_then(serde_json::Value::as_str);
    if let (Some(node), Some(Ok(container))) = (&node.id, container.map(WorkloadId::new)) {
        let node = node.clone();
        shared.execs.remember(id, ExecOwner { node, container });
    }
    Ok(node)
}

pub(super) async fn inspect(shared: &Shared, mut call: Call, id: &str) -> ApiResult {
    let node = node_of(shared, &call, id).await?;
    let path = format!("/exec/{id}/json");
    let limit = Some(shared.options.call_limit);
    shared.forward(&node, &mut call, &path, "", limit).await
}

pub(super) async fn resize(shared: &Shared, mut call: Call, id: &str) -> ApiResult {
    let node = node_of(shared, &call, id).await?;
    let path = format!("/exec/{id}/resize");
    let query = call.raw_query.clone();
    let limit = Some(shared.options.call_limit);
    shared.forward(&node, &mut call, &path, &query, limit).await
}

/// Whether an exec instance is to be started without anybody at its streams.
pub(super) fn is_detached(body: &[u8]) -> ApiResult<bool> {
    #[derive(Deserialize, Default)]
    struct Start {
        #[serde(rename = "Detach", default)]
        detach: bool,
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(false);
    }
    serde_json::from_slice::<Start>(body)
        .map(|start| start.detach)
        .map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))
}

/// Starts it: detached and without an upgrade a plain call, else a hijacked stream.
pub(super) async fn start(shared: &Arc<Shared>, mut call: Call, id: &str) -> ApiResult {
    let node = node_of(shared, &call, id).await?;
    let body = call.read_body(shared).await?;
    let detached = is_detached(&body)?;
    let path = format!("/exec/{id}/start");
    let target = shared.target_at(&node, call.version, &path, "");
    if detached || call.upgrade.is_none() {
        let request = request(Method::POST, &target, &call.headers, full_body(body))?;
        let response = shared.send(&node, None, request).await?;
        return shared.relay(&node, response).await;
    }
    let container = shared
        .execs
        .owner(id)
        .and_then(|owner| shared.plane.container(owner.container.as_str()).ok());
    let target_labels = container.map(|view| view.workload.labels.clone());
    let session = Session {
        target: Target::new("exec", id).with_labels(target_labels.unwrap_or_default()),
        far: Far::Engine(Box::new(node)),
        path: target,
        body,
    };
    if !call.headers.contains_key(http::header::CONTENT_TYPE) {
        let json = http::HeaderValue::from_static("application/json");
        let headers: &mut HeaderMap = &mut call.headers;
        headers.insert(http::header::CONTENT_TYPE, json);
    }
    hijack(shared, call, session).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_exec_is_forgotten_first() {
        let owners = ExecOwners::new(2);
        let owner = ExecOwner {
            node: NodeId::new("n").unwrap(),
            container: WorkloadId::new("c").unwrap(),
        };
        for id in ["a", "b", "b", "c"] {
            owners.remember(id, owner.clone());
        }
        assert_eq!(owners.owner("a"), None);
        assert_eq!(owners.owner("b"), Some(owner.clone()));
        assert_eq!(owners.owner("c"), Some(owner));
    }
}
