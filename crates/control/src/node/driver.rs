mod watch;

use std::sync::Arc;

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
#[cfg(feature = "endpoint")]
use longshore_core::http::HttpClient;
use longshore_core::{
    Announcement, Backoff, BoxFuture, Engine, EngineEvents, NodeHealth, NodeId, Result, Timestamp,
    WorkloadId,
};
use tokio::sync::mpsc;

use super::{
    detector::Depth,
    engines::{Engines, make_engines},
    inspect::InspectQueue,
    jobs::{self, Validation},
    lifecycle::{Input, Lifecycle, Output},
    stream::Resume,
};
use crate::{ClusterEvent, NodeEventKind, cluster::SlotId, plane::Inner};

/// How a node is reached.
#[derive(Debug)]
pub(crate) enum Source {
    /// At the address that a discovery backend announced.
    Announced(Announcement),
    /// Through the tunnel that it dialled.
    Tunnel(NodeId),
}

/// What others tell a node's driver.
#[derive(Debug)]
pub(crate) enum Note {
    /// A call past the driver got an answer.
    Answered,
    /// A call past the driver did not get through.
    Failed { started: Timestamp, error: String },
    /// The agent dialled in.
    DialledIn,
    /// The node left; for this reason.
    Removed(String),
}

/// Drives one node: carries out what its [`Lifecycle`] asks for, one task per node. It takes no
/// decision about health.
pub(crate) struct Driver {
    inner: Arc<Inner>,
    slot: SlotId,
    address: String,
    source: Source,
    life: Lifecycle,
    inbox: mpsc::Receiver<Note>,
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    engine: Option<Arc<dyn Engine>>,
    events: Option<EngineEvents>,
    opening: bool,
    reopen_at: Option<Timestamp>,
    reopen: Backoff,
    resume: Resume,
    queue: InspectQueue,
    images: ImageLook,
    /// Why the node can't be connected, as it was logged.
    told: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ImageLook {
    Idle,
    Running,
    Again,
}

enum Done {
    Validated {
        /// Where it was made for this.
        made: Option<Engines>,
        outcome: Result<Validation>,
    },
    Confirmed(Result<()>),
    Pinged(Timestamp, Result<()>),
    Refreshed {
        specs: bool,
        started: Timestamp,
        outcome: Result<Option<Validation>>,
    },
    Images(Timestamp, Result<()>),
    Inspected(WorkloadId, Timestamp, Result<()>),
    Opened(Result<EngineEvents>),
}

impl Driver {
    pub(crate) fn new(
        inner: Arc<Inner>,
        slot: SlotId,
        address: String,
        source: Source,
        inbox: mpsc::Receiver<Note>,
    ) -> Self {
        let life = Lifecycle::new(&address, &inner.options, inner.clock.now());
        Self {
            inner,
            slot,
            address,
            source,
            life,
            inbox,
            jobs: FuturesUnordered::new(),
            engine: None,
            events: None,
            opening: false,
            reopen_at: None,
            reopen: watch::backoff(),
            resume: Resume::default(),
            queue: InspectQueue::default(),
            images: ImageLook::Idle,
            told: None,
        }
    }

    /// Runs until the node is removed. Cancel safe: dropping it stops all that it does.
    pub(crate) async fn run(mut self) {
        self.input(Input::Tick);
        while self.life.health() != NodeHealth::Disconnected {
            let clock = Arc::clone(&self.inner.clock);
            let deadline = self
                .life
                .next_deadline()
                .into_iter()
                .chain(self.reopen_at)
                .min();
            let tick = async {
                match deadline {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let next_event = async {
                match &mut self.events {
                    Some(events) => events.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                note = self.inbox.recv() => match note {
                    Some(note) => self.note(note),
                    None => return,
                },
                Some(done) = self.jobs.next(), if !self.jobs.is_empty() => self.done(done),
                event = next_event => self.event(event),
                () = tick => self.input(Input::Tick),
            }
            self.keep_watching();
            self.inspect();
        }
    }

    fn note(&mut self, note: Note) {
        self.input(match note {
            Note::Answered => Input::Success(Depth::Answer),
            Note::Failed { started, error } => Input::Failure {
                depth: Depth::Answer,
                started,
                error,
            },
            Note::DialledIn => Input::DialledIn,
            Note::Removed(reason) => Input::Removed(reason),
        });
    }

    fn input(&mut self, input: Input) {
        let now = self.inner.clock.now();
        self.life.handle(input, now, &*self.inner.random);
        // The state is told before the events about it.
        self.inner
            .cluster
            .lock()
            .set_status(self.slot, self.life.status());
        while let Some(output) = self.life.poll_output() {
            self.carry_out(output, now);
        }
    }

    fn carry_out(&mut self, output: Output, now: Timestamp) {
        let inner = Arc::clone(&self.inner);
        match (output, self.engine.clone()) {
            (Output::Event(kind, reason), _) => self.tell(kind, reason, now),
            (Output::Validate, engine) => self.validate(engine),
            (_, None) => {}
            (Output::Confirm(depth), Some(engine)) => self.job(async move {
                Done::Confirmed(match depth {
                    Depth::Answer => jobs::ping(&inner, &*engine).await,
                    Depth::Work => jobs::work(&inner, &*engine).await,
                })
            }),
            (Output::Ping, Some(engine)) => {
                self.job(async move { Done::Pinged(now, jobs::ping(&inner, &*engine).await) });
            }
            (Output::Refresh { specs }, Some(engine)) => {
                let (slot, address) = (self.slot, self.address.clone());
                self.job(async move {
                    let outcome = refresh(&inner, slot, &address, &*engine, specs).await;
                    Done::Refreshed {
                        specs,
                        started: now,
                        outcome,
                    }
                });
            }
        }
    }

    fn validate(&mut self, engine: Option<Arc<dyn Engine>>) {
        let inner = Arc::clone(&self.inner);
        let (slot, address) = (self.slot, self.address.clone());
        // A pending node may be anyone; one that was known must be the same.
        let expected = match self.life.health() {
            NodeHealth::Unhealthy => inner.cluster.lock().identity(slot),
            _ => None,
        };
        let source = match &self.source {
            Source::Announced(announcement) => Source::Announced(announcement.clone()),
            Source::Tunnel(node) => Source::Tunnel(node.clone()),
        };
        self.job(async move {
            let made = match engine {
                Some(engine) => Ok((engine, None)),
                None => make_engines(&inner, source)
                    .await
                    .map(|made| (Arc::clone(&made.own), Some(made))),
            };
            match made {
                Err(error) => Done::Validated {
                    made: None,
                    outcome: Err(error),
                },
                Ok((engine, made)) => {
                    let outcome = jobs::validate(&inner, slot, &address, &*engine, expected).await;
                    Done::Validated { made, outcome }
                }
            }
        });
    }

    /// A node that never connected is nobody's loss that an event would tell of: it is logged, once
    /// for each reason.
    fn tell_once(&mut self, reason: &str) {
        let pending = self.life.health() == NodeHealth::Pending;
        if pending && self.told.as_deref() != Some(reason) {
            tracing::warn!(node = %self.address, "cannot connect, trying again: {reason}");
            self.told = Some(reason.to_owned());
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Validated { made, outcome } => {
                if let Some(engines) = made
                    && self.engine.is_none()
                {
                    self.adopt(engines);
                }
                match outcome {
                    Ok(Validation::Done { info }) => {
                        self.told = None;
                        self.resume.begin(jobs::events_from(&info));
                        self.input(Input::Validated(info.name.as_str().to_owned()));
                    }
                    Ok(Validation::OtherIdentity { old, new }) => self.other_identity(old, new),
                    Err(error) => {
                        let reason = error.chain();
                        self.tell_once(&reason);
                        self.input(Input::NotValidated(reason));
                    }
                }
            }
            Done::Confirmed(outcome) => {
                self.input(Input::Confirmed(outcome.map_err(|error| error.chain())));
            }
            Done::Pinged(started, outcome) => {
                self.outcome(Depth::Answer, started, &outcome);
                self.input(Input::PingDone);
            }
            Done::Refreshed {
                specs,
                started,
                outcome,
            } => {
                self.outcome(Depth::Work, started, &outcome);
                self.input(Input::RefreshDone { specs });
                if let Ok(Some(Validation::OtherIdentity { old, new })) = outcome {
                    self.other_identity(old, new);
                }
            }
            Done::Images(started, outcome) => {
                if std::mem::replace(&mut self.images, ImageLook::Idle) == ImageLook::Again {
                    self.look_at_images();
                }
                self.called(started, &outcome);
            }
            Done::Inspected(id, started, outcome) => {
                self.queue.done(&id);
                self.called(started, &outcome);
            }
            Done::Opened(outcome) => {
                self.opening = false;
                match outcome {
                    Ok(events) => {
                        self.events = Some(events);
                        self.reopen_at = None;
                    }
                    Err(error) => self.stream_ended(&error.chain()),
                }
            }
        }
    }

    /// The outcome of a probe: whatever the error is, the probe failed.
    fn outcome<T>(&mut self, depth: Depth, started: Timestamp, outcome: &Result<T>) {
        match outcome {
            Ok(_) => self.input(Input::Success(depth)),
            Err(error) => self.input(Input::Failure {
                depth,
                started,
                error: error.chain(),
            }),
        }
    }

    /// The outcome of another call: an error that the engine answered is an answer.
    fn called<T>(&mut self, started: Timestamp, outcome: &Result<T>) {
        match outcome {
            Err(error) if jobs::is_connection_failure(error) => {
                self.outcome(Depth::Answer, started, outcome);
            }
            _ => self.input(Input::Success(Depth::Answer)),
        }
    }

    fn adopt(&mut self, engines: Engines) {
        let Engines { own, lent } = engines;
        #[cfg(feature = "endpoint")]
        let http = HttpClient::new(lent.connector(), Arc::clone(&self.inner.clock));
        self.inner.cluster.lock().set_engine(
            self.slot,
            lent,
            #[cfg(feature = "endpoint")]
            http,
        );
        self.engine = Some(own);
    }

    /// All that is known of the old engine is forgotten, before anyone is told.
    fn other_identity(&mut self, old: NodeId, new: NodeId) {
        self.events = None;
        self.resume.reset();
        self.queue.clear();
        self.inner.cluster.lock().give_up_identity(self.slot);
        self.input(Input::IdentityChanged { old, new });
    }

    fn tell(&self, kind: NodeEventKind, reason: String, at: Timestamp) {
        match kind {
            NodeEventKind::Disconnect => tracing::warn!(node = %self.address, "{reason}"),
            _ => tracing::info!(node = %self.address, "{reason}"),
        }
        let view = self.inner.cluster.lock().view(self.slot);
        if let Some(view) = view {
            self.inner.events.push(ClusterEvent::Node {
                node: view.reference(),
                kind,
                at,
                reason,
            });
        }
    }

    fn job(&self, job: impl Future<Output = Done> + Send + 'static) {
        self.jobs.push(job.boxed());
    }
}

/// A removed node leaves the cluster, however its driver ended.
impl Drop for Driver {
    fn drop(&mut self) {
        self.inner.cluster.lock().remove_node(self.slot);
        self.inner.left.notify_waiters();
    }
}

async fn refresh(
    inner: &Inner,
    slot: SlotId,
    address: &str,
    engine: &dyn Engine,
    specs: bool,
) -> Result<Option<Validation>> {
    if specs {
        let expected = inner.cluster.lock().identity(slot);
        let validation = jobs::specs(inner, slot, address, engine, expected).await?;
        if matches!(validation, Validation::OtherIdentity { .. }) {
            return Ok(Some(validation));
        }
    }
    jobs::refresh(inner, slot, engine).await?;
    Ok(None)
}
