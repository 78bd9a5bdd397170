//! What a create asks for, read and ready to be placed.

use std::sync::Arc;

use longshore_core::{PlacementRequest, WorkloadName};
use serde_json::Value;

use super::{config::CreateConfig, platforms};
use crate::{
    SWARM_ID_LABEL,
    endpoint::{
        Shared,
        call::Call,
        error::{ApiError, ApiResult},
        networks::LocalNetworks,
    },
};

/// A create that was read and is to be carried out.
pub(in crate::endpoint) struct Prepared {
    /// Empty if the engine shall make one up.
    pub(in crate::endpoint) name: String,
    pub(in crate::endpoint) wanted: Wanted,
    pub(super) config: CreateConfig,
    pub(super) networks: LocalNetworks,
}

impl Prepared {
    /// The mark by which an engine finds what it made of this, and of nothing else.
    pub(in crate::endpoint) fn swarm_id(&self) -> Option<&str> {
        self.config.request.labels.get(SWARM_ID_LABEL)
    }

    /// About how many bytes it holds.
    pub(in crate::endpoint) fn weight(&self) -> usize {
        self.config.weight()
    }
}

/// Reads a create.
///
/// # Errors
/// What is wrong with it.
pub(in crate::endpoint) async fn prepare(
    shared: &Arc<Shared>,
    call: &mut Call,
) -> ApiResult<Prepared> {
    let name = call.query.text("name").trim_start_matches('/').to_owned();
    if !name.is_empty() && WorkloadName::new(name.as_str()).is_err() {
        return Err(ApiError::bad_request(format!(
            "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )));
    }
    let body = call.read_json(shared).await?;
    if body.is_null() {
        return Err(ApiError::bad_request(
            "Config cannot be empty in order to create a container",
        ));
    }
    let system_label = &shared.options.system_label;
    let mut config =
        CreateConfig::parse(body, &name, system_label, || shared.plane.random().hex(32))?;
    name_dependencies(shared, &mut config);
    let networks = LocalNetworks::find(shared, call.version, &config.networks).await;
    let mut wanted = Wanted::new(config.request.clone());
    if !config.is_pinned()
        && let Some(wish) = networks.wish()
    {
        wanted.note(format!(
            "constraint {wish}: a network that it names is there"
        ));
        wanted.request.constraints.push(wish);
    }
    let platforms = platforms::find(shared, call, &wanted.request).await;
    if !platforms.is_empty() {
        wanted.note(platforms::note(&platforms, &wanted.request.image));
        wanted.request.platforms = platforms;
    }
    Ok(Prepared {
        name,
        wanted,
        config,
        networks,
    })
}

/// What is asked of a cluster, with what was added to what the user wrote. His labels say what he
/// wrote (S23).
pub(in crate::endpoint) struct Wanted {
    pub(in crate::endpoint) request: PlacementRequest,
    pub(super) notes: Vec<String>,
}

impl Wanted {
    fn new(request: PlacementRequest) -> Self {
        Self {
            request,
            notes: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }
}

/// What is asked of a cluster by a create body, for an explanation.
pub(in crate::endpoint) fn placement_of(
    shared: &Shared,
    body: Value,
    name: &str,
) -> ApiResult<PlacementRequest> {
    let system_label = &shared.options.system_label;
    let config = CreateConfig::parse(body, name, system_label, || shared.plane.random().hex(32))?;
    Ok(config.request)
}

/// Engines know containers by name and id, not by node or swarm id.
fn name_dependencies(shared: &Shared, config: &mut CreateConfig) {
    let local = |reference: &str| -> Option<String> {
        let view = shared.plane.container(reference).ok()?;
        let workload = &view.workload;
        let known = workload.names.iter().any(|name| name == reference)
            || workload.id.as_str().starts_with(reference);
        (!known).then(|| workload.id.as_str().to_owned())
    };
    let mode = config.network_mode().to_owned();
    let host = config.host_mut();
    if let Some(id) = mode.strip_prefix("container:").and_then(local) {
        host.insert("NetworkMode".to_owned(), format!("container:{id}").into());
    }
    let mut rename = |key: &str, rewrite: &dyn Fn(&str) -> Option<String>| {
        let items = host.get_mut(key).and_then(Value::as_array_mut);
        for item in items.into_iter().flatten() {
            if let Some(new) = item.as_str().and_then(rewrite) {
                *item = new.into();
            }
        }
    };
    rename("VolumesFrom", &|item| match item.rsplit_once(':') {
        Some((target, mode)) => Some(format!("{}:{mode}", local(target)?)),
        None => local(item),
    });
    rename("Links", &|item| {
        let (target, alias) = item.split_once(':').unwrap_or((item, item));
        let alias = alias.rsplit('/').next().unwrap_or(alias);
        Some(format!(
            "{}:{alias}",
            local(target.trim_start_matches('/'))?
        ))
    });
}
