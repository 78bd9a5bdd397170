//! Volumes, asked of the engines when they are needed. A volume of the local driver is shown as
//! `node/volume`; one is made on every node unless a node is named.

use http::{HeaderMap, Method, StatusCode, header};
use longshore_core::Pattern;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Shared,
    call::{Call, empty, json, raw_json},
    error::{ApiError, ApiResult},
    fan::{get_all, send_each},
    images::report,
};
use crate::{ApiVersion, NodeView};

#[derive(Debug, Default, Deserialize)]
struct VolumeList {
    #[serde(rename = "Volumes", default)]
    volumes: Option<Vec<Value>>,
    #[serde(rename = "Warnings", default)]
    warnings: Option<Vec<String>>,
}

/// A volume as one node has it.
#[derive(Debug)]
struct Held {
    node: NodeView,
    value: Value,
}

impl Held {
    fn text(&self, key: &str) -> &str {
        self.value.get(key).and_then(Value::as_str).unwrap_or("")
    }

    fn is_local(&self) -> bool {
        self.text("Driver") == "local"
    }

    fn shown_name(&self) -> String {
        if self.is_local() {
            format!("{}/{}", self.node.name, self.text("Name"))
        } else {
            self.text("Name").to_owned()
        }
    }

    fn is_on(&self, node: &str) -> bool {
        self.node.name == node || self.node.id.as_ref().is_some_and(|id| id.as_str() == node)
    }

    /// What must be the same for two nodes' volumes of one name to be one volume made on both.
    fn make(&self) -> (&str, Option<&Value>, Option<&Value>) {
        let filled = |key: &str| {
            let value = self.value.get(key)?;
            value
                .as_object()
                .is_some_and(|map| !map.is_empty())
                .then_some(value)
        };
        (self.text("Driver"), filled("Options"), filled("Labels"))
    }
}

async fn held(
    shared: &Shared,
    version: Option<ApiVersion>,
    query: &str,
) -> (Vec<Held>, Vec<String>) {
    let (answers, failures) = get_all::<VolumeList>(shared, version, "/volumes", query).await;
    let mut warnings = failures;
    let mut volumes = Vec::new();
    for (node, list) in answers {
        warnings.extend(list.warnings.unwrap_or_default());
        volumes.extend(
            list.volumes
                .unwrap_or_default()
                .into_iter()
                .map(|value| Held {
                    node: node.clone(),
                    value,
                }),
        );
    }
    (volumes, warnings)
}

pub(super) async fn list(shared: &Shared, call: &Call) -> ApiResult {
    let filters = call.query.filters()?;
    // What only an engine can tell is left to it.
    let mut asked = Map::new();
    for key in ["dangling", "driver"] {
        if !filters.values(key).is_empty() {
            asked.insert(key.to_owned(), filters.values(key).into());
        }
    }
    let mut query = super::query::Query::default();
    if !asked.is_empty() {
        query.set("filters", Some(Value::Object(asked).to_string()));
    }
    let (volumes, warnings) = held(shared, call.version, &query.encode()).await;
    let mut shown: Vec<Value> = Vec::new();
    let mut seen: Vec<(String, String)> = Vec::new();
    for volume in &volumes {
        let label = |key: &str| volume.value.get("Labels")?.get(key)?.as_str();
        let kept = filters.any("name", |name| volume.shown_name().contains(name))
            && filters.any("node", |node| volume.is_on(node))
            && filters.labels(label);
        let key = (volume.shown_name(), volume.text("Driver").to_owned());
        if kept && !seen.contains(&key) {
            let mut value = volume.value.clone();
            value["Name"] = volume.shown_name().into();
            shown.push(value);
            seen.push(key);
        }
    }
    shown.sort_by(|a, b| a["Name"].as_str().cmp(&b["Name"].as_str()));
    json(
        StatusCode::OK,
        &json!({"Volumes": shown, "Warnings": warnings}),
    )
}

/// The holders of the one volume that a reference means.
fn resolve<'a>(
    volumes: &'a [Held],
    reference: &str,
    missing: impl FnOnce() -> String,
) -> ApiResult<Vec<&'a Held>> {
    let mut found: Vec<&Held> = volumes
        .iter()
        .filter(|volume| volume.text("Name") == reference)
        .collect();
    if found.is_empty()
        && let Some((node, bare)) = reference.split_once('/')
    {
        found = volumes
            .iter()
            .filter(|volume| volume.is_on(node) && volume.text("Name") == bare)
            .collect();
    }
    let Some(first) = found.first() else {
        return Err(ApiError::not_found(missing()));
    };
    let one = found
        .iter()
        .all(|volume| !volume.is_local() || volume.make() == first.make());
    if one {
        return Ok(found);
    }
    let candidates: Vec<String> = found.iter().map(|volume| volume.shown_name()).collect();
    Err(longshore_core::Error::new(
        longshore_core::ErrorKind::Ambiguous,
        format!(
            "{} different volumes are called {reference}: {}",
            found.len(),
            candidates.join(", ")
        ),
    )
    .with_context("candidates", candidates.join(", "))
    .into())
}

pub(super) async fn inspect(shared: &Shared, call: &Call, name: &str) -> ApiResult {
    let (volumes, _) = held(shared, call.version, "").await;
    let found = resolve(&volumes, name, || format!("No such volume: {name}"))?;
    Ok(raw_json(StatusCode::OK, found[0].value.to_string()))
}

pub(super) async fn create(shared: &Shared, mut call: Call) -> ApiResult {
    let mut body = match call.read_json(shared).await? {
        Value::Object(body) => body,
        Value::Null => Map::new(),
        _ => {
            return Err(ApiError::bad_request(
                "invalid JSON: a volume's configuration is an object",
            ));
        }
    };
    let full = body
        .get("Name")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    let mut nodes = shared.healthy_nodes();
    if let Some((node, name)) = full.split_once('/') {
        nodes.retain(|known| {
            known.name == node || known.id.as_ref().is_some_and(|id| id.as_str() == node)
        });
        if nodes.is_empty() {
            return Err(ApiError::not_found(format!("No such node: {node}")));
        }
        body.insert("Name".to_owned(), name.into());
    } else if full.is_empty() {
        // One name for all nodes.
        let name = shared.plane.random().hex(32);
        body.insert("Name".to_owned(), name.into());
    }
    for listed in whitelists(&body)? {
        nodes.retain(|node| listed.contains(&node.name));
    }
    if nodes.is_empty() {
        return Err(ApiError::unavailable(
            "No healthy node available in the cluster",
        ));
    }
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    let parts = send_each(
        shared,
        nodes,
        call.version,
        Method::POST,
        ("/volumes/create", ""),
        &headers,
        Value::Object(body).to_string().into(),
    )
    .await;
    report(&parts)?;
    let made = parts.into_iter().find_map(|part| part.result.ok());
    match made {
        Some((_, answer)) => Ok(raw_json(StatusCode::CREATED, answer)),
        None => Err(ApiError::internal("no node answered")),
    }
}

/// Lists of nodes in the label `com.docker.swarm.whitelists`; several intersect.
fn whitelists(body: &Map<String, Value>) -> ApiResult<Vec<Vec<String>>> {
    let label = body
        .get("Labels")
        .and_then(|labels| labels.get(WHITELISTS))
        .and_then(Value::as_str);
    let Some(text) = label else {
        return Ok(Vec::new());
    };
    let items: Vec<String> = serde_json::from_str(text).map_err(|error| {
        ApiError::bad_request(format!(
            "label {WHITELISTS} is not a JSON array of strings: {error}"
        ))
    })?;
    items
        .iter()
        .map(|item| {
            let expression: longshore_core::Expression =
                item.parse()
                    .map_err(|error: longshore_core::ExpressionError| {
                        ApiError::bad_request(error.to_string())
                    })?;
            let Pattern::Glob(names) = expression.pattern() else {
                return Err(ApiError::bad_request(format!("Value '{item}' is invalid")));
            };
            Ok(names.split('|').map(str::to_owned).collect())
        })
        .collect()
}

pub(super) async fn remove(shared: &Shared, call: Call, name: &str) -> ApiResult {
    let (volumes, _) = held(shared, call.version, "").await;
    let found = resolve(&volumes, name, || format!("No such volume {name}"))?;
    let bare = found[0].text("Name").to_owned();
    let nodes = found
        .into_iter()
        .map(|volume| volume.node.clone())
        .collect();
    let parts = send_each(
        shared,
        nodes,
        call.version,
        Method::DELETE,
        (&format!("/volumes/{bare}"), &call.raw_query),
        &HeaderMap::new(),
        bytes::Bytes::new(),
    )
    .await;
    report(&parts)?;
    Ok(empty(StatusCode::NO_CONTENT))
}

const WHITELISTS: &str = "com.docker.swarm.whitelists";
