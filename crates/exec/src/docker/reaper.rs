//! Ends what sessions of earlier lives of this gateway left behind.

use longshore_core::{ErrorKind, Result, SessionId, WorkloadId};

use super::{
    context::Context,
    keeper::{Keeper, Watched},
};
use crate::cleanup::{COLUMNS, CleanupReport, Marker, ProcessTable};

/// Looks at every container that runs, and cleans up behind sessions that nobody holds.
pub(super) async fn reap(context: &Context) -> Result<Vec<CleanupReport>> {
    let mut reports = Vec::new();
    for workload in context.api.running_containers().await? {
        let answer = match context.api.top(&workload, COLUMNS).await {
            Ok(answer) => answer,
            // It has ended since.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                continue;
            }
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                tracing::debug!(%workload, error = error.chain(), "processes can't be seen");
                continue;
            }
        };
        let Ok(table) = ProcessTable::parse(&answer) else {
            tracing::debug!(%workload, "the engine shows no environments; nothing is reaped");
            continue;
        };
        let found: Vec<Marker> = table.markers().into_iter().cloned().collect();
        for marker in found {
            // Looked up only now: a session that began meanwhile was live before it had a process.
            if marker.may_be_reaped_by(&context.settings.identity)
                && !context.shared.is_live(&marker)
            {
                reports.push(behind(context, &workload, marker).await?);
            }
        }
    }
    Ok(reports)
}

async fn behind(context: &Context, workload: &WorkloadId, marker: Marker) -> Result<CleanupReport> {
    tracing::info!(%workload, marker = marker.value(), "processes of a lost session are ended");
    let watched = Watched {
        workload: workload.clone(),
        // Its own id went with its gateway.
        session: SessionId::new(marker.value())?,
        user: String::new(),
        marker,
        working: None,
    };
    let keeper = Keeper::new(context.clone(), watched, None);
    Ok(keeper.clean().await.clone())
}
