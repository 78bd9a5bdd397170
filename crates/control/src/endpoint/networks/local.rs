use http::{HeaderMap, StatusCode};
use longshore_core::Expression;
use serde_json::Map;

use super::{
    instance::{Instance, instances},
    post,
};
use crate::{
    ApiVersion, NodeView,
    endpoint::{Shared, error::ApiResult},
};

/// The local networks that a new container names: where they are, and what to do elsewhere.
#[derive(Debug, Default)]
pub(in crate::endpoint) struct LocalNetworks {
    found: Vec<(String, Vec<Instance>)>,
}

impl LocalNetworks {
    pub(in crate::endpoint) async fn find(
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
    pub(in crate::endpoint) fn wish(&self) -> Option<Expression> {
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
    pub(in crate::endpoint) async fn ensure(
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
    pub(in crate::endpoint) fn warnings(&self, node: &NodeView) -> Vec<String> {
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

/// Makes a node's own copy of a network. An address range that is taken there is left to the engine.
pub(super) async fn replicate(
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
