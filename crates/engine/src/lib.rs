//! What runs containers: Docker engines, plain processes and a simulation, each behind
//! [`Engine`](longshore_core::Engine), and the byte streams that lead to them.
//!
//! | engine | what a workload is | what it needs | feature |
//! | --- | --- | --- | --- |
//! | `DockerEngine` | a container of a Docker daemon, wherever a [`Connector`](longshore_core::Connector) leads | a daemon | `docker` |
//! | `ProcessEngine` | a child process of this program | Linux | `process` |
//! | [`SimEngine`] | a [`Script`] in virtual time; [`SimCluster`] has thousands | nothing | |
//!
//! All three pass core's conformance suite. The latter two are exec backends too, and with the
//! feature `api` their [`connector`](longshore_core::Engine::connector) leads to a
//! Docker-compatible API in front of them (`EngineApi`).
//!
//! What this crate is not: a scheduler or a supervisor of hosts. An engine runs what it is told on
//! one node, and says what became of it.
//!
//! ```
//! # #[cfg(all(feature = "process", target_os = "linux"))]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> longshore_core::Result<()> {
//! use std::sync::Arc;
//!
//! use futures::StreamExt;
//! use longshore_core::{Engine, LogOptions, OsRandom, SystemClock, WorkloadSpec};
//! use longshore_engine::{ProcessEngine, ProcessOptions};
//!
//! let clock = Arc::new(SystemClock::new());
//! let engine = ProcessEngine::new(ProcessOptions::default(), clock, Arc::new(OsRandom))?;
//! let spec = WorkloadSpec::new("host").with_command(["echo", "hello"]);
//! let id = engine.create(&spec).await?;
//! engine.start(&id).await?;
//! assert!(engine.wait(&id).await?.is_success());
//!
//! let mut log = engine.logs(&id, &LogOptions::default()).await?;
//! assert_eq!(log.next().await.expect("a line")?.bytes, "hello\n");
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "process", target_os = "linux")))]
//! # fn main() {}
//! ```

#[cfg(feature = "api")]
mod api;
mod attached_output;
mod connect;
#[cfg(feature = "docker")]
mod docker;
mod event_log;
mod journal;
mod lifecycle;
mod output_log;
mod own_api;
#[cfg(all(feature = "process", target_os = "linux"))]
mod process;
mod record;
mod sim;

#[cfg(feature = "api")]
pub use api::EngineApi;
#[cfg(unix)]
pub use connect::UnixConnector;
pub use connect::{
    ConnectOptions, EngineUrl, ServiceConnector, TcpConnector, connect, duplex_connector,
};
#[cfg(feature = "tls")]
pub use connect::{TlsConnector, TlsIdentity, TlsSettings};
#[cfg(feature = "docker")]
pub use docker::{DockerEngine, DockerProvider};
#[cfg(all(feature = "process", target_os = "linux"))]
pub use process::{ProcessEngine, ProcessOptions};
pub use sim::{Print, Script, SimCluster, SimEngine, SimFault, SimInput, SimOptions};
