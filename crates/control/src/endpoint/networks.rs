//! Networks, asked of the engines when they are needed.
//!
//! A network that one engine keeps for itself (`local` scope) is shown as `node/name`. One that was
//! made through this endpoint without naming a node is made on one node first, and again on another
//! one when a container has to go there, so that a compose project works on any number of nodes; it
//! still connects nothing across nodes, and the create says so. Such networks carry a label and
//! count as one under their bare name.

use std::collections::BTreeMap;

use http::{HeaderMap, Method, StatusCode};
use longshore_core::{Expression, http::full_body};
use serde_json::{Map, Value};

use super::{
    Shared,
    call::{self, Call, empty},
    containers::on,
    create::object_mut,
    error::{ApiError, ApiResult},
    fan::get_all,
    proxy::request,
    query::Filters,
    route::NetworkOp,
};
use crate::{ApiVersion, NodeView};

/// A network as one node has it.
#[derive(Clone, Debug)]
struct Instance {
    node: NodeView,
    value: Value,
}

impl Instance {
    fn text(&self, key: &str) -> &str {
        self.value.get(key).and_then(Value::as_str).unwrap_or("")
    }

    fn id(&self) -> &str {
        self.text("Id")
    }

    fn name(&self) -> &str {
        self.text("Name")
    }

    fn is_local(&self) -> bool {
        self.text("Scope") == "local"
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.value.get("Labels")?.get(key)?.as_str()
    }

    fn is_per_node(&self) -> bool {
        self.label(SCOPE_LABEL) == Some("node")
    }

    fn shown_name(&self) -> String {
        if self.is_local() {
            format!("{}/{}", self.node.name, self.name())
        } else {
            self.name().to_owned()
        }
    }
}

async fn instances(shared: &Shared, version: Option<ApiVersion>) -> Vec<Instance> {
    let (answers, _) = get_all::<Vec<Value>>(shared, version, "/networks", "").await;
    answers
        .into_iter()
        .flat_map(|(node, networks)| {
            networks.into_iter().map(move |value| Instance {
                node: node.clone(),
                value,
            })
        })
        .collect()
}

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

fn matches(filters: &Filters, instance: &Instance) -> bool {
    let builtin = matches!(instance.name(), "bridge" | "host" | "none" | "nat" | "null");
    filters.any("type", |kind| (kind == "builtin") == builtin)
        && filters.any("driver", |driver| instance.text("Driver") == driver)
        && filters.any("scope", |scope| instance.text("Scope") == scope)
        && filters.any("id", |id| instance.id().contains(id))
        && filters.any("name", |name| instance.shown_name().contains(name))
        && filters.any("node", |node| {
            instance.node.name == node
                || instance
                    .node
                    .id
                    .as_ref()
                    .is_some_and(|id| id.as_str() == node)
        })
        && filters.labels(|key| instance.label(key))
}

/// Endpoints of one network from several engines, each once.
fn merge_endpoints(into: &mut Value, from: &Value) {
    let Some(from) = from.get("Containers").and_then(Value::as_object) else {
        return;
    };
    if !into["Containers"].is_object() {
        into["Containers"] = Value::Object(Map::new());
    }
    if let Some(into) = into["Containers"].as_object_mut() {
        for (key, endpoint) in from {
            let id = &endpoint["EndpointID"];
            let known = into
                .values()
                .any(|other| !id.is_null() && other["EndpointID"] == *id);
            if !known && !into.contains_key(key) {
                into.insert(key.clone(), endpoint.clone());
            }
        }
    }
}

/// All instances of the one network that a reference means.
fn resolve<'a>(
    all: &'a [Instance],
    reference: &str,
    missing: impl FnOnce() -> String,
) -> ApiResult<Vec<&'a Instance>> {
    let by_id = |test: &dyn Fn(&str) -> bool| -> Vec<&'a Instance> {
        all.iter().filter(|instance| test(instance.id())).collect()
    };
    let named = |instance: &&Instance| {
        let (node, bare) = match reference.split_once('/') {
            Some((node, bare)) => (Some(node), bare),
            None => (None, reference),
        };
        instance.name() == bare
            && node.is_none_or(|node| {
                instance.node.name == node
                    || instance
                        .node
                        .id
                        .as_ref()
                        .is_some_and(|id| id.as_str() == node)
            })
    };
    let mut found = by_id(&|id| id == reference);
    if found.is_empty() && reference.len() == SHORT_ID {
        found = by_id(&|id| id.starts_with(reference));
    }
    if found.is_empty() {
        found = all.iter().filter(named).collect();
    }
    if found.is_empty() {
        found = by_id(&|id| id.starts_with(reference));
    }
    let Some(first) = found.first() else {
        return Err(ApiError::not_found(missing()));
    };
    let one_id = found.iter().all(|instance| instance.id() == first.id());
    let one_name = found
        .iter()
        .all(|instance| instance.is_per_node() && instance.name() == first.name());
    if one_id || one_name {
        return Ok(found);
    }
    let candidates: Vec<String> = found.iter().map(|i| i.shown_name()).collect();
    Err(longshore_core::Error::new(
        longshore_core::ErrorKind::Ambiguous,
        format!(
            "{} networks match {reference}: {}",
            found.len(),
            candidates.join(", ")
        ),
    )
    .with_context("candidates", candidates.join(", "))
    .into())
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
    call::json(StatusCode::OK, &merged)
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

/// Makes a node's own copy of a network. An address range that is taken there is left to the engine.
async fn replicate(
    shared: &Shared,
    version: Option<ApiVersion>,
    model: &Instance,
    node: &NodeView,
) -> ApiResult<()> {
    let mut body = Map::new();
    let keep = [
        "Name",
        "Driver",
        "Options",
        "Labels",
        "Internal",
        "EnableIPv6",
        "Attachable",
        "IPAM",
    ];
    for key in keep {
        if let Some(value) = model.value.get(key) {
            body.insert(key.to_owned(), value.clone());
        }
    }
    body.insert("CheckDuplicate".to_owned(), true.into());
    let headers = HeaderMap::new();
    let mut made = post(shared, version, node, &headers, &body).await;
    if made.is_err() {
        body.remove("IPAM");
        made = post(shared, version, node, &headers, &body).await;
    }
    match made {
        Err(error) if error.status() == StatusCode::CONFLICT => Ok(()),
        made => made.map(|_| ()),
    }
}

/// The local networks that a new container names: where they are, and what to do elsewhere.
#[derive(Debug, Default)]
pub(super) struct LocalNetworks {
    found: Vec<(String, Vec<Instance>)>,
}

impl LocalNetworks {
    pub(super) async fn find(
        shared: &Shared,
        version: Option<ApiVersion>,
        names: &[String],
    ) -> Self {
        if names.is_empty() {
            return Self::default();
        }
        let all = instances(shared, version).await;
        let found = names
            .iter()
            .filter_map(|name| {
                let mut here: Vec<Instance> = all
                    .iter()
                    .filter(|instance| instance.id() == name)
                    .cloned()
                    .collect();
                if here.is_empty() {
                    here = all.iter().filter(|i| i.name() == name).cloned().collect();
                }
                let local = !here.is_empty() && here.iter().all(Instance::is_local);
                local.then(|| (name.clone(), here))
            })
            .collect();
        Self { found }
    }

    /// Containers of one local network belong together: a soft constraint to its nodes.
    pub(super) fn wish(&self) -> Option<Expression> {
        let (_, instances) = self.found.first()?;
        let mut nodes: Vec<&str> = instances.iter().map(|i| i.node.name.as_str()).collect();
        nodes.dedup();
        let value = match nodes.as_slice() {
            [node] => (*node).to_owned(),
            nodes => {
                let escaped: Vec<String> = nodes.iter().map(|node| regex::escape(node)).collect();
                format!("/^({})$/", escaped.join("|"))
            }
        };
        format!("node==~{value}").parse().ok()
    }

    fn missing_on<'a>(&'a self, node: &'a NodeView) -> impl Iterator<Item = &'a Instance> {
        self.found.iter().filter_map(|(_, instances)| {
            let here = instances.iter().any(|instance| instance.node.id == node.id);
            instances.first().filter(|_| !here)
        })
    }

    /// Makes the networks on a node that lacks them, as far as they are of that kind. Others are
    /// left for the engine to miss.
    pub(super) async fn ensure(
        &self,
        shared: &Shared,
        version: Option<ApiVersion>,
        node: &NodeView,
    ) -> ApiResult<()> {
        for model in self.missing_on(node).filter(|model| model.is_per_node()) {
            replicate(shared, version, model, node).await?;
        }
        Ok(())
    }

    /// What the user should know of a container on this node.
    pub(super) fn warnings(&self, node: &NodeView) -> Vec<String> {
        self.missing_on(node)
            .map(|model| {
                format!(
                    "network {} is local to each node: on node {} it does not reach the \
                     containers on node {}",
                    model.name(),
                    node.name,
                    model.node.name
                )
            })
            .collect()
    }
}

/// On networks that each node may have its own copy of. Labels under `com.docker.` are left alone
/// by compose when it compares configurations.
const SCOPE_LABEL: &str = "com.docker.swarm.network.scope";
const SHORT_ID: usize = 12;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_merge_without_duplicates() {
        let mut into = json!({"Containers": {"a": {"EndpointID": "1"}}});
        merge_endpoints(
            &mut into,
            &json!({"Containers": {"ep-1": {"EndpointID": "1"}, "b": {"EndpointID": "2"}}}),
        );
        assert_eq!(
            into,
            json!({"Containers": {"a": {"EndpointID": "1"}, "b": {"EndpointID": "2"}}})
        );
        let mut empty = json!({"Containers": null});
        merge_endpoints(
            &mut empty,
            &json!({"Containers": {"b": {"EndpointID": "2"}}}),
        );
        assert_eq!(empty["Containers"]["b"]["EndpointID"], "2");
    }
}
