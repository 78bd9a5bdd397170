use std::{future::Future, sync::Arc, time::Duration};

use futures::{TryStreamExt, stream};
use longshore_core::{
    ClockExt, Engine, EngineInfo, Error, ErrorKind, ListFilter, NodeId, Result, Timestamp,
    WorkloadId,
};

use super::{ClockSkew, check_engine};
use crate::{cluster::SlotId, plane::Inner};

/// What a validation found.
#[derive(Debug)]
pub(crate) enum Validation {
    Done {
        info: Arc<EngineInfo>,
    },
    /// Another engine than the one known answers there.
    OtherIdentity {
        old: NodeId,
        new: NodeId,
    },
}

/// Reads an engine from its identity on: information, containers, images. Its identity is claimed
/// on the way; `expected` is who it was.
pub(super) async fn validate(
    inner: &Inner,
    slot: SlotId,
    address: &str,
    engine: &dyn Engine,
    expected: Option<NodeId>,
) -> Result<Validation> {
    let validation = specs(inner, slot, address, engine, expected).await?;
    if matches!(validation, Validation::Done { .. }) {
        refresh(inner, slot, engine).await?;
    }
    Ok(validation)
}

/// Reads what an engine says of itself and claims its identity for the slot.
pub(super) async fn specs(
    inner: &Inner,
    slot: SlotId,
    address: &str,
    engine: &dyn Engine,
    expected: Option<NodeId>,
) -> Result<Validation> {
    let asked = inner.clock.now();
    let info = bounded(inner, "reading the engine's information", engine.info()).await?;
    let answered = inner.clock.now();
    check_engine(&info, address, inner.options.api_versions)?;
    if let Some(old) = expected
        && old != info.id
    {
        let new = info.id;
        return Ok(Validation::OtherIdentity { old, new });
    }
    // The engine read its clock somewhere between question and answer.
    let here = asked.after(answered.since(asked) / 2);
    let skew = info
        .system_time
        .map(|there| ClockSkew::between(there, here))
        .filter(|skew| skew.amount() >= SKEW_SHOWN);
    let info = Arc::new(info);
    let mut state = inner.cluster.lock();
    state.claim_identity(slot, &info.id)?;
    let info = state.set_info(slot, info, skew);
    drop(state);
    Ok(Validation::Done { info })
}

/// Lists containers and images, and inspects the containers that are new or changed.
pub(crate) async fn refresh(inner: &Inner, slot: SlotId, engine: &dyn Engine) -> Result<()> {
    let look = inner.cluster.lock().begin_look();
    let began = inner.clock.now();
    let list = bounded(
        inner,
        "listing the engine's containers",
        engine.list(&ListFilter::all()),
    )
    .await?;
    let inspect = inner.cluster.lock().replace_all(slot, list, look, began);
    // One container that can't be inspected does not hold up the node: it stays as it was listed.
    // An engine that does not answer does: it would not answer for the others, either.
    stream::iter(inspect.into_iter().map(Ok))
        .try_for_each_concurrent(INSPECTIONS, |id| async move {
            match observe(inner, slot, engine, &id).await {
                Err(error) if is_connection_failure(&error) => Err(error),
                Err(error) => {
                    tracing::debug!(container = %id, error = %error.chain(), "cannot inspect");
                    Ok(())
                }
                Ok(()) => Ok(()),
            }
        })
        .await?;
    let images = bounded(inner, "listing the engine's images", engine.images()).await;
    match images {
        Ok(images) => inner.cluster.lock().set_images(slot, images),
        // An engine without images is a node all the same.
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Inspects one container.
pub(crate) async fn observe(
    inner: &Inner,
    slot: SlotId,
    engine: &dyn Engine,
    id: &WorkloadId,
) -> Result<()> {
    let look = inner.cluster.lock().begin_look();
    match bounded(inner, "inspecting a container", engine.inspect(id)).await {
        Ok(mut workload) => {
            let mut state = inner.cluster.lock();
            // An inspection has no listing record; the one known goes on unless the state changed.
            if workload.native.is_none()
                && let Some(old) = state.container_on(slot, id)
                && old.workload.state == workload.state
                && old.workload.names == workload.names
            {
                workload.native.clone_from(&old.workload.native);
            }
            state.upsert(slot, workload, look);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            inner.cluster.lock().remove(slot, id, look);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// A probe through the data path, with its own deadline.
pub(super) async fn ping(inner: &Inner, engine: &dyn Engine) -> Result<()> {
    let limit = inner.options.probe_timeout;
    inner
        .clock
        .timeout(limit, "probing the engine", engine.ping())
        .await?
}

/// A probe of the engine's workers, with its own deadline.
pub(super) async fn work(inner: &Inner, engine: &dyn Engine) -> Result<()> {
    ping(inner, engine).await?;
    bounded(
        inner,
        "listing the engine's containers",
        engine.list(&ListFilter::all()),
    )
    .await?;
    Ok(())
}

/// Whether an error says that the engine was not reached, rather than what it answered.
pub(crate) fn is_connection_failure(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::Closed
            | ErrorKind::Unauthenticated
            | ErrorKind::Protocol
    )
}

async fn bounded<T: Send>(
    inner: &Inner,
    what: &'static str,
    call: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    inner
        .clock
        .timeout(inner.options.call_timeout, what, call)
        .await?
}

/// When an engine's events begin, so that none is missed between the first look and the stream.
pub(super) fn events_from(info: &EngineInfo) -> Option<Timestamp> {
    info.system_time
}

/// How many containers of one node are inspected at a time.
pub(super) const INSPECTIONS: usize = 8;
/// A difference below this is noise.
const SKEW_SHOWN: Duration = Duration::from_secs(2);
