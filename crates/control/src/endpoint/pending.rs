//! longshore's own routes for work that waits for room (S21): containers that are made and started as
//! soon as a node can take them.

mod book;

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use longshore_core::{Action, AuditOutcome, Target, http::empty_body, printable};
use serde_json::{Value, json};
use tokio::sync::oneshot;

pub(super) use self::book::PendingWork;
use self::book::{State, Work};
use super::{
    Shared,
    call::{Call, OnNode, empty, prose_json},
    containers, create,
    error::{ApiError, ApiResult},
    record::{Made, Record},
    service::refused,
};
use crate::{Admission, Pending, PendingView, stack::labels};

/// `GET /longshore/v1/pending`: what waits, in the order in which it is tried, and why; then what is
/// being made, and what has ended lately.
pub(super) fn list(shared: &Shared) -> ApiResult {
    let views = shared.plane.pending();
    let works = shared.pending.snapshot();
    let mut listed: Vec<Value> = Vec::new();
    for view in &views {
        let work = works.iter().find(|work| work.number == Some(view.number));
        listed.push(waiting(view, work.map(|work| &*work.id)));
    }
    // What is between waiting and being made is told as the latter.
    let is_listed = |work: &&Work| views.iter().any(|view| work.number == Some(view.number));
    listed.extend(works.iter().filter(|work| !is_listed(work)).map(Work::tell));
    prose_json(StatusCode::OK, &listed)
}

fn waiting(view: &PendingView, id: Option<&str>) -> Value {
    let request = &view.request;
    let of = labels::read(&request.labels).map(|(slot, epoch, _)| {
        json!({
            "stack": slot.stack, "service": slot.service, "index": slot.index, "epoch": epoch,
        })
    });
    json!({
        "id": id,
        "state": "waiting",
        "name": request.name,
        "image": request.image,
        "priority": request.priority,
        "since": view.since.to_string(),
        "deadline": view.deadline.map(|at| at.to_string()),
        "reason": view.reason,
        "tries": view.tries,
        "instance": of,
    })
}

/// `POST /longshore/v1/pending` with a create body: makes and starts a container as soon as a node can
/// take it, at once if one can. By the query: `name`; `patience`, how many seconds it waits at most;
/// `priority`, more is served first; `start=0` only makes it. Answers 202 with an id. It waits in this
/// manager, and ends with it.
pub(super) async fn enqueue(shared: &Arc<Shared>, mut call: Call) -> ApiResult {
    let patience = number(&call, "patience")?.map(|seconds: u64| Duration::from_secs(seconds));
    let priority = number(&call, "priority")?.unwrap_or(0);
    let start = call.query.text("start").is_empty() || call.query.flag("start");
    let record = Record::new(&call, Action::Write, created(call.query.text("name")));
    for own in ["patience", "priority", "start"] {
        call.query.set(own, None);
    }
    let mut prepared = create::prepare(shared, &mut call).await?;
    // It was read, and would be held as long as the work waits.
    call.put_body(empty_body());
    let token = shared.plane.inner.token()?;
    prepared.wanted.request.priority = priority;
    let weight = prepared.weight();
    let name = (!prepared.name.is_empty()).then_some(&*prepared.name);
    let request = &prepared.wanted.request;
    let entered = || {
        let pending = shared.plane.enqueue(request, name, patience)?;
        let (cancel, cancelled) = oneshot::channel();
        let work = Work {
            id: shared.plane.random().hex(8),
            number: pending.view().map(|view| view.number),
            name: prepared.name.clone(),
            image: request.image.clone(),
            since: shared.plane.clock().now(),
            state: State::Waiting,
            weight,
            cancel: Some(cancel),
        };
        let id = work.id.clone();
        shared.pending.enter(work)?;
        Ok::<_, ApiError>((pending, cancelled, id))
    };
    let (pending, cancelled, id) = entered()?;
    let answer = json!({"id": id, "reason": pending.view().map(|view| view.reason)});
    let job = Job {
        shared: Arc::clone(shared),
        call,
        prepared,
        record,
        start,
        token,
    };
    shared
        .plane
        .shutdown()
        .spawn(job.follow(id, pending, cancelled));
    prose_json(StatusCode::ACCEPTED, &answer)
}

/// `DELETE /longshore/v1/pending/ID`, or by name: it waits no longer. What has ended is forgotten.
pub(super) fn cancel(shared: &Shared, reference: &str) -> ApiResult {
    if shared.pending.cancel(reference)? {
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    let views = shared.plane.pending();
    let other = views.iter().find(|view| view.request.name == reference);
    Err(match other.map(|view| labels::read(&view.request.labels)) {
        Some(Some((slot, ..))) => ApiError::conflict(format!(
            "{reference} belongs to stack {}: change the stack, or remove it",
            slot.stack
        )),
        Some(None) => ApiError::conflict(format!(
            "{reference} was not queued here: whoever queued it gives it up"
        )),
        None => ApiError::not_found(format!(
            "No such pending work: {}",
            printable(reference, LONGEST_SHOWN)
        )),
    })
}

/// A container that waits, is made and is started.
struct Job {
    shared: Arc<Shared>,
    call: Call,
    prepared: create::Prepared,
    record: Record,
    start: bool,
    /// Under which it was queued.
    token: Option<u64>,
}

impl Job {
    async fn follow(self, id: String, mut pending: Pending, cancelled: oneshot::Receiver<()>) {
        let shared = Arc::clone(&self.shared);
        let admitted = tokio::select! {
            admitted = pending.admitted() => admitted,
            _ = cancelled => return,
            () = shared.plane.shutdown().requested() => return,
        };
        // Cancelled in this moment: what is held is given back.
        if !shared.pending.begin(&id) {
            return;
        }
        let ended = match admitted {
            Ok(admission) => Box::pin(self.make(admission)).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = &ended {
            tracing::warn!(%id, "pending work was not made: {}", error.message());
        }
        shared.pending.end(
            &id,
            match ended {
                Ok(made) => made,
                Err(error) => State::Failed(error.message().to_owned()),
            },
        );
    }

    /// As a create that is called now, of the same caller: leave may have been taken from him
    /// meanwhile, and another manager may lead.
    async fn make(mut self, admission: Admission) -> ApiResult<State> {
        let shared = Arc::clone(&self.shared);
        shared.lead()?;
        // Who could not see it here meanwhile has queued it again, at the manager that led.
        if shared.plane.inner.token()? != self.token {
            return Err(ApiError::conflict(
                "another manager has led since it was queued: queue it again if it is still wanted",
            ));
        }
        let target = Target::new("container", "");
        let leave = shared
            .authorize(&self.call.who, Action::Write, &target)
            .await;
        if let Err(error) = leave {
            self.write(AuditOutcome::Denied(error.to_string()), None)
                .await?;
            return Err(refused(&error));
        }
        self.write(AuditOutcome::Started, None).await?;
        let (call, prepared) = (self.call, self.prepared);
        let start = self.start;
        let made = make(&shared, call, prepared, admission, start).await;
        let (outcome, node) = match &made {
            Ok(State::Made { container, node }) => {
                self.record.made(container);
                (AuditOutcome::Done, Some(node.as_str()))
            }
            Ok(_) => (AuditOutcome::Done, None),
            Err(error) => (AuditOutcome::Failed(error.message().to_owned()), None),
        };
        if let Err(failure) = self.record.write(&shared, outcome, node).await {
            let operation = self.record.operation();
            tracing::error!(error = %failure.chain(), %operation, "its end could not be recorded");
        }
        made
    }

    async fn write(&self, outcome: AuditOutcome, node: Option<&str>) -> ApiResult<()> {
        let written = self.record.write(&self.shared, outcome, node).await;
        written.map(|_| ()).map_err(|failure| {
            ApiError::internal(format!(
                "refused, because the audit log can't be written: {failure}"
            ))
        })
    }
}

async fn make(
    shared: &Arc<Shared>,
    call: Call,
    prepared: create::Prepared,
    admission: Admission,
    start: bool,
) -> ApiResult<State> {
    let answer = create::make(shared, &call, prepared, Some(admission)).await?;
    let made = answer.extensions().get::<Made>();
    let container = made.map(|made| made.0.clone()).unwrap_or_default();
    let node = answer.extensions().get::<OnNode>();
    let node = node.map(|node| node.0.clone()).unwrap_or_default();
    if start {
        containers::start_one(shared, call.version, &container)
            .await
            .map_err(|error| {
                let id = &container[..container.len().min(12)];
                ApiError::internal(format!(
                    "container {id} was made on node {node} and can't be started: {}",
                    error.message()
                ))
            })?;
    }
    Ok(State::Made { container, node })
}

/// What the record calls the container that will be made.
fn created(name: &str) -> Target {
    Target::new("container", name.trim_start_matches('/'))
}

fn number<T: std::str::FromStr>(call: &Call, key: &str) -> ApiResult<Option<T>> {
    let text = call.query.text(key);
    match (text.is_empty(), text.parse()) {
        (true, _) => Ok(None),
        (false, Ok(number)) => Ok(Some(number)),
        (false, Err(_)) => Err(ApiError::bad_request(format!(
            "invalid {key} {:?}: expected a whole number",
            printable(text, LONGEST_SHOWN)
        ))),
    }
}

const LONGEST_SHOWN: usize = 80;
