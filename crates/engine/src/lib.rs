//! What runs containers: Docker engines, plain processes and a simulation, each behind
//! [`Engine`](longshore_core::Engine), and the byte streams that lead to them.

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
