//! Images: lists from the view, reads from an engine that has it, writes to all.

mod find;
mod transfer;

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use longshore_core::Image;
use serde_json::{Value, json};

use self::find::{has_id_prefix, healthy_holders, is_named, is_reference};
pub(super) use self::{
    find::holders,
    transfer::{create, load},
};
use super::{
    Shared,
    call::{Call, empty, json},
    error::{ApiError, ApiResult},
    fan::{Part, send_each},
    info::is_dangling,
    query::Filters,
    route::ImageOp,
};
use crate::NodeView;

pub(super) fn list(shared: &Shared, call: &Call) -> ApiResult {
    let filters = call.query.filters()?;
    let nodes = shared.plane.nodes();
    let mut merged: BTreeMap<&str, Merged> = BTreeMap::new();
    for node in &nodes {
        for image in node.images.iter() {
            merged
                .entry(&image.id)
                .or_insert_with(|| Merged::new(image))
                .add(node, image);
        }
    }
    let dangling = filters.switch("dangling")?;
    let bound = |key: &str| -> ApiResult<Option<u64>> {
        let Some(reference) = filters.values(key).first() else {
            return Ok(None);
        };
        let found = merged
            .values()
            .find(|merged| is_named(&merged.image, reference))
            .or_else(|| {
                merged
                    .values()
                    .find(|merged| has_id_prefix(&merged.image, reference))
            });
        found
            .map(|merged| Some(merged.image.created.as_secs()))
            .ok_or_else(|| {
                ApiError::bad_request(format!(
                    "Invalid filter: '{key}'='{reference}': no such image found: '{reference}'"
                ))
            })
    };
    let (before, since) = (bound("before")?, bound("since")?);
    let all = call.query.flag("all");
    let mut shown: Vec<&Merged> = merged
        .values()
        .filter(|merged| {
            let created = merged.image.created.as_secs();
            merged.matches(&filters)
                && dangling.is_none_or(|wanted| wanted == is_dangling(&merged.image))
                && before.is_none_or(|before| created < before)
                && since.is_none_or(|since| created > since)
                && (all || dangling.is_some() || !is_dangling(&merged.image) || merged.has_digest())
        })
        .collect();
    shown.sort_by(|a, b| (b.image.created, &a.image.id).cmp(&(a.image.created, &b.image.id)));
    let shown: Vec<Value> = shown.into_iter().map(Merged::render).collect();
    json(StatusCode::OK, &shown)
}

/// One image with the names that it has on all nodes.
#[derive(Debug)]
struct Merged {
    image: Image,
    nodes: Vec<String>,
}

impl Merged {
    fn new(image: &Image) -> Self {
        Self {
            image: image.clone(),
            nodes: Vec::new(),
        }
    }

    fn add(&mut self, node: &NodeView, image: &Image) {
        let union = |into: &mut Vec<String>, from: &[String]| {
            for name in from {
                if !into.contains(name) {
                    into.push(name.clone());
                }
            }
        };
        union(&mut self.image.tags, &image.tags);
        union(&mut self.image.digests, &image.digests);
        if self.image.tags.len() > 1 {
            self.image.tags.retain(|tag| tag != "<none>:<none>");
        }
        self.nodes.push(node.name.clone());
        if let Some(id) = &node.id {
            self.nodes.push(id.to_string());
        }
    }

    fn has_digest(&self) -> bool {
        !self.image.digests.is_empty()
    }

    fn matches(&self, filters: &Filters) -> bool {
        filters.any("node", |node| self.nodes.iter().any(|held| held == node))
            && filters.any("reference", |pattern| {
                self.image
                    .tags
                    .iter()
                    .chain(&self.image.digests)
                    .any(|name| is_reference(name, pattern))
            })
            && filters.labels(|key| self.image.labels.get(key))
    }

    fn render(&self) -> Value {
        let image = &self.image;
        json!({
            "Id": image.id,
            "ParentId": "",
            "RepoTags": image.tags,
            "RepoDigests": image.digests,
            "Created": image.created.as_secs(),
            "Size": image.size.0,
            "VirtualSize": image.size.0,
            "SharedSize": -1,
            "Containers": -1,
            "Labels": if image.labels.is_empty() {
                Value::Null
            } else {
                serde_json::to_value(&image.labels).unwrap_or(Value::Null)
            },
        })
    }
}

/// Inspect, history, save: from the first engine that has it.
pub(super) async fn read(shared: &Shared, mut call: Call, name: &str, op: ImageOp) -> ApiResult {
    let word = match op {
        ImageOp::History => "history",
        ImageOp::Save => "get",
        _ => "json",
    };
    if op == ImageOp::Save {
        return save(
            shared,
            call,
            &[name.to_owned()],
            &format!("/images/{name}/get"),
        )
        .await;
    }
    let nodes = healthy_holders(shared, name, "No such image:")?;
    let path = format!("/images/{name}/{word}");
    let query = call.raw_query.clone();
    let limit = Some(shared.options.call_limit);
    shared
        .forward(&nodes[0], &mut call, &path, &query, limit)
        .await
}

pub(super) async fn save_many(shared: &Shared, call: Call) -> ApiResult {
    let names: Vec<String> = call
        .query
        .all("names")
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    save(shared, call, &names, "/images/get").await
}

async fn save(shared: &Shared, mut call: Call, names: &[String], path: &str) -> ApiResult {
    let node = shared.healthy_nodes().into_iter().find(|node| {
        names
            .iter()
            .all(|name| !holders(std::slice::from_ref(node), name).is_empty())
    });
    let Some(node) = node.filter(|_| !names.is_empty()) else {
        return Err(ApiError::not_found(format!(
            "Unable to find a healthy engine containing all images: [{}]",
            names.join(" ")
        )));
    };
    let query = call.raw_query.clone();
    shared.forward(&node, &mut call, path, &query, None).await
}

pub(super) async fn push(shared: &Shared, mut call: Call, name: &str) -> ApiResult {
    // The tag to push is in the query: without one the name alone decides.
    let tag = call.query.text("tag");
    let reference = if tag.is_empty() {
        name.to_owned()
    } else {
        format!("{name}:{tag}")
    };
    let nodes = healthy_holders(shared, &reference, "No such image:")?;
    let path = format!("/images/{name}/push");
    let query = call.raw_query.clone();
    shared
        .forward(&nodes[0], &mut call, &path, &query, None)
        .await
}

pub(super) async fn tag(shared: &Shared, call: Call, name: &str) -> ApiResult {
    let nodes = healthy_holders(shared, name, "No such image:")?;
    let path = format!("/images/{name}/tag");
    let parts = on_all(shared, &call, nodes, Method::POST, &path).await;
    report(&parts)?;
    Ok(empty(StatusCode::CREATED))
}

pub(super) async fn remove(shared: &Shared, call: Call, name: &str) -> ApiResult {
    let nodes = healthy_holders(shared, name, "No such image")?;
    let path = format!("/images/{name}");
    let parts = on_all(shared, &call, nodes, Method::DELETE, &path).await;
    report(&parts)?;
    let mut steps: Vec<Value> = Vec::new();
    for part in parts {
        if let Ok((_, body)) = part.result
            && let Ok(Value::Array(list)) = serde_json::from_slice(&body)
        {
            steps.extend(list.into_iter().filter(|step| !step.is_null()));
        }
    }
    steps.dedup();
    json(StatusCode::OK, &Value::Array(steps))
}

async fn on_all(
    shared: &Shared,
    call: &Call,
    nodes: Vec<NodeView>,
    method: Method,
    path: &str,
) -> Vec<Part<(StatusCode, bytes::Bytes)>> {
    let parts = send_each(
        shared,
        nodes,
        call.version,
        method,
        (path, &call.raw_query),
        &call.headers,
        bytes::Bytes::new(),
    )
    .await;
    futures::future::join_all(parts.iter().map(|part| shared.refresh(&part.node))).await;
    parts
}

/// The failures of a call to many nodes, one `node: error` line each, and what succeeded.
pub(super) fn report<T>(parts: &[Part<T>]) -> ApiResult<()> {
    let failures: Vec<(&Part<T>, &ApiError)> = parts
        .iter()
        .filter_map(|part| Some((part, part.result.as_ref().err()?)))
        .collect();
    let Some((_, first)) = failures.first() else {
        return Ok(());
    };
    let status = if failures
        .iter()
        .all(|(_, error)| error.status() == first.status())
    {
        first.status()
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let mut lines: Vec<String> = failures
        .iter()
        .map(|(part, error)| format!("{}: {}", part.node.name, error.message()))
        .collect();
    let done: Vec<&str> = parts
        .iter()
        .filter(|part| part.result.is_ok())
        .map(|part| part.node.name.as_str())
        .collect();
    if !done.is_empty() {
        lines.push(format!("done on: {}", done.join(", ")));
    }
    Err(ApiError::new(
        status,
        first.reason().to_owned(),
        lines.join("\n"),
    ))
}
