use std::cmp::Reverse;

use longshore_core::{ErrorKind, ListFilter, Result, Workload, WorkloadState};
use serde_json::Value;

use super::{
    filters::ContainerFilters,
    inspect as shape, listing, lookup,
    reply::{Reply, ok},
    router::Call,
};

/// `GET /containers/json`, newest first.
pub(super) async fn list(call: &Call) -> Result<Reply> {
    let filters = ContainerFilters::new(call.query.filters()?)?;
    let limit: Option<i64> = call.query.number("limit")?;
    let limit = limit
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| *limit > 0);
    let all = call.query.flag("all") || limit.is_some() || filters.imply_all();
    let engine = call.shared.engine()?;

    let mut listed = Vec::new();
    for workload in engine.list(&ListFilter::all()).await? {
        // Status texts need the times; a native record has its own.
        if workload.detail.is_some() || workload.native.is_some() {
            listed.push(workload);
            continue;
        }
        match engine.inspect(&workload.id).await {
            Ok(workload) => listed.push(workload),
            // Removed meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let mut found = filters.apply(listed)?;
    found.retain(|workload| all || runs(workload));
    found.sort_by_key(|workload| Reverse(workload.created));
    found.truncate(limit.unwrap_or(usize::MAX));
    let now = call.shared.clock.now();
    let records = found
        .iter()
        .map(|workload| match &workload.native {
            Some(native) => (**native).clone(),
            None => listing::record(workload, now),
        })
        .collect();
    Ok(ok(&Value::Array(records)))
}

/// `GET /containers/{name}/json`.
pub(super) async fn inspect(call: &Call, name: &str) -> Result<Reply> {
    let workload = lookup::workload(&*call.shared.engine()?, name).await?;
    let note = call.shared.notes.get(&workload.id);
    let execs = call.shared.execs.of(&workload.id);
    Ok(ok(&shape::container(&workload, &note, execs)))
}

pub(super) fn runs(workload: &Workload) -> bool {
    matches!(
        workload.state,
        WorkloadState::Running | WorkloadState::Paused | WorkloadState::Restarting
    )
}
