use bytes::Bytes;
use futures::{StreamExt, stream};
use longshore_core::{EngineEvents, Error, EventAction, ExitStatus, Result, WorkloadId};
use serde_json::json;

use super::{
    inspect::UNKNOWN_CODE,
    lookup,
    reply::{Reply, streamed},
    router::Call,
};

/// `POST /containers/{name}/wait`. The head goes out at once: the client starts the container only
/// when it has seen it.
pub(super) async fn wait(call: &Call, name: &str) -> Result<Reply> {
    let engine = call.shared.engine()?;
    let last = match call.query.get("condition") {
        None | Some("not-running") => None,
        Some("next-exit") => Some(EventAction::Die),
        Some("removed") => Some(EventAction::Destroy),
        Some(other) => {
            return Err(Error::invalid(format!("invalid condition: {other:?}")));
        }
    };
    // Before the look-up, so that nothing is missed in between.
    let events = match last {
        Some(_) => Some(engine.events(None).await?),
        None => None,
    };
    let workload = lookup::workload(&*engine, name).await?;
    let id = workload.id;
    let known = workload.detail.and_then(|detail| detail.exit);
    let ended = async move {
        let status = match (events, last) {
            (Some(events), Some(last)) => {
                drop(engine);
                told(events, &id, &last, known).await
            }
            _ => engine.wait(&id).await,
        };
        Ok(answer(status))
    };
    Ok(streamed("application/json", stream::once(ended)))
}

/// The end as events tell it: the code of the last `die` up to and with `last`.
async fn told(
    mut events: EngineEvents,
    id: &WorkloadId,
    last: &EventAction,
    known: Option<ExitStatus>,
) -> Result<ExitStatus> {
    let mut status = known.unwrap_or_else(|| ExitStatus::unknown("the container never ran"));
    while let Some(event) = events.next().await {
        let event = event?;
        if event.actor != id.as_str() {
            continue;
        }
        if event.action == EventAction::Die {
            let code = event.attributes.get("exitCode");
            status = match code.and_then(|code| code.parse().ok()) {
                Some(code) => ExitStatus::exited(code),
                None => ExitStatus::unknown("the engine does not say"),
            };
        }
        if event.action == *last || event.action == EventAction::Destroy {
            return Ok(status);
        }
    }
    Err(Error::closed("the engine's events ended"))
}

/// Docker's answer. An unknown code is told as 255, never as a success.
fn answer(status: Result<ExitStatus>) -> Bytes {
    let answer = match status {
        Ok(status) => match status.code {
            Some(code) => json!({ "StatusCode": code, "Error": null }),
            None => json!({
                "StatusCode": UNKNOWN_CODE,
                "Error": { "Message": status.reason.unwrap_or_default() },
            }),
        },
        Err(error) => json!({
            "StatusCode": UNKNOWN_CODE,
            "Error": { "Message": error.message() },
        }),
    };
    Bytes::from(format!("{answer}\n"))
}
