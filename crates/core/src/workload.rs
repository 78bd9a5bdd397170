use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    DeviceId, HostPort, Labels, PortProtocol, Resources, Signal, Timestamp, WorkloadId,
    WorkloadName,
};

/// What to do when a workload ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RestartPolicy {
    /// Leave it ended.
    #[default]
    Never,
    /// Start it again unless it was stopped on purpose.
    Always,
    /// As `Always`, but not after the engine restarts if it was stopped before.
    UnlessStopped,
    /// Start it again after a failure, at most this often (0: without limit).
    OnFailure(u32),
}

/// A port inside a workload and where it is published on the node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortBinding {
    /// The port inside.
    pub container_port: u16,
    /// Its protocol.
    pub protocol: PortProtocol,
    /// Where it is published; `None` if only exposed.
    pub host: Option<HostPort>,
}

/// What an engine is asked to run: the portable part of a container's configuration. Everything
/// else that Docker's API knows goes through the [`Connector`](crate::Connector) unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WorkloadSpec {
    /// Its name; the engine makes one up if missing.
    pub name: Option<WorkloadName>,
    /// The image reference. The process engine knows one image: `host`.
    pub image: String,
    /// Program and arguments; empty: the image's default.
    pub command: Vec<String>,
    /// `NAME=value` pairs.
    pub env: Vec<String>,
    /// Labels.
    pub labels: Labels,
    /// Where the command runs; empty: the image's default.
    pub working_dir: String,
    /// User inside; empty: the image's default.
    pub user: String,
    /// Ports exposed and published.
    pub ports: Vec<PortBinding>,
    /// What it may use.
    pub resources: Resources,
    /// What happens when it ends.
    pub restart: RestartPolicy,
    /// Whether it runs on a terminal.
    pub tty: bool,
    /// Whether its standard input is kept open for attach.
    pub open_stdin: bool,
    /// The devices of the node that it gets. Who places it chooses them: an engine gives what is
    /// named here, and no account is kept of what others have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceId>,
}

impl WorkloadSpec {
    /// This image with its default command.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            ..Self::default()
        }
    }

    /// Sets the name.
    #[must_use]
    pub fn with_name(mut self, name: WorkloadName) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets program and arguments.
    #[must_use]
    pub fn with_command<I, S>(mut self, command: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.command = command.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a `NAME=value` pair.
    #[must_use]
    pub fn with_env(mut self, pair: impl Into<String>) -> Self {
        self.env.push(pair.into());
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn with_label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key, value);
        self
    }

    /// Sets what it may use.
    #[must_use]
    pub fn with_resources(mut self, resources: Resources) -> Self {
        self.resources = resources;
        self
    }

    /// Sets what happens when it ends.
    #[must_use]
    pub fn with_restart(mut self, restart: RestartPolicy) -> Self {
        self.restart = restart;
        self
    }

    /// Adds a port.
    #[must_use]
    pub fn with_port(mut self, port: PortBinding) -> Self {
        self.ports.push(port);
        self
    }

    /// Runs it on a terminal.
    #[must_use]
    pub fn with_tty(mut self) -> Self {
        self.tty = true;
        self
    }

    /// Keeps its standard input open.
    #[must_use]
    pub fn with_stdin(mut self) -> Self {
        self.open_stdin = true;
        self
    }
}

/// Where a workload is in its life; Docker's state words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum WorkloadState {
    /// Made, never started.
    #[default]
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Ended and about to be started again.
    Restarting,
    /// Being removed.
    Removing,
    /// Ended.
    Exited,
    /// Ended, and can't be started or removed cleanly.
    Dead,
}

impl WorkloadState {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// From Docker's word; unknown words are `None`.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "created" => Self::Created,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "removing" => Self::Removing,
            "exited" => Self::Exited,
            "dead" => Self::Dead,
            _ => return None,
        })
    }
}

impl fmt::Display for WorkloadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a process ended. An unknown code is `None`, never 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExitStatus {
    /// The exit code; 128 + signal number where an engine reports a signal that way.
    pub code: Option<i64>,
    /// The signal that ended it, where known.
    pub signal: Option<Signal>,
    /// Whether the kernel killed it for lack of memory.
    pub out_of_memory: bool,
    /// What else is known, for people (`container removed`, `engine went away`).
    pub reason: Option<String>,
}

impl ExitStatus {
    /// Ended by itself with this code.
    pub fn exited(code: i64) -> Self {
        Self {
            code: Some(code),
            ..Self::default()
        }
    }

    /// Ended by a signal; the code is 128 + its number, as shells and Docker report it.
    pub fn signaled(signal: Signal) -> Self {
        Self {
            code: Some(128 + i64::from(signal.number())),
            signal: Some(signal),
            ..Self::default()
        }
    }

    /// Ended in an unknown way.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..Self::default()
        }
    }

    /// Adds what else is known.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Marks it as killed for lack of memory.
    #[must_use]
    pub fn with_out_of_memory(mut self) -> Self {
        self.out_of_memory = true;
        self
    }

    /// Whether it ended by itself with code 0.
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.signal, self.code) {
            (Some(signal), _) => write!(f, "ended by {signal}")?,
            (None, Some(code)) => write!(f, "exited with code {code}")?,
            (None, None) => f.write_str("ended with an unknown code")?,
        }
        if self.out_of_memory {
            f.write_str(", out of memory")?;
        }
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

/// A workload as an engine reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Workload {
    /// The engine's id.
    pub id: WorkloadId,
    /// Its names without leading slash; the first is its own, more are legacy links.
    pub names: Vec<String>,
    /// The image reference as given.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// Program and arguments, joined for people.
    pub command: String,
    /// When it was made.
    pub created: Timestamp,
    /// Where it is in its life.
    pub state: WorkloadState,
    /// Labels.
    pub labels: Labels,
    /// Ports in force now.
    pub ports: Vec<PortBinding>,
    /// What only an inspection tells.
    pub detail: Option<WorkloadDetail>,
    /// The engine's own listing record, in Docker's `GET /containers/json` form, from engines that
    /// speak that API. Carries what the portable fields lack (mounts, networks).
    pub native: Option<Arc<serde_json::Value>>,
}

impl Workload {
    /// A workload of this id with nothing else known.
    pub fn new(id: WorkloadId) -> Self {
        Self {
            id,
            names: Vec::new(),
            image: String::new(),
            image_id: String::new(),
            command: String::new(),
            created: Timestamp::ZERO,
            state: WorkloadState::Created,
            labels: Labels::new(),
            ports: Vec::new(),
            detail: None,
            native: None,
        }
    }

    /// Its own name, without a leading slash; empty if it has none.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

/// The part of a [`Workload`] that a listing leaves out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WorkloadDetail {
    /// Its process id on the engine's host, 0 if not running.
    pub pid: u32,
    /// `NAME=value` pairs.
    pub env: Vec<String>,
    /// Where its command runs.
    pub working_dir: String,
    /// What it was given.
    pub resources: Resources,
    /// The devices that it was given by name. An engine that gives devices tells them here: what is
    /// missing is free for others.
    pub devices: Vec<DeviceId>,
    /// Ports it asked for, also while it is stopped.
    pub requested_ports: Vec<PortBinding>,
    /// Whether it uses the node's own network.
    pub host_network: bool,
    /// What happens when it ends.
    pub restart: RestartPolicy,
    /// How often it was restarted by its policy.
    pub restarts: u32,
    /// Whether it runs on a terminal.
    pub tty: bool,
    /// Whether its standard input is open.
    pub open_stdin: bool,
    /// Last start.
    pub started: Option<Timestamp>,
    /// Last end.
    pub finished: Option<Timestamp>,
    /// How it last ended.
    pub exit: Option<ExitStatus>,
    /// Result of its own health check: `starting`, `healthy`, `unhealthy`; empty without one.
    pub health: String,
    /// How long a stop waits before it kills.
    pub stop_timeout: Option<Duration>,
    /// What the engine says went wrong at the last start.
    pub error: String,
}
