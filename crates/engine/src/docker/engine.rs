use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bollard::query_parameters::{
    CreateContainerOptions, KillContainerOptions, ListImagesOptions, RemoveContainerOptions,
    RenameContainerOptions, StopContainerOptions,
};
use http::Method;
use longshore_core::{
    Clock, Connector, Engine, EngineEvents, EngineInfo, Error, ExitStatus, Image, ListFilter,
    LogOptions, LogStream, PullOptions, PullStream, RemoveOptions, Result, Signal, Stats,
    Timestamp, Workload, WorkloadDetail, WorkloadId, WorkloadName, WorkloadSpec, WorkloadState,
};
use serde::Deserialize;

use super::{
    client::{Client, NO_LIMIT},
    create, error, events, id, images, info, inspect, list, logs, pull, stats,
};

/// A Docker engine behind any [`Connector`]: a unix socket, TCP, TLS, or a stream of a tunnel.
///
/// Nothing is dialled until the first call, which also agrees on the API version. Calls share a
/// pool of connections. Every call that the engine should answer at once has a deadline by the
/// injected clock; [`wait`](Engine::wait), logs and events go on as long as their subject.
///
/// The engine may be hostile: what it answers is bounded call by call, names and errors are made
/// printable, and containers whose id is not of Docker's form (64 lowercase hexadecimal digits) are
/// not seen. So an engine of your own behind an `EngineApi` needs ids of this form, too. More than
/// 10,000 containers make a list an error.
///
/// ```no_run
/// # async fn example() -> longshore_core::Result<()> {
/// use std::sync::Arc;
///
/// use longshore_core::{Engine, SystemClock, WorkloadSpec};
/// use longshore_engine::{ConnectOptions, DockerEngine, connect};
///
/// let connector = connect("unix:///var/run/docker.sock", &ConnectOptions::new())?;
/// let engine = DockerEngine::new(connector, Arc::new(SystemClock::new()))?;
/// let spec = WorkloadSpec::new("busybox").with_command(["echo", "hello"]);
/// let id = engine.create(&spec).await?;
/// engine.start(&id).await?;
/// assert!(engine.wait(&id).await?.is_success());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DockerEngine {
    client: Arc<Client>,
    limits: Limits,
    /// Its processors, as it last said; 0 until then.
    cpus: Arc<AtomicU64>,
}

#[derive(Clone, Copy)]
struct Limits {
    /// For questions.
    read: Duration,
    /// For changes.
    write: Duration,
}

impl DockerEngine {
    /// An engine behind these streams.
    ///
    /// # Errors
    /// The client can't be made; nothing is dialled yet.
    pub fn new(connector: Arc<dyn Connector>, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self {
            client: Arc::new(Client::new(connector, clock)?),
            limits: Limits {
                read: Duration::from_secs(30),
                write: Duration::from_secs(120),
            },
            cpus: Arc::default(),
        })
    }

    /// Changes how long an answer may take to a question (30 s if not set; a [`ping`](Engine::ping)
    /// gets a third of it) and to a change (120 s; a stop gets its grace on top).
    #[must_use]
    pub fn with_limits(mut self, question: Duration, change: Duration) -> Self {
        self.limits = Limits {
            read: question,
            write: change,
        };
        self
    }

    /// Runs a change to its end even when its caller leaves.
    async fn detached<F>(&self, change: F) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        tokio::spawn(change)
            .await
            .map_err(|error| Error::internal("a call to the engine panicked").with_source(error))?
    }

    async fn inspected(&self, operation: &'static str, id: &WorkloadId) -> Result<Workload> {
        let path = path_id(id)?;
        let call = self
            .client
            .typed(operation, self.limits.read, |docker| {
                docker.inspect_container(path, None)
            })
            .await?;
        let workload = inspect::workload(call, self.cpus.load(Ordering::Relaxed))?;
        if id::container(path).is_ok() && workload.id != *id {
            return Err(Error::protocol(format!(
                "asked about container {id}, the engine answered about {}",
                workload.id
            )));
        }
        Ok(workload)
    }
}

#[async_trait]
impl Engine for DockerEngine {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(self.client.connector())
    }

    async fn info(&self) -> Result<EngineInfo> {
        let operation = "engine.info";
        let limit = self.limits.read;
        let info = self.client.typed(operation, limit, bollard::Docker::info);
        let version = self
            .client
            .typed(operation, limit, bollard::Docker::version);
        let (info, version) = futures::future::try_join(info, version).await?;
        let info = info::engine(info, version)?;
        self.cpus.store(info.cpu.0 / 1000, Ordering::Relaxed);
        Ok(info)
    }

    async fn ping(&self) -> Result<()> {
        let limit = self.limits.read / 3;
        let answer = self
            .client
            .read("engine.ping", limit, Method::GET, "/_ping", SHORT);
        answer.await.map(drop)
    }

    async fn create(&self, spec: &WorkloadSpec) -> Result<WorkloadId> {
        let body = create::body(spec)?;
        let options = CreateContainerOptions {
            name: spec.name.as_ref().map(ToString::to_string),
            ..CreateContainerOptions::default()
        };
        let made = self
            .client
            .typed("engine.create", self.limits.write, |docker| {
                docker.create_container(Some(options), body)
            })
            .await?;
        let id = id::container(&made.id)?;
        for warning in made.warnings.iter().take(MOST_WARNINGS) {
            tracing::warn!(%id, "the engine warns: {}", error::text(warning));
        }
        Ok(id)
    }

    async fn start(&self, id: &WorkloadId) -> Result<()> {
        let (client, limit, id) = (
            Arc::clone(&self.client),
            self.limits.write,
            path_id(id)?.to_owned(),
        );
        self.detached(async move {
            client
                .typed("engine.start", limit, |docker| {
                    docker.start_container(&id, None)
                })
                .await
        })
        .await
    }

    async fn stop(&self, id: &WorkloadId, grace: Duration) -> Result<()> {
        let (client, limit, id) = (
            Arc::clone(&self.client),
            self.limits.write,
            path_id(id)?.to_owned(),
        );
        // Whole seconds, never shorter than asked for.
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let options = StopContainerOptions {
            t: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
            ..StopContainerOptions::default()
        };
        self.detached(async move {
            client
                .typed("engine.stop", limit.saturating_add(grace), |docker| {
                    docker.stop_container(&id, Some(options))
                })
                .await
        })
        .await
    }

    async fn kill(&self, id: &WorkloadId, signal: Signal) -> Result<()> {
        let id = path_id(id)?;
        let options = KillContainerOptions {
            signal: signal.number().to_string(),
        };
        self.client
            .typed("engine.kill", self.limits.write, |docker| {
                docker.kill_container(id, Some(options))
            })
            .await
    }

    async fn remove(&self, id: &WorkloadId, options: RemoveOptions) -> Result<()> {
        let id = path_id(id)?;
        let options = RemoveContainerOptions {
            force: options.force,
            v: options.volumes,
            link: false,
        };
        self.client
            .typed("engine.remove", self.limits.write, |docker| {
                docker.remove_container(id, Some(options))
            })
            .await
    }

    async fn rename(&self, id: &WorkloadId, name: &WorkloadName) -> Result<()> {
        let id = path_id(id)?;
        let options = RenameContainerOptions {
            name: name.to_string(),
        };
        self.client
            .typed("engine.rename", self.limits.write, |docker| {
                docker.rename_container(id, options)
            })
            .await
    }

    async fn inspect(&self, id: &WorkloadId) -> Result<Workload> {
        self.inspected("engine.inspect", id).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<Workload>> {
        let mut path = "/containers/json?all=1".to_owned();
        if !filter.ids.is_empty() {
            let ids = filter.ids.iter().map(path_id).collect::<Result<Vec<_>>>();
            // An id that Docker can't have made matches nothing.
            let Ok(ids) = ids else { return Ok(Vec::new()) };
            let quoted: Vec<_> = ids.iter().map(|id| format!("%22{id}%22")).collect();
            path.push_str(&format!("&filters=%7B%22id%22:[{}]%7D", quoted.join(",")));
        }
        let limit = self.limits.read;
        let answer = self
            .client
            .read("engine.list", limit, Method::GET, &path, LONGEST_LIST);
        let mut listed = list::workloads(&answer.await?)?;
        if !filter.ids.is_empty() {
            // Docker also matches prefixes.
            listed.retain(|workload| filter.ids.contains(&workload.id));
        }
        Ok(listed)
    }

    async fn wait(&self, id: &WorkloadId) -> Result<ExitStatus> {
        let path = format!("/containers/{}/wait", path_id(id)?);
        let answer = self
            .client
            .read("engine.wait", NO_LIMIT, Method::POST, &path, SHORT);
        let ended = ended(&answer.await?)?;
        // Docker's answer does not tell "never started" from code 0, nor why it was killed.
        match self.inspected("engine.wait", id).await {
            Ok(Workload {
                state: WorkloadState::Created,
                ..
            }) => Ok(ExitStatus::unknown("never started")),
            Ok(Workload {
                detail:
                    Some(WorkloadDetail {
                        exit: Some(exit), ..
                    }),
                ..
            }) if exit.code == ended.code => Ok(exit),
            // It was removed or started again meanwhile.
            Ok(_) | Err(_) => Ok(ended),
        }
    }

    async fn logs(&self, id: &WorkloadId, options: &LogOptions) -> Result<LogStream> {
        let workload = self.inspected("engine.logs", id).await?;
        let tty = workload.detail.is_some_and(|detail| detail.tty);
        let path = format!("/containers/{}/logs?{}", path_id(id)?, logs::query(options));
        let body = self
            .client
            .stream("engine.logs", self.limits.read, Method::GET, &path, &[])
            .await?;
        Ok(logs::decode(body, tty))
    }

    async fn stats(&self, id: &WorkloadId) -> Result<Stats> {
        let path = format!(
            "/containers/{}/stats?stream=false&one-shot=true",
            path_id(id)?
        );
        let limit = self.limits.read;
        let answer = self
            .client
            .read("engine.stats", limit, Method::GET, &path, LONGEST_SAMPLE)
            .await?;
        serde_json::from_slice(&answer)
            .map(stats::sample)
            .map_err(|error| {
                Error::protocol("the engine's statistics are not Docker's").with_source(error)
            })
    }

    async fn events(&self, since: Option<Timestamp>) -> Result<EngineEvents> {
        let path = match since {
            Some(since) => format!("/events?since={}", logs::moment(since)),
            None => "/events".to_owned(),
        };
        let body = self
            .client
            .stream("engine.events", self.limits.read, Method::GET, &path, &[])
            .await?;
        Ok(events::decode(body))
    }

    async fn pull(&self, image: &str, options: &PullOptions) -> Result<PullStream> {
        let path = format!("/images/create?{}", pull::query(image)?);
        let credentials = options.credentials.as_ref();
        let headers: Vec<_> = credentials
            .map(|credentials| ("X-Registry-Auth", credentials.header()))
            .into_iter()
            .collect();
        let body = self
            .client
            .stream(
                "engine.pull",
                self.limits.write,
                Method::POST,
                &path,
                &headers,
            )
            .await?;
        Ok(pull::decode(body))
    }

    async fn images(&self) -> Result<Vec<Image>> {
        let options = ListImagesOptions::default();
        let images = self
            .client
            .typed("engine.images", self.limits.read, |docker| {
                docker.list_images(Some(options))
            })
            .await?;
        Ok(images::all(images))
    }
}

impl fmt::Debug for DockerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DockerEngine({})", self.client.connector().describe())
    }
}

/// More of what an engine warns of is not logged.
const MOST_WARNINGS: usize = 16;
/// Larger answers to a ping or a wait are no engine's.
const SHORT: usize = 64 << 10;
/// A sample of what a container uses.
const LONGEST_SAMPLE: usize = 1 << 20;
/// A list of containers; about 1 KiB each.
const LONGEST_LIST: usize = 16 << 20;

/// An id that may stand in a path: bollard does not escape it.
fn path_id(id: &WorkloadId) -> Result<&str> {
    let text = id.as_str();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.bytes().all(plain) && !matches!(text, "." | "..") {
        Ok(text)
    } else {
        Err(Error::not_found(format!("No such container: {text}")).with_backend("docker"))
    }
}

fn ended(answer: &[u8]) -> Result<ExitStatus> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        status_code: Option<i64>,
        error: Option<Reason>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Reason {
        message: String,
    }
    let answer: Answer = serde_json::from_slice(answer).map_err(|error| {
        Error::protocol("the engine's answer to a wait is not Docker's").with_source(error)
    })?;
    let reason = answer
        .error
        .map(|reason| error::text(&reason.message))
        .filter(|message| !message.is_empty());
    Ok(match (answer.status_code, reason) {
        (Some(code), None) => ExitStatus::exited(code),
        // A code of 0 beside an error is no success.
        (Some(code), Some(reason)) if code > 0 => ExitStatus::exited(code).with_reason(reason),
        (_, Some(reason)) => ExitStatus::unknown(reason),
        (None, None) => ExitStatus::unknown("the engine does not say"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_never_a_false_success() {
        let code = |text: &str| ended(text.as_bytes()).unwrap().code;
        assert_eq!(code(r#"{"StatusCode":7}"#), Some(7));
        assert_eq!(code(r#"{"StatusCode":0,"Error":null}"#), Some(0));
        assert_eq!(code(r#"{"StatusCode":0,"Error":{"Message":"gone"}}"#), None);
        assert_eq!(code("{}"), None);
        assert!(ended(b"").is_err());
    }

    #[test]
    fn an_id_never_changes_the_path() {
        for id in ["a?b", "..", "a#b", "%2e"] {
            assert!(path_id(&WorkloadId::new(id).unwrap()).is_err(), "{id}");
        }
        assert!(path_id(&WorkloadId::new("a1.B-c_d").unwrap()).is_ok());
    }
}
