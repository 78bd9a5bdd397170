mod start;

use std::sync::Arc;

use futures::StreamExt;
use longshore_core::{
    Action, AuditOutcome, Error, Leader, NodeHealth, NodeId, Target, Timestamp, WorkloadId,
};
use tokio::sync::oneshot;

use super::{
    book::State,
    course::{Course, Next, Outcome, Policy, Step},
};
use crate::{
    Admission, NameGuard, NodeView, Pending,
    endpoint::{
        Shared,
        call::Call,
        create::{self, Lost, Prepared, Unmade},
        error::{ApiError, ApiResult},
        record::{Made, Record},
        service::refused,
    },
    pending::{Comes, Owner, Ticket, Wish},
};

/// A container that waits, is made and is started. What comes next is the [`Course`]'s to say.
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    pub(super) id: String,
    pub(super) owner: Owner,
    pub(super) call: Call,
    pub(super) prepared: Prepared,
    pub(super) record: Record,
    pub(super) start: bool,
    pub(super) since: Timestamp,
    pub(super) deadline: Option<Timestamp>,
    /// Under which it was queued.
    pub(super) token: Option<u64>,
    pub(super) held: Held,
}

/// What it holds between two steps.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Its place in the queue, which it has again when it comes back.
    ticket: Option<Ticket>,
    name: Option<NameGuard>,
    /// Room on the node whose answer was lost.
    room: Option<Admission>,
    made: Option<(WorkloadId, NodeView)>,
    /// Whether a beginning is on record, and no end.
    on_record: bool,
}

/// Nobody wants it any more, or the manager ends.
struct Abandoned;

impl Job {
    pub(super) async fn follow(mut self, pending: Pending, cancelled: oneshot::Receiver<()>) {
        let shared = Arc::clone(&self.shared);
        let (clock, random) = (shared.plane.clock(), shared.plane.random());
        let mut course = Course::new(self.policy(), self.deadline);
        let (mut step, mut pending, mut cancelled) = (Step::Make, Some(pending), cancelled);
        let mut last: Option<String> = None;
        let ended = loop {
            let done = match step {
                Step::Make => match self.wait_and_make(pending.take(), &mut cancelled).await {
                    Ok(done) => done,
                    Err(Abandoned) => break None,
                },
                Step::Look => match Box::pin(self.look()).await {
                    Ok(done) => done,
                    Err(Abandoned) => break None,
                },
                Step::Start => Box::pin(self.start()).await,
                Step::Check => Box::pin(self.check()).await,
            };
            let (outcome, error) = match done {
                Ok(outcome) => (outcome, None),
                Err((outcome, error)) => (outcome, Some(error.message().to_owned())),
            };
            let error = error.map(|error| self.in_context(error, outcome));
            last = error.clone().or(last);
            match course.handle(outcome, clock.now(), &**random) {
                Next::Done => break Some(Ok(())),
                Next::Fail => {
                    let last = last.unwrap_or_else(|| "it waited as long as it was to wait".into());
                    break Some(Err(last));
                }
                Next::At(at, next) => {
                    step = next;
                    if let Some(error) = &error {
                        tracing::info!(
                            id = self.id,
                            failures = course.failures(),
                            "not yet: {error}"
                        );
                        shared.pending.trouble(&self.id, course.failures(), error);
                    }
                    // What is made can't be given up here any more.
                    let is_made = matches!(step, Step::Start | Step::Check);
                    if !is_made {
                        cancelled = shared.pending.pause(&self.id, at);
                    }
                    if at <= clock.now() {
                        continue;
                    }
                    let given_up = async {
                        match is_made {
                            true => std::future::pending().await,
                            false => {
                                let _ = (&mut cancelled).await;
                            }
                        }
                    };
                    tokio::select! {
                        () = clock.sleep_until(at) => {}
                        () = given_up => break None,
                        // The step itself says so.
                        _ = self.deposed() => {}
                        () = shared.plane.shutdown().requested() => break None,
                    }
                }
            }
        };
        self.end(ended).await;
    }

    fn policy(&self) -> Policy {
        let options = &self.shared.options;
        Policy {
            most: options.pending_tries,
            pause: options.pending_pause,
            longest: self.shared.plane.options().retry_cap,
            certain: options.work_limit.max(options.longest_create),
            start: self.start,
        }
    }

    /// Waits for room, in the place that it had, and has it made there.
    async fn wait_and_make(
        &mut self,
        pending: Option<Pending>,
        cancelled: &mut oneshot::Receiver<()>,
    ) -> Result<Done, Abandoned> {
        let shared = Arc::clone(&self.shared);
        if let Some(room) = self.held.room.take() {
            self.held.name = room.into_name();
        }
        let mut pending = match pending {
            Some(pending) => pending,
            None => match self.queue_again() {
                Ok(pending) => pending,
                Err(error) => return Ok(not_made(error.into())),
            },
        };
        self.held.ticket = pending.ticket().or(self.held.ticket);
        shared.pending.queued(&self.id, self.held.ticket);
        let admitted = tokio::select! {
            admitted = pending.admitted() => admitted,
            _ = cancelled => return Err(Abandoned),
            error = self.deposed() => {
                self.held.name = pending.into_name();
                return Ok(Err((Outcome::NotMade { passes: false }, error)));
            }
            () = shared.plane.shutdown().requested() => return Err(Abandoned),
        };
        // Cancelled in this moment: what is held is given back.
        if !shared.pending.begin(&self.id) {
            return Err(Abandoned);
        }
        Ok(match admitted {
            Ok(admission) => Box::pin(self.make(admission)).await,
            Err(error) => {
                self.held.name = pending.into_name();
                not_made(error.into())
            }
        })
    }

    fn queue_again(&mut self) -> Result<Pending, Error> {
        let wish = Wish {
            request: Arc::new(self.prepared.wanted.request.clone()),
            owner: self.owner.clone(),
            since: self.since,
            deadline: self.deadline,
            comes: Comes::Back(self.held.ticket),
        };
        Pending::enter(&self.shared.plane.inner, wish, &mut self.held.name)
    }

    /// As a create that is called now, of the same caller: leave may have been taken from him
    /// meanwhile, and another manager may lead.
    async fn make(&mut self, admission: Admission) -> Done {
        if let Err(error) = self.may_make().await {
            return Err((Outcome::NotMade { passes: false }, error));
        }
        let shared = Arc::clone(&self.shared);
        let (call, prepared) = (&self.call, &mut self.prepared);
        let made = create::make(&shared, call, prepared, Some(admission), Lost::Look).await;
        match made {
            Ok(answer) => {
                let made = answer.extensions().get::<Made>();
                let container = made.and_then(|made| WorkloadId::new(made.0.as_str()).ok());
                let node = answer.extensions().get::<NodeId>();
                let node = node.and_then(|node| shared.plane.node(node.as_str()));
                match container.zip(node) {
                    Some(made) => {
                        self.held.made = Some(made);
                        Ok(Outcome::Made)
                    }
                    None => {
                        let error = ApiError::internal("it was made, and its node left");
                        Err((Outcome::NotMade { passes: false }, error))
                    }
                }
            }
            Err(Unmade { error, room, name }) => {
                let outcome = match room.is_some() {
                    true => Outcome::Lost,
                    false => Outcome::NotMade {
                        passes: error.passes(),
                    },
                };
                (self.held.room, self.held.name) = (room, name);
                if outcome != Outcome::Lost {
                    self.conclude(AuditOutcome::Failed(error.message().to_owned()))
                        .await;
                }
                Err((outcome, error))
            }
        }
    }

    async fn may_make(&mut self) -> ApiResult<()> {
        self.may_go_on()?;
        let target = Target::new("container", "");
        let leave = self
            .shared
            .authorize(&self.call.who, Action::Write, &target)
            .await;
        let begun = match &leave {
            Ok(_) => AuditOutcome::Started,
            Err(error) => AuditOutcome::Denied(error.to_string()),
        };
        if self.held.on_record {
            let lost = "the engine's answer was lost, and it had nothing of it later";
            self.conclude(AuditOutcome::Failed(lost.to_owned())).await;
        }
        let written = self.record.write(&self.shared, begun, None).await;
        self.held.on_record = leave.is_ok() && written.is_ok();
        leave.map_err(|error| refused(&error))?;
        written.map(|_| ()).map_err(|failure| {
            ApiError::internal(format!(
                "refused, because the audit log can't be written: {failure}"
            ))
        })
    }

    /// Right before something is done: the leadership under which it was queued may be over. Who could
    /// not see it here meanwhile has queued it again, at the manager that led.
    fn may_go_on(&self) -> ApiResult<()> {
        self.shared.lead()?;
        if self.shared.plane.inner.token()? != self.token {
            return Err(ApiError::conflict(
                "another manager has led since it was queued: queue it again if it is still wanted",
            ));
        }
        Ok(())
    }

    /// Resolves when it [may not go on](Self::may_go_on), with the reason. A time without a leader is
    /// none: this manager may win again.
    async fn deposed(&self) -> ApiError {
        if let Some(election) = self.shared.plane.election() {
            let mut news = election.watch();
            while let Some(leader) = news.next().await {
                if leader != Leader::Nobody
                    && let Err(error) = self.may_go_on()
                {
                    return error;
                }
            }
        }
        std::future::pending().await
    }

    /// Asks the engine whose answer was lost.
    async fn look(&mut self) -> Result<Done, Abandoned> {
        if let Err(error) = self.may_go_on() {
            return Ok(Err((Outcome::NotMade { passes: false }, error)));
        }
        let Some(room) = self.held.room.take() else {
            return Ok(Ok(Outcome::Nothing));
        };
        let Some(node) = self.shared.plane.node(room.node_id().as_str()) else {
            self.held.name = room.into_name();
            return Ok(Ok(Outcome::Left));
        };
        let (silent, found) = match node.health {
            NodeHealth::Healthy => {
                let swarm_id = self.prepared.swarm_id().unwrap_or_default();
                let found = create::find(&self.shared, &node, swarm_id).await;
                let silent = found.as_ref().err().map(|error| error.message().to_owned());
                (silent, found.unwrap_or_default().into_iter().next())
            }
            health => (Some(format!("the node is {health}")), None),
        };
        let found = found.and_then(|found| WorkloadId::new(found.id).ok());
        Ok(match (silent, found) {
            (Some(silent), _) => {
                let name = &node.name;
                let error = ApiError::unavailable(format!(
                    "node {name} was asked to make it and its answer was lost; whether it did is not \
                     known: {silent}"
                ));
                self.held.room = Some(room);
                Err((Outcome::Silent, error))
            }
            (None, None) => {
                self.held.room = Some(room);
                Ok(Outcome::Nothing)
            }
            (None, Some(id)) => {
                // Cancelled while the engine was asked: what it has is removed.
                if !self.shared.pending.begin(&self.id) {
                    self.held.room = Some(room);
                    return Err(Abandoned);
                }
                room.fulfil(&id);
                self.observe(&node, &id).await;
                self.held.made = Some((id, node));
                Ok(Outcome::Made)
            }
        })
    }

    /// Looks at it, so that the next list shows it.
    async fn observe(&self, node: &NodeView, id: &WorkloadId) {
        if let Some(node) = &node.id
            && let Err(error) = self.shared.plane.observe_now(node, id).await
        {
            tracing::debug!(error = %error.chain(), container = %id, "not looked at");
        }
    }

    /// Where a step failed that has a container already, that is said.
    fn in_context(&self, error: String, outcome: Outcome) -> String {
        let what = match outcome {
            Outcome::NotStarted { .. } => " and can't be started",
            Outcome::StartLost | Outcome::Unsaid { .. } => {
                ", and whether it was started is not known"
            }
            _ => return error,
        };
        let Some((id, node)) = &self.held.made else {
            return error;
        };
        let (id, node) = (id.as_str(), &node.name);
        let id = &id[..id.floor_char_boundary(SHORT_ID)];
        format!("container {id} was made on node {node}{what}: {error}")
    }

    /// Nothing: it was given up, or the manager ends.
    async fn end(mut self, ended: Option<Result<(), String>>) {
        let shared = Arc::clone(&self.shared);
        if let Some(room) = self.held.room.take()
            && let Some(swarm_id) = self.prepared.swarm_id()
        {
            let node = room.node_id().clone();
            create::clear(&shared, node, swarm_id.to_owned(), None);
        }
        let (outcome, state) = match ended {
            Some(Ok(())) => {
                let made = self.held.made.as_ref();
                let (container, node) = made
                    .map(|(id, node)| (id.to_string(), node.name.clone()))
                    .unwrap_or_default();
                (AuditOutcome::Done, Some(State::Made { container, node }))
            }
            Some(Err(reason)) => {
                tracing::warn!(id = self.id, "pending work was not made: {reason}");
                let outcome = AuditOutcome::Failed(reason.clone());
                (outcome, Some(State::Failed(reason)))
            }
            None => (AuditOutcome::Failed("it was given up".to_owned()), None),
        };
        self.conclude(outcome).await;
        if let Some(state) = state {
            shared.pending.end(&self.id, state);
        }
    }

    /// Puts the end of what was begun on record.
    async fn conclude(&mut self, outcome: AuditOutcome) {
        if !std::mem::take(&mut self.held.on_record) {
            return;
        }
        let node = self.held.made.as_ref().map(|(id, node)| {
            self.record.made(id.as_str());
            node.name.clone()
        });
        let written = self
            .record
            .write(&self.shared, outcome, node.as_deref())
            .await;
        if let Err(failure) = written {
            let operation = self.record.operation();
            tracing::error!(error = %failure.chain(), %operation, "its end could not be recorded");
        }
    }
}

/// What came of a step; where it failed, also why.
type Done = Result<Outcome, (Outcome, ApiError)>;

fn not_made(error: ApiError) -> Done {
    let passes = error.passes();
    Err((Outcome::NotMade { passes }, error))
}

const SHORT_ID: usize = 12;
