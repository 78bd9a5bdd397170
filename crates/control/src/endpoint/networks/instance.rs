use serde_json::{Map, Value};

use crate::{
    ApiVersion, NodeView,
    endpoint::{
        Shared,
        error::{ApiError, ApiResult},
        fan::get_all,
        query::Filters,
    },
};

/// A network as one node has it.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) node: NodeView,
    pub(super) value: Value,
}

impl Instance {
    pub(super) fn text(&self, key: &str) -> &str {
        self.value.get(key).and_then(Value::as_str).unwrap_or("")
    }

    pub(super) fn id(&self) -> &str {
        self.text("Id")
    }

    pub(super) fn name(&self) -> &str {
        self.text("Name")
    }

    pub(super) fn is_local(&self) -> bool {
        self.text("Scope") == "local"
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.value.get("Labels")?.get(key)?.as_str()
    }

    pub(super) fn is_per_node(&self) -> bool {
        self.label(SCOPE_LABEL) == Some("node")
    }

    pub(super) fn shown_name(&self) -> String {
        if self.is_local() {
            format!("{}/{}", self.node.name, self.name())
        } else {
            self.name().to_owned()
        }
    }
}

pub(super) async fn instances(shared: &Shared, version: Option<ApiVersion>) -> Vec<Instance> {
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

pub(super) fn matches(filters: &Filters, instance: &Instance) -> bool {
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
pub(super) fn merge_endpoints(into: &mut Value, from: &Value) {
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
pub(super) fn resolve<'a>(
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

/// On networks that each node may have its own copy of. Labels under `com.docker.` are left alone
/// by compose when it compares configurations.
pub(super) const SCOPE_LABEL: &str = "com.docker.swarm.network.scope";
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
