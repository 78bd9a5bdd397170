//! Ends what sessions of earlier lives of this gateway left behind.

use futures::{StreamExt, stream};
use longshore_core::{ErrorKind, Result, SessionId, WorkloadId};

use super::{
    context::Context,
    keeper::{Keeper, Watched},
};
use crate::cleanup::{COLUMNS, CleanupReport, Marker, ProcessTable, Reaped};

/// Looks into every container that runs, a few at a time, and cleans up behind sessions that nobody
/// holds. One that the engine does not answer for holds up no other.
pub(super) async fn reap(context: &Context) -> Result<Reaped> {
    let running = context.api.running_containers().await?;
    let mut reaped = Reaped {
        containers: running.len(),
        ..Reaped::default()
    };
    let mut looks = stream::iter(running)
        .map(async |workload| (container(context, &workload).await, workload))
        .buffer_unordered(AT_A_TIME);
    while let Some((found, workload)) = looks.next().await {
        match found {
            Ok(reports) => reaped.reports.extend(reports),
            Err(error) => {
                tracing::debug!(%workload, error = error.chain(), "no answer for this container");
                reaped.unanswered.push(workload);
            }
        }
    }
    Ok(reaped)
}

/// Fails where another try may help.
async fn container(context: &Context, workload: &WorkloadId) -> Result<Vec<CleanupReport>> {
    let answer = match context.api.top(workload, COLUMNS).await {
        Ok(answer) => answer,
        // It has ended since.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
            return Ok(Vec::new());
        }
        Err(error) if error.is_retryable() => return Err(error),
        Err(error) => {
            tracing::debug!(%workload, error = error.chain(), "processes can't be seen");
            return Ok(Vec::new());
        }
    };
    let Ok(table) = ProcessTable::parse(&answer) else {
        tracing::debug!(%workload, "the engine shows no environments; nothing is reaped");
        return Ok(Vec::new());
    };
    let markers = table.markers().into_iter();
    let lost: Vec<Marker> = markers
        .filter(|marker| context.settings.life.may_reap(marker))
        .cloned()
        .collect();
    let mut reports = Vec::new();
    for marker in lost {
        reports.push(behind(context, workload, marker).await?);
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
        shellless: false,
    };
    let keeper = Keeper::new(context.clone(), watched);
    Ok(keeper.clean().await.clone())
}

/// A look is one `ps` on the engine's host.
const AT_A_TIME: usize = 4;
