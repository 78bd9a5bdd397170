use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use super::Harness;
use crate::{
    Clock, ClockExt, Engine, EngineEvent, EngineEvents, ErrorKind, EventAction, ExitStatus,
    LogOptions, OsRandom, OutputKind, Random, RemoveOptions, Result, WorkloadDetail, WorkloadId,
    WorkloadName, WorkloadSpec, WorkloadState, testkit::programs::Programs,
};

/// One run of one rule: remembers what it made.
pub(super) struct Trial<'a> {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) programs: &'a dyn Programs,
    image: String,
    made: Mutex<Vec<WorkloadId>>,
}

impl<'a> Trial<'a> {
    pub(super) fn new(harness: &'a dyn Harness) -> Self {
        Self {
            engine: harness.engine(),
            clock: harness.clock(),
            programs: harness.programs(),
            image: harness.image(),
            made: Mutex::default(),
        }
    }

    pub(super) fn spec(&self, command: Vec<String>) -> WorkloadSpec {
        WorkloadSpec::new(&self.image)
            .with_command(command)
            .with_label("longshore.testkit", "engine")
    }

    pub(super) fn name(&self) -> WorkloadName {
        WorkloadName::new(format!("suite-{}", OsRandom.hex(8))).expect("a valid name")
    }

    pub(super) async fn try_create(&self, spec: &WorkloadSpec) -> Result<WorkloadId> {
        let id = self.within(self.engine.create(spec)).await?;
        self.made.lock().expect("no panic").push(id.clone());
        Ok(id)
    }

    pub(super) async fn create(&self, command: Vec<String>) -> WorkloadId {
        let spec = self.spec(command);
        self.try_create(&spec).await.expect("create")
    }

    pub(super) async fn run(&self, command: Vec<String>) -> WorkloadId {
        let spec = self.spec(command);
        self.run_spec(&spec).await
    }

    pub(super) async fn run_spec(&self, spec: &WorkloadSpec) -> WorkloadId {
        let id = self.try_create(spec).await.expect("create");
        self.start(&id).await;
        id
    }

    /// Runs it and waits until it printed `ready`.
    pub(super) async fn run_ready(&self, command: Vec<String>) -> WorkloadId {
        let id = self.run(command).await;
        self.until_ready(&id).await;
        id
    }

    pub(super) async fn until_ready(&self, id: &WorkloadId) {
        self.within(async {
            let mut log = self
                .engine
                .logs(id, &LogOptions::follow())
                .await
                .expect("logs");
            let mut seen = Vec::new();
            while !seen.windows(5).any(|part| part == b"ready") {
                let piece = log.next().await.expect("ready before the end");
                seen.extend_from_slice(&piece.expect("a log").bytes);
            }
        })
        .await;
    }

    pub(super) async fn start(&self, id: &WorkloadId) {
        self.within(self.engine.start(id)).await.expect("start");
    }

    pub(super) async fn stop(&self, id: &WorkloadId, grace: Duration) {
        self.within(self.engine.stop(id, grace))
            .await
            .expect("stop");
    }

    pub(super) async fn wait(&self, id: &WorkloadId) -> ExitStatus {
        self.within(self.engine.wait(id)).await.expect("wait")
    }

    pub(super) async fn remove(&self, id: &WorkloadId) {
        self.within(self.engine.remove(id, RemoveOptions::default()))
            .await
            .expect("remove");
    }

    pub(super) async fn state(&self, id: &WorkloadId) -> WorkloadState {
        self.within(self.engine.inspect(id))
            .await
            .expect("inspect")
            .state
    }

    pub(super) async fn detail(&self, id: &WorkloadId) -> WorkloadDetail {
        let workload = self.within(self.engine.inspect(id)).await;
        workload
            .expect("inspect")
            .detail
            .expect("an inspection has the detail")
    }

    pub(super) async fn is_gone(&self, id: &WorkloadId) -> bool {
        match self.within(self.engine.inspect(id)).await {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
                true
            }
        }
    }

    /// The log of one output, read to its end.
    pub(super) async fn log(
        &self,
        id: &WorkloadId,
        kind: OutputKind,
        options: &LogOptions,
    ) -> Bytes {
        self.within(async {
            let mut log = self.engine.logs(id, options).await.expect("logs");
            let mut bytes = BytesMut::new();
            while let Some(piece) = log.next().await {
                let piece = piece.expect("a log");
                if piece.kind == kind {
                    bytes.extend_from_slice(&piece.bytes);
                }
            }
            bytes.freeze()
        })
        .await
    }

    /// Waits until a condition holds; asks again as time passes.
    pub(super) async fn until<F, C>(&self, what: &str, mut condition: C)
    where
        F: Future<Output = bool> + Send,
        C: FnMut() -> F + Send,
    {
        let deadline = self.clock.now().after(LIMIT);
        while !condition().await {
            assert!(self.clock.now() < deadline, "never happened: {what}");
            self.clock.sleep(Duration::from_millis(20)).await;
        }
    }

    /// The actions told of one workload, up to and with `last`.
    pub(super) async fn actions(
        &self,
        events: &mut EngineEvents,
        id: &WorkloadId,
        last: &EventAction,
    ) -> Vec<EngineEvent> {
        self.within(async {
            let mut seen = Vec::new();
            loop {
                let event = events.next().await.expect("events go on").expect("events");
                if event.actor != id.as_str() {
                    continue;
                }
                let done = event.action == *last;
                seen.push(event);
                if done {
                    return seen;
                }
            }
        })
        .await
    }

    /// Gives a step a generous limit, so that a hang is a failure of this rule.
    pub(super) async fn within<T: Send>(&self, step: impl Future<Output = T> + Send) -> T {
        self.clock
            .timeout(LIMIT, "a step of the rule", step)
            .await
            .expect("a step in time")
    }

    /// Removes what the rule made.
    pub(super) async fn finish(self) {
        let made = self.made.lock().expect("no panic").clone();
        for id in made {
            let removal = self
                .engine
                .remove(&id, RemoveOptions::default().with_force());
            if let Err(error) = self.within(removal).await {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
            }
        }
    }
}

const LIMIT: Duration = Duration::from_secs(60);
