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
    fan::{Part, each},
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

    /// Fails with the node that has this instance when it is another one that is still there: ids
    /// are drawn at random, so a node that gives a known one away wants what is meant for another.
    pub(super) fn remember(
        &self,
        id: &str,
        owner: ExecOwner,
        is_there: impl FnOnce(&NodeId) -> bool,
    ) -> Result<(), NodeId> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = known.owners.get(id)
            && other.node != owner.node
            && is_there(&other.node)
        {
            return Err(other.node.clone());
        }
        if known.owners.insert(id.to_owned(), owner).is_none() {
            known.order.push_back(id.to_owned());
        }
        while known.order.len() > self.capacity {
            if let Some(oldest) = known.order.pop_front() {
                known.owners.remove(&oldest);
            }
        }
        Ok(())
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
    let wrong = |what: &str| {
        let message = format!("the answer of node {} is wrong: {what}", owned.node.name);
        ApiError::new(StatusCode::BAD_GATEWAY, "protocol", message)
    };
    let created: Created =
        serde_json::from_slice(&answer).map_err(|error| wrong(&error.to_string()))?;
    if !is_id(&created.id) {
        return Err(wrong("it gives the exec instance a malformed id"));
    }
    let owner = ExecOwner {
        node: owned.view.node.clone(),
        container: owned.view.workload.id.clone(),
    };
    remember(shared, &created.id, owner)
        .map_err(|_| wrong("it gives the exec instance an id that another node's has"))?;
    let mut answer = raw_json(StatusCode::CREATED, answer);
    answer.extensions_mut().insert(Made(created.id));
    Ok(on(&owned.node.name, answer))
}

/// The node of an exec instance; engines are asked for one that is not remembered.
async fn node_of(shared: &Shared, call: &Call, id: &str) -> ApiResult<NodeView> {
    let unknown = || ApiError::not_found(format!("Exec {id} not found"));
    if !is_id(id) {
        return Err(unknown());
    }
    if let Some(owner) = shared.execs.owner(id) {
        return shared.plane.node(owner.node.as_str()).ok_or_else(unknown);
    }
    let path = format!("/exec/{id}/json");
    let parts = each(shared.healthy_nodes(), |node| {
        let path = &path;
        async move { shared.get::<Found>(&node, call.version, path, "").await }
    })
    .await;
    let containers = shared.plane.containers();
    let (mut owners, mut silent) = (Vec::new(), Vec::new());
    for Part { node, result } in parts {
        match (result, &node.id) {
            (Ok(found), Some(node_id)) => {
                // A node may say what it likes; what it has is known.
                let container = containers.iter().find(|view| {
                    view.workload.id.as_str() == found.container && view.node == *node_id
                });
                if let Some(view) = container.filter(|_| found.id == id) {
                    let owner = ExecOwner {
                        node: node_id.clone(),
                        container: view.workload.id.clone(),
                    };
                    owners.push((node, owner));
                }
            }
            (Err(error), _) if !error.status().is_client_error() => silent.push(node.name),
            _ => {}
        }
    }
    if owners.len() > 1 {
        let names: Vec<&str> = owners.iter().map(|(node, _)| node.name.as_str()).collect();
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "ambiguous",
            format!(
                "Exec {id} is claimed by several nodes: {}",
                names.join(", ")
            ),
        ));
    }
    let (node, owner) = owners.pop().ok_or_else(unknown)?;
    if !silent.is_empty() {
        return Err(ApiError::try_again(format!(
            "whether Exec {id} is on node {} can't be told: no answer from {}",
            node.name,
            silent.join(", ")
        )));
    }
    remember(shared, id, owner).map_err(|_| unknown())?;
    Ok(node)
}

fn remember(shared: &Shared, id: &str, owner: ExecOwner) -> Result<(), NodeId> {
    let is_there = |node: &NodeId| shared.plane.node(node.as_str()).is_some();
    shared.execs.remember(id, owner, is_there)
}

fn is_id(id: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(known)
}

/// An engine's answer about an instance.
#[derive(Deserialize)]
struct Found {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "ContainerID")]
    container: String,
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

/// Engines give 64 characters.
const MAX_ID: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(node: &str) -> ExecOwner {
        ExecOwner {
            node: NodeId::new(node).unwrap(),
            container: WorkloadId::new("c").unwrap(),
        }
    }

    #[test]
    fn the_oldest_exec_is_forgotten_first() {
        let owners = ExecOwners::new(2);
        for id in ["a", "b", "b", "c"] {
            owners.remember(id, owner("n"), |_| true).unwrap();
        }
        assert_eq!(owners.owner("a"), None);
        assert_eq!(owners.owner("b"), Some(owner("n")));
        assert_eq!(owners.owner("c"), Some(owner("n")));
    }

    #[test]
    fn another_node_s_exec_is_never_taken_over() {
        let owners = ExecOwners::new(2);
        owners.remember("a", owner("n"), |_| true).unwrap();
        let refused = owners.remember("a", owner("evil"), |_| true);
        assert_eq!(refused, Err(owner("n").node));
        assert_eq!(owners.owner("a"), Some(owner("n")));
        // Of a node that is gone nothing is left.
        owners.remember("a", owner("m"), |_| false).unwrap();
        assert_eq!(owners.owner("a"), Some(owner("m")));
    }
}
