//! `prune` and `system df`: the sum over all nodes.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    Shared,
    call::{Call, json},
    error::ApiResult,
    fan::{get_all, send_each},
    images::report,
    route::Kind,
};
use crate::NodeView;

pub(super) async fn prune(shared: &Shared, call: Call, kind: Kind) -> ApiResult {
    let path = format!("/{}/prune", kind.path());
    let parts = send_each(
        shared,
        shared.healthy_nodes(),
        call.version,
        Method::POST,
        (&path, &call.raw_query),
        &HeaderMap::new(),
        Bytes::new(),
    )
    .await;
    futures::future::join_all(parts.iter().map(|part| shared.refresh(&part.node))).await;
    report(&parts)?;
    let mut sum = Map::new();
    for part in parts {
        if let Ok((_, body)) = part.result
            && let Ok(Value::Object(answer)) = serde_json::from_slice(&body)
        {
            add(&mut sum, answer, |item| named(item, &part.node, kind));
        }
    }
    json(StatusCode::OK, &sum)
}

/// Nothing is built through the cluster, so it has no cache to prune; `docker system prune` asks.
pub(super) fn build_cache() -> ApiResult {
    let nothing = json!({"CachesDeleted": [], "SpaceReclaimed": 0});
    json(StatusCode::OK, &nothing)
}

pub(super) async fn disk_usage(shared: &Shared, call: &Call) -> ApiResult {
    let (answers, _) =
        get_all::<Map<String, Value>>(shared, call.version, "/system/df", &call.raw_query).await;
    let mut sum = Map::new();
    for (node, answer) in answers {
        add(&mut sum, answer, |mut item| {
            if let Some(names) = item.get_mut("Names").and_then(Value::as_array_mut) {
                for name in names {
                    let own = name
                        .as_str()
                        .unwrap_or("")
                        .trim_start_matches('/')
                        .to_owned();
                    *name = format!("/{}/{own}", node.name).into();
                }
            } else if item.get("Mountpoint").is_some() {
                let own = item["Name"].as_str().unwrap_or("").to_owned();
                item["Name"] = format!("{}/{own}", node.name).into();
            }
            item
        });
    }
    for list in ["Images", "Containers", "Volumes", "BuildCache"] {
        sum.entry(list).or_insert_with(|| json!([]));
    }
    sum.entry("LayersSize").or_insert_with(|| 0.into());
    json(StatusCode::OK, &sum)
}

/// Networks and volumes are called `node/name` here.
fn named(item: Value, node: &NodeView, kind: Kind) -> Value {
    match (item.as_str(), kind) {
        (Some(name), Kind::Network | Kind::Volume) => format!("{}/{name}", node.name).into(),
        _ => item,
    }
}

/// Numbers add up, lists are joined.
fn add(sum: &mut Map<String, Value>, answer: Map<String, Value>, shown: impl Fn(Value) -> Value) {
    for (key, value) in answer {
        match value {
            Value::Array(items) => {
                let entry = sum.entry(key).or_insert(Value::Null);
                if !entry.is_array() {
                    *entry = json!([]);
                }
                if let Some(list) = entry.as_array_mut() {
                    list.extend(items.into_iter().map(&shown));
                }
            }
            Value::Number(number) => {
                let entry = sum.entry(key).or_insert_with(|| 0.into());
                let total = entry.as_i64().unwrap_or(0);
                *entry = total.saturating_add(number.as_i64().unwrap_or(0)).into();
            }
            other => {
                sum.entry(key).or_insert(other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_add_up_and_lists_are_joined() {
        let mut sum = Map::new();
        for answer in [
            json!({"SpaceReclaimed": 5, "ContainersDeleted": null}),
            json!({"SpaceReclaimed": 7, "ContainersDeleted": ["a"]}),
        ] {
            add(&mut sum, answer.as_object().unwrap().clone(), |item| item);
        }
        assert_eq!(
            Value::Object(sum),
            json!({"SpaceReclaimed": 12, "ContainersDeleted": ["a"]})
        );
    }
}
