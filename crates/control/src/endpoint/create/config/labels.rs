//! Labels of a create body: those that carry what placement is to heed, and those that are the
//! control plane's own.

use serde_json::{Map, Value};

use super::object_mut;
use crate::endpoint::error::ApiError;

/// What was found in the environment and the labels under one keyword.
pub(super) struct Carrier {
    keyword: &'static str,
    label: &'static str,
}

pub(super) const CONSTRAINTS: Carrier = Carrier {
    keyword: "constraint:",
    label: "com.docker.swarm.constraints",
};
pub(super) const AFFINITIES: Carrier = Carrier {
    keyword: "affinity:",
    label: "com.docker.swarm.affinities",
};
pub(super) const WHITELISTS: Carrier = Carrier {
    keyword: "whitelist:",
    label: "com.docker.swarm.whitelists",
};
pub(super) const RESCHEDULE: Carrier = Carrier {
    keyword: "reschedule:",
    label: "com.docker.swarm.reschedule-policies",
};

/// Refuses the labels by which the control plane knows its own instances again. The one that marks a
/// container as the system's own is everybody's to give.
pub(super) fn check_labels(body: &Map<String, Value>, system_label: &str) -> Result<(), ApiError> {
    let labels = body.get("Labels").and_then(Value::as_object);
    let mut names = labels.into_iter().flat_map(Map::keys);
    match names.find(|name| name.starts_with(OWN_LABELS) && *name != system_label) {
        Some(name) => Err(ApiError::bad_request(format!(
            "label {name} is the control plane's own and can't be given"
        ))),
        None => Ok(()),
    }
}

/// Takes a keyword's items out of the environment, puts them behind those of the label, and writes
/// the label back.
pub(super) fn take(
    body: &mut Map<String, Value>,
    carrier: &Carrier,
) -> Result<Vec<String>, ApiError> {
    let mut items = Vec::new();
    if let Some(Value::Array(env)) = body.get_mut("Env") {
        env.retain(|pair| {
            let item = pair.as_str().and_then(|p| p.strip_prefix(carrier.keyword));
            items.extend(item.map(str::to_owned));
            item.is_none()
        });
    }
    let label = body
        .get("Labels")
        .and_then(|labels| labels.get(carrier.label))
        .and_then(Value::as_str);
    if let Some(text) = label {
        let mut listed: Vec<String> = serde_json::from_str(text).map_err(|error| {
            ApiError::bad_request(format!(
                "label {} is not a JSON array of strings: {error}",
                carrier.label
            ))
        })?;
        listed.append(&mut items);
        items = listed;
    }
    if !items.is_empty() {
        let text = Value::from(items.clone()).to_string();
        labels_mut(body).insert(carrier.label.to_owned(), text.into());
    }
    Ok(items)
}

pub(super) fn labels_mut(body: &mut Map<String, Value>) -> &mut Map<String, Value> {
    object_mut(body, "Labels")
}

/// How the labels begin that the control plane gives.
const OWN_LABELS: &str = "longshore.";
