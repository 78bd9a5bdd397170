//! An engine in memory: the trait for the control plane, Docker's API for the endpoint, one state.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_core::{
    BoxByteStream, Bytes, Connector, Engine, EngineEvent, EngineEvents, EngineInfo, Error,
    EventAction, ExitStatus, Image, ListFilter, LogOptions, LogStream, MilliCpu, NodeId, NodeName,
    PullOptions, PullStream, RemoveOptions, Result, Signal, Stats, Timestamp, Workload,
    WorkloadDetail, WorkloadId, WorkloadName, WorkloadSpec, WorkloadState,
};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, broadcast};

#[derive(Clone, Debug)]
pub(crate) struct Daemon(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    events: broadcast::Sender<EngineEvent>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) info: EngineInfo,
    pub(crate) containers: BTreeMap<String, Container>,
    pub(crate) images: Vec<Image>,
    pub(crate) networks: Vec<Value>,
    pub(crate) volumes: Vec<Value>,
    /// Requests as they came: `GET /v1.40/info`.
    pub(crate) requests: Vec<String>,
    pub(crate) bodies: Vec<(String, Value)>,
    pub(crate) headers: Vec<(String, http::HeaderMap)>,
    /// Nothing can connect.
    pub(crate) down: bool,
    /// The next creates answer with these.
    pub(crate) refusals: Vec<(u16, String)>,
    /// The next starts answer with these.
    pub(crate) start_refusals: Vec<(u16, String)>,
    /// A start that is refused, or whose answer is lost, is followed by a short run.
    pub(crate) runs_shortly: bool,
    /// The connection breaks after a start was done.
    pub(crate) lose_start_answer: bool,
    /// The connection breaks before a start is done.
    pub(crate) lose_start: bool,
    /// Requests that contain this wait for a permit each.
    pub(crate) gate: Option<(&'static str, Arc<Semaphore>)>,
    /// The connection breaks after a create was done.
    pub(crate) lose_create_answer: bool,
    /// The connection breaks before a create is done.
    pub(crate) lose_create: bool,
    /// The next list over the API fails.
    pub(crate) hides: bool,
    /// What a pull can get.
    pub(crate) registry: Vec<String>,
    /// On which platforms the registry says that images run.
    pub(crate) platforms: BTreeMap<String, Value>,
    /// Gives every exec instance this id, and knows it.
    pub(crate) exec_id: Option<String>,
    /// What it answers when asked for a container's changes.
    pub(crate) odd: Option<(u16, Vec<(String, String)>)>,
    /// Says that answers will come, and never gives one.
    pub(crate) babbles: bool,
    /// Overlay networks are possible.
    pub(crate) overlay: bool,
    next: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) config: Value,
    pub(crate) state: WorkloadState,
    pub(crate) started: Option<Timestamp>,
    created: Timestamp,
}

impl Daemon {
    pub(crate) fn new(name: &str) -> Self {
        let mut info = EngineInfo::new(
            NodeId::new(format!("ID-{name}")).unwrap(),
            NodeName::new(name).unwrap(),
            MilliCpu::from_cpus(4),
            Bytes::from_gib(4),
        );
        info.version = "20.10.24".into();
        info.api_version = "1.41".into();
        info.min_api_version = "1.12".into();
        info.labels.insert("zone", name);
        info.attributes.insert("ostype", "linux");
        let network = |kind: &str| {
            json!({"Name": kind, "Id": format!("{kind}-{name}-0123456789"), "Scope": "local",
                "Driver": kind, "Labels": {}, "Containers": {}})
        };
        Self(Arc::new(Inner {
            state: Mutex::new(State {
                info,
                containers: BTreeMap::new(),
                images: Vec::new(),
                networks: vec![network("bridge"), network("host"), network("none")],
                volumes: Vec::new(),
                requests: Vec::new(),
                bodies: Vec::new(),
                headers: Vec::new(),
                down: false,
                refusals: Vec::new(),
                start_refusals: Vec::new(),
                runs_shortly: false,
                lose_start_answer: false,
                lose_start: false,
                gate: None,
                lose_create_answer: false,
                lose_create: false,
                hides: false,
                registry: Vec::new(),
                platforms: BTreeMap::new(),
                exec_id: None,
                odd: None,
                babbles: false,
                overlay: false,
                next: 0,
            }),
            events: broadcast::Sender::new(1024),
        }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    pub(crate) fn name(&self) -> String {
        self.state().info.name.to_string()
    }

    pub(crate) fn give_image(&self, tag: &str) {
        let mut image = Image::default();
        image.id = format!("sha256:{:0>64}", tag.len());
        image.tags = vec![tag.to_owned()];
        image.created = Timestamp::from_secs(1000 + tag.len() as u64);
        self.state().images.push(image);
    }

    pub(crate) fn has_image(&self, reference: &str) -> bool {
        let full = if reference.contains(':') {
            reference.to_owned()
        } else {
            format!("{reference}:latest")
        };
        self.state().images.iter().any(|i| i.tags.contains(&full))
    }

    pub(crate) fn add(&self, name: &str, config: Value, at: Timestamp) -> String {
        let id = {
            let mut state = self.state();
            state.next += 1;
            let host: u64 = state
                .info
                .id
                .as_str()
                .bytes()
                .fold(7, |hash, byte| hash * 31 + u64::from(byte));
            let number = (host + state.next).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let id = format!("{number:016x}{host:016x}{:032x}", state.next);
            let container = Container {
                name: name.to_owned(),
                config,
                state: WorkloadState::Created,
                started: None,
                created: at,
            };
            state.containers.insert(id.clone(), container);
            id
        };
        self.tell(&id, EventAction::Create);
        id
    }

    pub(crate) fn set_state(&self, id: &str, to: WorkloadState, action: EventAction) -> bool {
        let known = {
            let mut state = self.state();
            match state.containers.get_mut(id) {
                Some(container) => {
                    container.state = to;
                    if to == WorkloadState::Running {
                        container.started = Some(Timestamp::from_secs(1_700_000_000));
                    }
                    true
                }
                None => false,
            }
        };
        if known {
            self.tell(id, action);
        }
        known
    }

    pub(crate) fn forget(&self, id: &str) -> bool {
        let known = self.state().containers.remove(id).is_some();
        if known {
            self.tell(id, EventAction::Destroy);
        }
        known
    }

    pub(crate) fn tell(&self, id: &str, action: EventAction) {
        let id = WorkloadId::new(id).unwrap();
        let mut event = EngineEvent::workload(&id, action, Timestamp::from_secs(1_700_000_000));
        if let Some(container) = self.state().containers.get(id.as_str()) {
            event
                .attributes
                .insert("name".into(), container.name.clone());
        }
        let _ = self.0.events.send(event);
    }

    /// What the engine was asked, without version prefixes.
    pub(crate) fn asked(&self, what: &str) -> usize {
        let state = self.state();
        state
            .requests
            .iter()
            .filter(|request| request.contains(what))
            .count()
    }
}

#[async_trait]
impl Connector for Daemon {
    async fn connect(&self) -> Result<BoxByteStream> {
        if self.state().down {
            return Err(Error::unavailable("connection refused"));
        }
        let (near, far) = tokio::io::duplex(1 << 16);
        if self.state().babbles {
            tokio::spawn(crate::daemon_api::babble(far));
        } else {
            tokio::spawn(crate::daemon_api::serve(self.clone(), far));
        }
        Ok(Box::new(near))
    }

    fn describe(&self) -> String {
        format!("memory://{}", self.name())
    }
}

fn workload(id: &str, container: &Container) -> Workload {
    let mut workload = Workload::new(WorkloadId::new(id).unwrap());
    workload.names = vec![container.name.clone()];
    let text = |key: &str| container.config[key].as_str().unwrap_or("").to_owned();
    workload.image = text("Image");
    workload.created = container.created;
    workload.state = container.state;
    let labels = container.config["Labels"].as_object();
    for (key, value) in labels.into_iter().flatten() {
        workload
            .labels
            .insert(key.clone(), value.as_str().unwrap_or(""));
    }
    let mut detail = WorkloadDetail::default();
    detail.started = container.started;
    let host = &container.config["HostConfig"];
    detail.resources.memory = Bytes(host["Memory"].as_u64().unwrap_or(0));
    workload.detail = Some(detail);
    workload.native = Some(Arc::new(json!({
        "Id": id, "Names": [format!("/{}", container.name)], "Image": text("Image"),
        "Created": container.created.as_secs(), "Status": "stale text", "State": "x",
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 90, "Type": "tcp"},
        ],
        "Labels": container.config["Labels"],
        "Mounts": [{"Name": "data", "Destination": "/data"}],
        "NetworkSettings": {"Networks": {"back": {"NetworkID": "fedcba"}}},
    })));
    workload
}

#[async_trait]
impl Engine for Daemon {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(self.clone())
    }
    async fn info(&self) -> Result<EngineInfo> {
        self.ping().await?;
        Ok(self.state().info.clone())
    }
    async fn ping(&self) -> Result<()> {
        if self.state().down {
            return Err(Error::unavailable("connection refused"));
        }
        Ok(())
    }
    async fn create(&self, _: &WorkloadSpec) -> Result<WorkloadId> {
        Err(Error::unsupported("the endpoint speaks the API"))
    }
    async fn start(&self, _: &WorkloadId) -> Result<()> {
        Err(Error::unsupported("the endpoint speaks the API"))
    }
    async fn stop(&self, _: &WorkloadId, _: Duration) -> Result<()> {
        Err(Error::unsupported("the endpoint speaks the API"))
    }
    async fn kill(&self, _: &WorkloadId, _: Signal) -> Result<()> {
        Err(Error::unsupported("the endpoint speaks the API"))
    }
    async fn remove(&self, _: &WorkloadId, _: RemoveOptions) -> Result<()> {
        Err(Error::unsupported("the endpoint speaks the API"))
    }
    async fn rename(&self, _: &WorkloadId, _: &WorkloadName) -> Result<()> {
        Err(Error::unsupported("the endpoint speaks the API"))
    }
    async fn inspect(&self, id: &WorkloadId) -> Result<Workload> {
        self.ping().await?;
        let state = self.state();
        let container = state.containers.get(id.as_str());
        container
            .map(|container| workload(id.as_str(), container))
            .ok_or_else(|| Error::not_found(format!("No such container: {id}")))
    }
    async fn list(&self, _: &ListFilter) -> Result<Vec<Workload>> {
        self.ping().await?;
        let state = self.state();
        Ok(state
            .containers
            .iter()
            .map(|(id, container)| workload(id, container))
            .collect())
    }
    async fn wait(&self, _: &WorkloadId) -> Result<ExitStatus> {
        Err(Error::unsupported("the endpoint speaks the API"))
    }
    async fn logs(&self, _: &WorkloadId, _: &LogOptions) -> Result<LogStream> {
        Err(Error::unsupported("the endpoint speaks the API"))
    }
    async fn stats(&self, _: &WorkloadId) -> Result<Stats> {
        Err(Error::unsupported("the endpoint speaks the API"))
    }
    async fn events(&self, _: Option<Timestamp>) -> Result<EngineEvents> {
        self.ping().await?;
        let live = self.0.events.subscribe();
        Ok(futures::stream::unfold(live, |mut live| async move {
            let event = live.recv().await.ok()?;
            Some((Ok(event), live))
        })
        .boxed())
    }
    async fn pull(&self, _: &str, _: &PullOptions) -> Result<PullStream> {
        Err(Error::unsupported("the endpoint speaks the API"))
    }
    async fn images(&self) -> Result<Vec<Image>> {
        self.ping().await?;
        Ok(self.state().images.clone())
    }
}
