use std::{collections::BTreeMap, fmt, fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use serde::{Deserialize, Serialize};

use crate::{
    BoxStream, Bytes, Connector, Device, ExitStatus, Labels, MilliCpu, NodeId, NodeName, Result,
    Signal, Timestamp, Workload, WorkloadId, WorkloadSpec,
};

/// What an engine says of itself and its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EngineInfo {
    /// The engine's own stable id.
    pub id: NodeId,
    /// Its host's name.
    pub name: NodeName,
    /// Processors.
    pub cpu: MilliCpu,
    /// Memory.
    pub memory: Bytes,
    /// The labels that it was started with.
    pub labels: Labels,
    /// Labels that could not be read, for a warning on the node.
    pub bad_labels: Vec<String>,
    /// Built-in attributes for constraints: `storagedriver`, `kernelversion`, `operatingsystem`,
    /// `ostype`, `architecture`.
    pub attributes: Labels,
    /// The engine's version.
    pub version: String,
    /// The newest API version that it speaks, for example `1.41`.
    pub api_version: String,
    /// The oldest API version that it speaks.
    pub min_api_version: String,
    /// Its clock, for showing skew.
    pub system_time: Option<Timestamp>,
    /// The devices of its host that workloads can be given.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Devices that could not be read, for a warning on the node.
    #[serde(default)]
    pub bad_devices: Vec<String>,
}

impl EngineInfo {
    /// An engine with these resources and nothing else known.
    pub fn new(id: NodeId, name: NodeName, cpu: MilliCpu, memory: Bytes) -> Self {
        Self {
            id,
            name,
            cpu,
            memory,
            labels: Labels::new(),
            bad_labels: Vec::new(),
            attributes: Labels::new(),
            version: String::new(),
            api_version: String::new(),
            min_api_version: String::new(),
            system_time: None,
            devices: Vec::new(),
            bad_devices: Vec::new(),
        }
    }
}

/// Which workloads to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListFilter {
    /// Only these; empty means all.
    pub ids: Vec<WorkloadId>,
}

impl ListFilter {
    /// All workloads, running or not.
    pub fn all() -> Self {
        Self::default()
    }

    /// One workload.
    pub fn id(id: WorkloadId) -> Self {
        Self { ids: vec![id] }
    }
}

/// How to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoveOptions {
    /// Kill it first if it runs.
    pub force: bool,
    /// Also remove its anonymous volumes.
    pub volumes: bool,
}

impl RemoveOptions {
    /// Kill it first if it runs.
    #[must_use]
    pub fn with_force(mut self) -> Self {
        self.force = true;
        self
    }

    /// Also remove its anonymous volumes.
    #[must_use]
    pub fn with_volumes(mut self) -> Self {
        self.volumes = true;
        self
    }
}

/// Standard output or standard error. On a terminal everything is standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Which part of the log, and whether to go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogOptions {
    /// Go on with new output until the workload ends.
    pub follow: bool,
    /// Only so many lines from the end; `None` means all that is kept.
    pub tail: Option<u32>,
    /// Only from here on.
    pub since: Option<Timestamp>,
}

impl LogOptions {
    /// All that is kept, then new output as it comes.
    pub fn follow() -> Self {
        Self {
            follow: true,
            ..Self::default()
        }
    }

    /// Only so many lines from the end.
    #[must_use]
    pub fn with_tail(mut self, lines: u32) -> Self {
        self.tail = Some(lines);
        self
    }
}

/// A piece of a log, with any bytes in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// From which output.
    pub kind: OutputKind,
    /// The bytes.
    pub bytes: Buffer,
}

/// A log, oldest first; ends when all is told.
pub type LogStream = BoxStream<Result<LogChunk>>;

/// One sample of what a workload uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Stats {
    /// When it was taken.
    pub at: Timestamp,
    /// Processor time used since the start, in nanoseconds.
    pub cpu_nanos: u64,
    /// Processor time the whole host has had since its boot, in nanoseconds.
    pub system_cpu_nanos: u64,
    /// Processors that it may use.
    pub online_cpus: u32,
    /// Memory in use.
    pub memory: Bytes,
    /// Memory it may use.
    pub memory_limit: Bytes,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes received.
    pub network_received: u64,
    /// Bytes sent.
    pub network_sent: u64,
}

/// What happened to a workload or its engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EventAction {
    /// Made.
    Create,
    /// Started.
    Start,
    /// Ended.
    Die,
    /// A signal was sent.
    Kill,
    /// Stopped on request.
    Stop,
    /// Restarted.
    Restart,
    /// Frozen.
    Pause,
    /// Thawed.
    Unpause,
    /// Removed.
    Destroy,
    /// Renamed.
    Rename,
    /// Its resources or policy changed.
    Update,
    /// Killed for lack of memory.
    OutOfMemory,
    /// Something else, in the engine's word (`exec_start: sh`, `pull`, `health_status: healthy`).
    Other(String),
}

impl EventAction {
    /// Docker's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Die => "die",
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Destroy => "destroy",
            Self::Rename => "rename",
            Self::Update => "update",
            Self::OutOfMemory => "oom",
            Self::Other(word) => word,
        }
    }

    /// From Docker's word.
    pub fn from_word(word: &str) -> Self {
        match word {
            "create" => Self::Create,
            "start" => Self::Start,
            "die" => Self::Die,
            "kill" => Self::Kill,
            "stop" => Self::Stop,
            "restart" => Self::Restart,
            "pause" => Self::Pause,
            "unpause" => Self::Unpause,
            "destroy" => Self::Destroy,
            "rename" => Self::Rename,
            "update" => Self::Update,
            "oom" => Self::OutOfMemory,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// One event of an engine.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EngineEvent {
    /// What it is about: `container`, `image`, `network`, `volume`, `daemon`.
    pub scope: String,
    /// What happened.
    pub action: EventAction,
    /// The id of what it is about.
    pub actor: String,
    /// Attributes: `name`, `image`, `exitCode`, labels.
    pub attributes: BTreeMap<String, String>,
    /// When, by the engine's clock.
    pub at: Timestamp,
    /// The event in Docker's JSON form, from engines that speak that API.
    pub native: Option<Arc<serde_json::Value>>,
}

impl EngineEvent {
    /// An event about a workload.
    pub fn workload(id: &WorkloadId, action: EventAction, at: Timestamp) -> Self {
        Self {
            scope: "container".to_owned(),
            action,
            actor: id.as_str().to_owned(),
            attributes: BTreeMap::new(),
            at,
            native: None,
        }
    }
}

/// Events in the order in which the engine tells them. Ends when the connection does.
pub type EngineEvents = BoxStream<Result<EngineEvent>>;

/// An image that an engine holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Image {
    /// Its id (`sha256:…`).
    pub id: String,
    /// `repository:tag` names.
    pub tags: Vec<String>,
    /// `repository@sha256:…` names.
    pub digests: Vec<String>,
    /// Its size.
    pub size: Bytes,
    /// When it was made.
    pub created: Timestamp,
    /// Its labels.
    pub labels: Labels,
}

/// A user's credentials at a registry. `Debug` and errors never show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryCredentials(String);

impl RegistryCredentials {
    /// From the value of Docker's `X-Registry-Auth` header.
    pub fn from_header(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The header's value. Handle as a secret.
    pub fn header(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RegistryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistryCredentials(…)")
    }
}

/// How to pull.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PullOptions {
    /// Credentials, where the registry wants some.
    pub credentials: Option<RegistryCredentials>,
}

/// One step of a pull, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullProgress {
    /// The layer, if the step is about one.
    pub id: Option<String>,
    /// What happens.
    pub status: String,
    /// Bytes done and bytes in all, where known.
    pub amount: Option<(u64, u64)>,
}

impl PullProgress {
    /// A step without a layer.
    pub fn new(status: impl Into<String>) -> Self {
        Self {
            status: status.into(),
            ..Self::default()
        }
    }
}

/// The steps of a pull; an error among them is the pull's failure.
pub type PullStream = BoxStream<Result<PullProgress>>;

/// What runs workloads on one node: a Docker daemon, plain processes, a simulation.
///
/// Rules held by the conformance suite, among others: a workload made is listed until it is
/// removed; a name is held by one workload at a time
/// ([`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists)); starting what runs and stopping
/// what is stopped are no errors; [`wait`](Self::wait) gives the same answer to all callers, also
/// after the end; a stop that is ignored becomes a kill when its grace is over; output before the
/// end is never lost from the log; an unknown id is
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) everywhere; every change of state is an event.
#[async_trait]
pub trait Engine: Debug + Send + Sync + 'static {
    /// Byte streams to this engine's own, Docker-compatible API. Engines without such an API serve
    /// one themselves.
    fn connector(&self) -> Arc<dyn Connector>;

    /// What the engine says of itself. Cancel safe.
    async fn info(&self) -> Result<EngineInfo>;

    /// Whether it answers, through its own path of work. Cancel safe.
    async fn ping(&self) -> Result<()>;

    /// Makes a workload without starting it.
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may have made it. Give it a name to find it again.
    async fn create(&self, spec: &WorkloadSpec) -> Result<WorkloadId>;

    /// Starts it. Starting what runs is no error. Cancel safe: the start goes on.
    async fn start(&self, id: &WorkloadId) -> Result<()>;

    /// Asks it to end, and kills it after `grace`. Cancel safe: the stop goes on.
    async fn stop(&self, id: &WorkloadId, grace: Duration) -> Result<()>;

    /// Sends a signal to its first process. Cancel safe.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict), not retryable, when it does not run.
    async fn kill(&self, id: &WorkloadId, signal: Signal) -> Result<()>;

    /// Removes it.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when it runs and force was not asked for.
    async fn remove(&self, id: &WorkloadId, options: RemoveOptions) -> Result<()>;

    /// Gives it another name. Cancel safe.
    async fn rename(&self, id: &WorkloadId, name: &crate::WorkloadName) -> Result<()>;

    /// All about it, with [`Workload::detail`]. Cancel safe.
    async fn inspect(&self, id: &WorkloadId) -> Result<Workload>;

    /// Workloads in any state. Detail may be missing. Cancel safe.
    async fn list(&self, filter: &ListFilter) -> Result<Vec<Workload>>;

    /// Waits until it does not run, and says how it ended. Cancel safe; may be called by many.
    async fn wait(&self, id: &WorkloadId) -> Result<ExitStatus>;

    /// Its log. Cancel safe; dropping the stream stops following.
    async fn logs(&self, id: &WorkloadId, options: &LogOptions) -> Result<LogStream>;

    /// One sample of what it uses. Cancel safe.
    async fn stats(&self, id: &WorkloadId) -> Result<Stats>;

    /// Events after `since` as far back as the engine remembers, then new ones. Cancel safe.
    async fn events(&self, since: Option<Timestamp>) -> Result<EngineEvents>;

    /// Fetches an image. Dropping the stream may stop the pull.
    async fn pull(&self, image: &str, options: &PullOptions) -> Result<PullStream>;

    /// The images held. Cancel safe.
    async fn images(&self) -> Result<Vec<Image>>;
}
