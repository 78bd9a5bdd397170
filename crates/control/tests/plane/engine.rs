//! A small engine in memory whose faults are set by the test.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_core::{
    Bytes, Clock, Connector, Engine, EngineEvent, EngineEvents, EngineInfo, Error, ErrorKind,
    EventAction, ExitStatus, Image, ListFilter, LogOptions, LogStream, MilliCpu, NodeId, NodeName,
    PullOptions, PullStream, RemoveOptions, Result, Signal, Stats, Timestamp, Workload,
    WorkloadDetail, WorkloadId, WorkloadName, WorkloadSpec, WorkloadState,
};
use tokio::sync::broadcast;

#[derive(Clone, Debug)]
pub(crate) struct FakeEngine {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
    events: broadcast::Sender<Option<EngineEvent>>,
    via: Option<Arc<dyn Connector>>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub info: EngineInfo,
    pub workloads: BTreeMap<WorkloadId, Workload>,
    pub images: Vec<Image>,
    /// Nothing answers: every call is refused.
    pub down: bool,
    /// Connections are accepted and nothing ever answers.
    pub hung: bool,
    /// Pings are answered, lists are not.
    pub stuck: bool,
    /// Creates fail like this.
    pub refuse_create: Option<&'static str>,
    /// An image that is to be pulled first.
    pub lacks: Option<String>,
    /// Images that were pulled, with the credentials.
    pub pulls: Vec<(String, Option<String>)>,
    /// Lists leave out the detail, as Docker's do.
    pub brief: bool,
    pub history: Vec<EngineEvent>,
    pub calls: BTreeMap<&'static str, usize>,
    pub next: usize,
}

impl FakeEngine {
    pub(crate) fn new(clock: Arc<dyn Clock>, id: &str, name: &str) -> Self {
        let info = EngineInfo::new(
            NodeId::new(id).unwrap(),
            NodeName::new(name).unwrap(),
            MilliCpu::from_cpus(4),
            Bytes::from_gib(4),
        );
        Self {
            state: Arc::new(Mutex::new(State {
                info,
                workloads: BTreeMap::new(),
                images: Vec::new(),
                down: false,
                hung: false,
                stuck: false,
                refuse_create: None,
                lacks: None,
                pulls: Vec::new(),
                brief: false,
                history: Vec::new(),
                calls: BTreeMap::new(),
                next: 0,
            })),
            clock,
            events: broadcast::Sender::new(1024),
            via: None,
        }
    }

    pub(crate) fn through(mut self, connector: Arc<dyn Connector>) -> Self {
        self.via = Some(connector);
        self
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Stops answering and drops the event streams, like a killed daemon.
    pub(crate) fn kill(&self) {
        self.state().down = true;
        let _ = self.events.send(None);
    }

    pub(crate) fn revive(&self) {
        self.state().down = false;
    }

    /// Puts a container there without telling anyone, as if made before anyone looked.
    pub(crate) fn plant(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        state: WorkloadState,
    ) -> WorkloadId {
        let id = self.next_id();
        let mut workload = Workload::new(id.clone());
        workload.names = vec![name.to_owned()];
        workload.labels = labels.iter().copied().collect();
        workload.state = state;
        workload.created = self.clock.now();
        workload.detail = Some(WorkloadDetail::default());
        self.state().workloads.insert(id.clone(), workload);
        id
    }

    /// Removes a container without telling anyone.
    pub(crate) fn vanish(&self, id: &WorkloadId) {
        self.state().workloads.remove(id);
    }

    pub(crate) fn tell(&self, event: EngineEvent) {
        self.state().history.push(event.clone());
        let _ = self.events.send(Some(event));
    }

    pub(crate) fn calls(&self, what: &'static str) -> usize {
        self.state().calls.get(what).copied().unwrap_or_default()
    }

    pub(crate) fn running(&self) -> Vec<String> {
        self.state()
            .workloads
            .values()
            .filter(|w| w.state == WorkloadState::Running)
            .map(|w| w.name().to_owned())
            .collect()
    }

    fn next_id(&self) -> WorkloadId {
        let mut state = self.state();
        state.next += 1;
        // Spread over the hash space, so that short ids differ.
        let host: u64 = state
            .info
            .id
            .as_str()
            .bytes()
            .fold(7, |hash, byte| hash * 31 + u64::from(byte));
        let number =
            (host.wrapping_mul(0x1_0001) + state.next as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        WorkloadId::new(format!("{number:016x}{host:016x}{:032x}", state.next)).unwrap()
    }

    fn emit(&self, id: &WorkloadId, action: EventAction) {
        self.tell(EngineEvent::workload(id, action, self.clock.now()));
    }

    async fn gate(&self, what: &'static str) -> Result<()> {
        *self.state().calls.entry(what).or_default() += 1;
        if let Some(connector) = &self.via {
            connector.connect().await?;
        }
        let (down, hung) = {
            let state = self.state();
            (
                state.down,
                state.hung || (state.stuck && matches!(what, "list" | "inspect")),
            )
        };
        if hung {
            std::future::pending::<()>().await;
        }
        if down {
            return Err(Error::unavailable("connection refused"));
        }
        // A call takes a moment.
        tokio::time::sleep(Duration::from_micros(200)).await;
        Ok(())
    }

    fn change<T>(
        &self,
        id: &WorkloadId,
        change: impl FnOnce(&mut Workload) -> Result<T>,
    ) -> Result<T> {
        match self.state().workloads.get_mut(id) {
            Some(workload) => change(workload),
            None => Err(Error::not_found(format!("No such container: {id}"))),
        }
    }
}

#[derive(Debug)]
struct NoStreams;

#[async_trait]
impl Connector for NoStreams {
    async fn connect(&self) -> Result<longshore_core::BoxByteStream> {
        Err(Error::unavailable("this engine has no API of its own"))
    }
    fn describe(&self) -> String {
        "fake://".to_owned()
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn connector(&self) -> Arc<dyn Connector> {
        self.via.clone().unwrap_or_else(|| Arc::new(NoStreams))
    }

    async fn info(&self) -> Result<EngineInfo> {
        self.gate("info").await?;
        let mut info = self.state().info.clone();
        info.system_time.get_or_insert(self.clock.now());
        Ok(info)
    }

    async fn ping(&self) -> Result<()> {
        self.gate("ping").await
    }

    async fn create(&self, spec: &WorkloadSpec) -> Result<WorkloadId> {
        self.gate("create").await?;
        if self.state().lacks.as_ref() == Some(&spec.image) {
            return Err(Error::not_found(format!("No such image: {}", spec.image)));
        }
        if let Some(reason) = self.state().refuse_create {
            return Err(Error::internal(reason));
        }
        let name = spec.name.as_ref().map(|name| name.as_str().to_owned());
        if let Some(name) = &name
            && self.state().workloads.values().any(|w| w.name() == name)
        {
            return Err(Error::new(ErrorKind::AlreadyExists, "the name is taken"));
        }
        let id = self.next_id();
        let mut workload = Workload::new(id.clone());
        workload.names = name.into_iter().collect();
        workload.image.clone_from(&spec.image);
        workload.labels = spec.labels.clone();
        workload.created = self.clock.now();
        let mut detail = WorkloadDetail::default();
        detail.resources = spec.resources.clone();
        detail.requested_ports = spec.ports.clone();
        detail.restart = spec.restart;
        workload.detail = Some(detail);
        self.state().workloads.insert(id.clone(), workload);
        self.emit(&id, EventAction::Create);
        Ok(id)
    }

    async fn start(&self, id: &WorkloadId) -> Result<()> {
        self.gate("start").await?;
        self.change(id, |workload| {
            workload.state = WorkloadState::Running;
            Ok(())
        })?;
        self.emit(id, EventAction::Start);
        Ok(())
    }

    async fn stop(&self, id: &WorkloadId, _: Duration) -> Result<()> {
        self.gate("stop").await?;
        self.change(id, |workload| {
            workload.state = WorkloadState::Exited;
            Ok(())
        })?;
        self.emit(id, EventAction::Die);
        Ok(())
    }

    async fn kill(&self, id: &WorkloadId, _: Signal) -> Result<()> {
        self.stop(id, Duration::ZERO).await
    }

    async fn remove(&self, id: &WorkloadId, options: RemoveOptions) -> Result<()> {
        self.gate("remove").await?;
        let running = self.change(id, |w| Ok(w.state == WorkloadState::Running))?;
        if running && !options.force {
            return Err(Error::new(ErrorKind::Conflict, "it runs"));
        }
        self.state().workloads.remove(id);
        self.emit(id, EventAction::Destroy);
        Ok(())
    }

    async fn rename(&self, id: &WorkloadId, name: &WorkloadName) -> Result<()> {
        self.gate("rename").await?;
        self.change(id, |workload| {
            workload.names = vec![name.as_str().to_owned()];
            Ok(())
        })?;
        self.emit(id, EventAction::Rename);
        Ok(())
    }

    async fn inspect(&self, id: &WorkloadId) -> Result<Workload> {
        self.gate("inspect").await?;
        self.change(id, |workload| Ok(workload.clone()))
    }

    async fn list(&self, _: &ListFilter) -> Result<Vec<Workload>> {
        self.gate("list").await?;
        let state = self.state();
        Ok(state
            .workloads
            .values()
            .cloned()
            .map(|mut workload| {
                if state.brief {
                    workload.detail = None;
                }
                workload
            })
            .collect())
    }

    async fn wait(&self, _: &WorkloadId) -> Result<ExitStatus> {
        Err(Error::unsupported("not needed here"))
    }

    async fn logs(&self, _: &WorkloadId, _: &LogOptions) -> Result<LogStream> {
        Err(Error::unsupported("not needed here"))
    }

    async fn stats(&self, _: &WorkloadId) -> Result<Stats> {
        Err(Error::unsupported("not needed here"))
    }

    async fn events(&self, since: Option<Timestamp>) -> Result<EngineEvents> {
        self.gate("events").await?;
        let (old, live) = {
            let state = self.state();
            let old: Vec<_> = state
                .history
                .iter()
                .filter(|event| since.is_some_and(|since| event.at >= since))
                .cloned()
                .collect();
            (old, self.events.subscribe())
        };
        let live = futures::stream::unfold(live, |mut live| async move {
            match live.recv().await {
                Ok(Some(event)) => Some((Ok(event), live)),
                _ => None,
            }
        });
        Ok(futures::stream::iter(old.into_iter().map(Ok))
            .chain(live)
            .boxed())
    }

    async fn pull(&self, image: &str, options: &PullOptions) -> Result<PullStream> {
        self.gate("pull").await?;
        let shown = options
            .credentials
            .as_ref()
            .map(|it| it.header().to_owned());
        self.state().pulls.push((image.to_owned(), shown));
        self.state().lacks = None;
        Ok(futures::stream::empty().boxed())
    }

    async fn images(&self) -> Result<Vec<Image>> {
        self.gate("images").await?;
        Ok(self.state().images.clone())
    }
}
