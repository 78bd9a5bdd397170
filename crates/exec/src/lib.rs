//! Getting into containers: commands and attachments, byte for byte.
//!
//! [`ExecBackend`](longshore_core::ExecBackend) and [`ExecSession`](longshore_core::ExecSession)
//! are core's traits. This crate has:
//!
//! * [`DockerExec`] (feature `docker`): exec and attach through the Docker API, over any
//!   [`Connector`](longshore_core::Connector), with and without a terminal;
//! * [`ScriptedExec`]: the same in memory, for tests of whatever is built on top;
//! * [`session`]: sessions over any backend that outlive their connections;
//! * `protocol` and `gateway` (feature `gateway`): LAIN Entry, Kubernetes, ttyd and a protocol of
//!   longshore's own over WebSocket; `access` says who may get in, by JSON Web Tokens too (feature
//!   `jwt`);
//! * `client` (feature `client`): the other end, which resumes by itself.
//!
//! The repository's `docs/exec.md` has the security model, what is left behind and when, and a
//! comparison with docker exec, kubectl exec, ttyd and Teleport.
//!
//! The process engine and the simulation in `longshore-engine` are exec backends of their own.
//! What this crate is not: a terminal or an HTTP server; a gateway is mounted in one. It carries
//! bytes and does not look at them; only records (feature `record`) keep them, and rules look at
//! lines of input where an embedder asks for it.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> longshore_core::Result<()> {
//! use futures::StreamExt;
//! use longshore_core::{ExecBackend, ExecRequest, WorkloadId};
//! use longshore_exec::ScriptedExec;
//!
//! let web = WorkloadId::new("web")?;
//! let exec = ScriptedExec::new()
//!     .with_workload(web.clone())
//!     .with_program("greet", |process| async move {
//!         process.print("good day\n").await;
//!         0
//!     });
//!
//! let session = exec.exec(&ExecRequest::new(web, ["greet"])).await?;
//! let mut output = session.take_output().expect("it is taken once");
//! assert_eq!(output.next().await.expect("some output")?.bytes, "good day\n");
//! assert!(session.wait().await?.is_success());
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "gateway")]
pub mod access;
#[cfg(feature = "docker")]
mod cleanup;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "docker")]
mod docker;
#[cfg(feature = "gateway")]
pub mod gateway;
#[cfg(any(feature = "client", feature = "gateway"))]
pub mod protocol;
#[cfg(feature = "record")]
pub mod record;
#[cfg(feature = "screen")]
pub mod screen;
mod scripted;
pub mod session;
#[cfg(feature = "record")]
mod utf8;
#[cfg(feature = "gateway")]
pub mod web;

#[cfg(feature = "docker")]
pub use cleanup::{
    Cleanup, CleanupOutcome, CleanupReport, CleanupRung, GatewayLife, LeftBehind, Reaped,
};
#[cfg(feature = "docker")]
pub use docker::{DockerExec, Stub, WaitingStubs};
pub use scripted::{ScriptedExec, ScriptedProcess};
#[cfg(feature = "record")]
pub use utf8::Utf8Tail;
