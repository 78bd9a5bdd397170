//! Ends what sessions of earlier lives of this gateway left behind.

mod unstarted;

use futures::{StreamExt, TryStreamExt, stream};
use longshore_core::{Error, ErrorKind, Result, SessionId, WorkloadId};

use super::{
    context::Context,
    keeper::{Keeper, Watched},
    looks::Unseen,
    sweep,
};
use crate::cleanup::{CleanupReport, Marker, Reaped};

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
            Ok(found) => {
                reaped.reports.extend(found.reports);
                if found.has_more {
                    tracing::info!(%workload, "more sessions were lost than are ended at a time");
                    reaped.unanswered.push(workload);
                }
            }
            Err(error) => {
                tracing::debug!(%workload, error = error.chain(), "no answer for this container");
                reaped.unanswered.push(workload);
            }
        }
    }
    // They hold nobody up, so nobody waits for them.
    unstarted::remove_left(context).await;
    Ok(reaped)
}

/// What was done in one container.
#[derive(Default)]
struct Found {
    reports: Vec<CleanupReport>,
    has_more: bool,
}

/// Fails where another try may help.
async fn container(context: &Context, workload: &WorkloadId) -> Result<Found> {
    let table = match context.shared.looks.at(&context.api, workload).await {
        Ok(table) => table,
        Err(Unseen::Unreadable(_)) => {
            tracing::debug!(%workload, "the engine shows no environments; nothing is reaped");
            return Ok(Found::default());
        }
        Err(Unseen::Failed(error)) => match error.kind() {
            // It has ended since.
            ErrorKind::NotFound | ErrorKind::Conflict => return Ok(Found::default()),
            kind if error.is_retryable() => return Err(Error::new(kind, error.chain())),
            _ => {
                tracing::debug!(%workload, error = error.chain(), "processes can't be seen");
                return Ok(Found::default());
            }
        },
    };
    let markers = table.markers().into_iter();
    let mut lost = markers.filter(|marker| context.settings.life.may_reap(marker));
    // Marks can be forged, thousands of them. In no order: none can push in front of the others.
    let some: Vec<Marker> = lost.by_ref().take(MOST_MARKS).cloned().collect();
    let has_more = lost.next().is_some();
    if some.len() > 1 {
        let all: Vec<&Marker> = some.iter().collect();
        if let Err(error) = sweep::sidecar(context, workload, &all).await {
            tracing::debug!(%workload, error = error.chain(), "a sweep of all that was lost failed");
        }
    }
    let reports = stream::iter(some)
        .map(|marker| behind(context, workload, marker))
        .buffer_unordered(AT_A_TIME)
        .try_collect();
    let reports = reports.await?;
    Ok(Found { reports, has_more })
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
/// How many lost sessions of one container are ended at a time; the container is looked into again for
/// the others.
const MOST_MARKS: usize = 64;
