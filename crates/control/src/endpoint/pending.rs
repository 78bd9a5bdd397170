//! longshore's own routes for work that waits for room (S21): containers that are made and started as
//! soon as a node can take them.

mod book;
mod course;
mod job;
mod resolve;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, StatusCode};
use longshore_core::{
    Action, ClockExt, Error, ErrorKind, Labels, Target,
    http::{empty_body, read_body},
    printable,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

pub(super) use self::{book::PendingWork, resolve::Meant};
use self::{
    book::{State, Work},
    job::{Held, Job},
    resolve::{Candidate, Other, nothing, resolve},
};
use super::{
    Shared,
    call::{Call, empty, prose_json},
    create,
    error::{ApiError, ApiResult},
    proxy::request,
    record::Record,
    replica::{FORWARDED, PRIMARY_HOST, Primary},
};
use crate::{
    Pending, PendingView,
    pending::{Owner, Ticket},
    stack::labels,
};

/// `GET /longshore/v1/pending`: what waits, in the order in which it is tried, and why; then what is
/// being made, and what has ended lately.
pub(super) fn list(shared: &Shared) -> ApiResult {
    let views = shared.plane.pending();
    let works = shared.pending.snapshot();
    let mut listed: Vec<Value> = Vec::new();
    for view in &views {
        let work = works.iter().find(|work| work.number == Some(view.number));
        listed.push(waiting(view, work));
    }
    // What is between waiting and being made is told as the latter.
    let is_listed = |work: &&Work| views.iter().any(|view| work.number == Some(view.number));
    listed.extend(works.iter().filter(|work| !is_listed(work)).map(Work::tell));
    prose_json(StatusCode::OK, &listed)
}

fn waiting(view: &PendingView, work: Option<&Work>) -> Value {
    let request = &view.request;
    let of = labels::read(&request.labels).map(|(slot, epoch, _)| {
        json!({
            "stack": slot.stack, "service": slot.service, "index": slot.index, "epoch": epoch,
        })
    });
    json!({
        "id": work.map(|work| &work.id),
        "state": "waiting",
        "owner": view.owner,
        "name": request.name,
        "image": request.image,
        "labels": request.labels,
        "priority": request.priority,
        "since": view.since.to_string(),
        "deadline": view.deadline.map(|at| at.to_string()),
        "reason": view.reason,
        "tries": view.tries,
        "failures": work.map_or(0, |work| work.failures),
        "error": work.and_then(|work| work.error.as_ref()),
        "instance": of,
    })
}

/// `POST /longshore/v1/pending` with a create body: makes and starts a container as soon as a node can
/// take it, at once if one can. By the query: `name`; `patience`, how many seconds it waits at most;
/// `priority`, more is served first; `start=0` only makes it. Answers 202 with an id. It waits in this
/// manager, and ends with it.
///
/// An engine that refuses it for a reason that may pass is asked again later, so often as
/// [`pending_tries`](super::EndpointOptions::pending_tries) says.
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
    let owner = Owner::named(&format!("{} ({})", call.who.subject, call.who.proof));
    let entered = || {
        let inner = &shared.plane.inner;
        let pending = Pending::take(
            inner,
            prepared.wanted.request.clone(),
            owner.clone(),
            patience,
        );
        let pending = pending.map_err(|error| too_much(&error))?;
        let (cancel, cancelled) = oneshot::channel();
        let work = Work {
            id: shared.plane.random().hex(8),
            number: pending.ticket().map(Ticket::number),
            owner: owner.clone(),
            request: Arc::clone(pending.shared_request()),
            since: shared.plane.clock().now(),
            state: State::Waiting,
            failures: 0,
            error: None,
            weight: prepared.weight() + OVERHEAD,
            cancel: Some(cancel),
        };
        let id = work.id.clone();
        let entered = shared.pending.enter(work);
        entered.map_err(|error| too_much(&error))?;
        Ok::<_, ApiError>((pending, cancelled, id))
    };
    let (pending, cancelled, id) = entered()?;
    let answer = json!({"id": id, "reason": pending.view().map(|view| view.reason)});
    let since = shared.plane.clock().now();
    let job = Job {
        shared: Arc::clone(shared),
        id,
        owner,
        call,
        prepared,
        record,
        start,
        since,
        deadline: patience.map(|patience| since.after(patience)),
        token,
        held: Held::default(),
    };
    shared
        .plane
        .shutdown()
        .spawn(job.follow(pending, cancelled));
    prose_json(StatusCode::ACCEPTED, &answer)
}

/// Too much that waits is no fault of the manager's.
fn too_much(error: &Error) -> ApiError {
    let answer = ApiError::from_error(error);
    match error.kind() {
        ErrorKind::ResourceExhausted => answer.with_status(StatusCode::SERVICE_UNAVAILABLE),
        _ => answer,
    }
}

/// Whether the caller may ask for the priority that he names.
///
/// # Errors
/// What the authorizer says, where it is more than everybody may ask for.
pub(super) async fn may_ask(shared: &Shared, call: &Call) -> Result<(), Error> {
    let free = shared.options.free_priority;
    // What is no number is refused where it is read.
    let asked = number::<i32>(call, "priority").ok().flatten();
    let Some(priority) = asked.filter(|priority| *priority > free) else {
        return Ok(());
    };
    let target = Target::new("priority", priority.to_string());
    let leave = shared
        .authorize(&call.who, Action::Administer, &target)
        .await;
    leave.map(|_| ()).map_err(|error| {
        let text = format!(
            "priority {priority} needs leave of its own; without, {free} is the highest: {}",
            error.message()
        );
        Error::new(error.kind(), text)
    })
}

/// What is meant by an id or a name, at the manager that leads, and what an authorizer is to be asked
/// about it.
pub(super) async fn meant(
    shared: &Shared,
    primary: Option<&Primary>,
    reference: &str,
) -> ApiResult<(Meant, Option<Target>)> {
    let Some(primary) = primary else {
        let works = shared.pending.snapshot();
        let candidates: Vec<_> = works.iter().map(Work::candidate).collect();
        let (meant, target) = resolve(&candidates, reference);
        let views = shared.plane.pending();
        let others = views.iter().map(|view| Other {
            name: &view.request.name,
            labels: &view.request.labels,
        });
        return Ok((meant.or_other(others, reference), target));
    };
    let listed = listed_by(shared, primary).await?;
    let of_endpoint = listed.iter().filter_map(|work| {
        Some(Candidate {
            id: work.id.as_deref()?,
            name: &work.name,
            owner: work.owner.as_deref().unwrap_or_default(),
            labels: work.labels.clone(),
            has_ended: matches!(&*work.state, "made" | "failed"),
        })
    });
    let candidates: Vec<_> = of_endpoint.collect();
    let (meant, target) = resolve(&candidates, reference);
    let others = listed.iter().filter(|work| work.id.is_none());
    let others = others.map(|work| Other {
        name: &work.name,
        labels: &work.labels,
    });
    Ok((meant.or_other(others, reference), target))
}

/// As [`list`] tells it.
#[derive(Debug, Deserialize)]
struct Listed {
    id: Option<String>,
    name: String,
    state: String,
    owner: Option<String>,
    #[serde(default)]
    labels: Labels,
}

/// What the primary has.
async fn listed_by(shared: &Shared, primary: &Primary) -> ApiResult<Vec<Listed>> {
    let mut request = request(Method::GET, PENDING, &HeaderMap::new(), empty_body())?;
    let headers = request.headers_mut();
    headers.insert(http::header::HOST, PRIMARY_HOST);
    headers.insert(FORWARDED, http::HeaderValue::from_static("1"));
    let exchange = async {
        let (head, body) = primary.client.send(request).await?.into_parts();
        let body = read_body(body, shared.options.answer_limit).await?;
        Ok::<_, Error>((head.status, body))
    };
    let limit = shared.options.call_limit;
    let clock = shared.plane.clock();
    let told = clock.timeout(limit, "waiting for the primary", exchange);
    let told = told.await.and_then(|told| told);
    let (status, body) = told.map_err(|error| primary.unreachable(&error))?;
    if status != StatusCode::OK {
        return Err(ApiError::from_primary(status, &body));
    }
    serde_json::from_slice(&body).map_err(|error| {
        ApiError::internal(format!("the primary's pending work can't be read: {error}"))
    })
}

/// `DELETE /longshore/v1/pending/ID`, or by name: it waits no longer. What has ended is forgotten.
pub(super) fn cancel(shared: &Shared, meant: &Meant, reference: &str) -> ApiResult {
    match shared.pending.cancel(meant.id(reference)?)? {
        true => Ok(empty(StatusCode::NO_CONTENT)),
        false => Err(nothing(&printable(reference, LONGEST_SHOWN))),
    }
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

const PENDING: &str = "/longshore/v1/pending";
const LONGEST_SHOWN: usize = 80;
/// What a piece of work holds besides its body, about.
const OVERHEAD: usize = 4 << 10;
