//! `prune`: containers that do not run are removed; of all else this engine keeps nothing.

use longshore_core::{ErrorKind, ListFilter, RemoveOptions, Result};
use serde_json::json;

use super::{
    containers::runs,
    filters::ContainerFilters,
    reply::{Reply, ok},
    router::Call,
};

/// `POST /containers/prune`.
pub(super) async fn containers(call: &Call) -> Result<Reply> {
    let filters = ContainerFilters::new(call.query.filters()?)?;
    let engine = call.shared.engine()?;
    let mut found = filters.apply(engine.list(&ListFilter::all()).await?)?;
    found.retain(|workload| !runs(workload));
    let mut removed = Vec::new();
    for workload in found {
        match engine.remove(&workload.id, RemoveOptions::default()).await {
            Ok(()) => {}
            // Started or removed meanwhile.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                continue;
            }
            Err(error) => return Err(error),
        }
        call.shared.notes.forget(&workload.id);
        call.shared.execs.forget(&workload.id);
        removed.push(workload.id);
    }
    Ok(ok(
        &json!({ "ContainersDeleted": removed, "SpaceReclaimed": 0 }),
    ))
}

/// `POST /images/prune`, `/networks/prune`, `/volumes/prune` and `/build/prune`.
pub(super) fn nothing(group: &str) -> Reply {
    ok(&match group {
        "networks" => json!({ "NetworksDeleted": [] }),
        "volumes" => json!({ "VolumesDeleted": [], "SpaceReclaimed": 0 }),
        "images" => json!({ "ImagesDeleted": [], "SpaceReclaimed": 0 }),
        _ => json!({ "CachesDeleted": [], "SpaceReclaimed": 0 }),
    })
}
