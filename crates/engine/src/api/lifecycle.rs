use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use http::StatusCode;
use longshore_core::{
    EngineEvents, Error, EventAction, RemoveOptions, Result, Signal, Workload, WorkloadId,
    WorkloadName, WorkloadState,
};

use super::{
    containers::runs,
    lookup,
    reply::{Reply, empty},
    router::Call,
    server::Shared,
};

/// `POST /containers/{name}/start`; 304 if it runs.
pub(super) async fn start(call: &Call, name: &str) -> Result<Reply> {
    let engine = call.shared.engine()?;
    let workload = lookup::workload(&*engine, name).await?;
    if runs(&workload) {
        return Ok(empty(StatusCode::NOT_MODIFIED));
    }
    let id = workload.id;
    let shared = &call.shared;
    let removes_itself = shared.notes.get(&id).flag("/HostConfig/AutoRemove");
    if removes_itself {
        // Listening first, so that not even the quickest end is missed.
        let events = engine.events(None).await?;
        tokio::spawn(remove_after_end(Arc::clone(shared), id.clone(), events));
    }
    let started = engine.start(&id).await;
    if started.is_err() && removes_itself {
        // What never ran has no end that would remove it.
        let _ = engine.remove(&id, RemoveOptions::default()).await;
        shared.notes.forget(&id);
    }
    started?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{name}/stop`; 304 if it does not run.
pub(super) async fn stop(call: &Call, name: &str) -> Result<Reply> {
    let engine = call.shared.engine()?;
    let workload = lookup::workload(&*engine, name).await?;
    if !runs(&workload) {
        return Ok(empty(StatusCode::NOT_MODIFIED));
    }
    engine.stop(&workload.id, grace(call, &workload)?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{name}/restart`, to its end even when the client leaves.
pub(super) async fn restart(call: &Call, name: &str) -> Result<Reply> {
    let engine = call.shared.engine()?;
    let workload = lookup::workload(&*engine, name).await?;
    let grace = grace(call, &workload)?;
    let id = workload.id;
    tokio::spawn(async move {
        engine.stop(&id, grace).await?;
        engine.start(&id).await
    })
    .await
    .map_err(|error| Error::internal("the restart panicked").with_source(error))??;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{name}/kill`.
pub(super) async fn kill(call: &Call, name: &str) -> Result<Reply> {
    let signal = match call.query.get("signal") {
        Some(signal) => signal.parse()?,
        None => Signal::KILL,
    };
    let engine = call.shared.engine()?;
    let workload = lookup::workload(&*engine, name).await?;
    engine.kill(&workload.id, signal).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{name}/rename`.
pub(super) async fn rename(call: &Call, name: &str) -> Result<Reply> {
    let new = call.query.get("name").unwrap_or_default();
    let new = new.strip_prefix('/').unwrap_or(new);
    if new.is_empty() {
        return Err(Error::invalid("Neither old nor new names may be empty"));
    }
    let new = WorkloadName::new(new)?;
    let engine = call.shared.engine()?;
    let workload = lookup::workload(&*engine, name).await?;
    engine.rename(&workload.id, &new).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `DELETE /containers/{name}`.
pub(super) async fn remove(call: &Call, name: &str) -> Result<Reply> {
    if call.query.flag("link") {
        return Err(Error::unsupported("this engine has no links to remove"));
    }
    let mut options = RemoveOptions::default();
    options.force = call.query.flag("force");
    options.volumes = call.query.flag("v");
    let engine = call.shared.engine()?;
    let workload = lookup::workload(&*engine, name).await?;
    engine.remove(&workload.id, options).await?;
    call.shared.notes.forget(&workload.id);
    call.shared.execs.forget(&workload.id);
    Ok(empty(StatusCode::NO_CONTENT))
}

/// How long a stop waits: as the request says, or the container, or ten seconds. Less than none
/// means for ever, as far as a number goes.
fn grace(call: &Call, workload: &Workload) -> Result<Duration> {
    let own = workload
        .detail
        .as_ref()
        .and_then(|detail| detail.stop_timeout);
    Ok(match call.query.number::<i64>("t")? {
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => FOR_EVER,
        },
        None => own.unwrap_or(GRACE),
    })
}

/// Docker's `--rm`. Holds no engine while it waits.
async fn remove_after_end(shared: Arc<Shared>, id: WorkloadId, mut events: EngineEvents) {
    while let Some(Ok(event)) = events.next().await {
        if event.actor != id.as_str() {
            continue;
        }
        match event.action {
            EventAction::Destroy => return,
            EventAction::Die => {}
            _ => continue,
        }
        let Ok(engine) = shared.engine() else { return };
        // Started again meanwhile, by hand: then its next end counts.
        if matches!(engine.inspect(&id).await, Ok(found) if found.state == WorkloadState::Running) {
            continue;
        }
        if let Err(error) = engine
            .remove(&id, RemoveOptions::default().with_volumes())
            .await
        {
            tracing::warn!(%id, error = error.chain(), "a container could not be removed after its end");
            return;
        }
        shared.notes.forget(&id);
        shared.execs.forget(&id);
        return;
    }
}

const GRACE: Duration = Duration::from_secs(10);
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);
