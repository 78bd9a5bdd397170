//! The node's side of longshore.
//!
//! An [`Agent`] dials a control plane through any [`TunnelTransport`], says who it is, keeps the
//! connection up with jittered backoff for ever, and lends the node's engine to the plane as byte
//! streams. So a node behind NAT needs one outbound connection and no open port.
//!
//! The crate decides nothing about workloads, knows no engine (only a [`Connector`], and which
//! requests of Docker's API only read) and no transport (only the trait), and never sees a key: the
//! transport was given those.
//!
//! Of several managers only the newest leader acts through a node: see [`LeaderGate`].
//!
//! ```
//! # use std::sync::Arc;
//! # use longshore_core::{Connector, Endpoint, NodeName, OsRandom, Shutdown, SystemClock, TunnelTransport};
//! use longshore_agent::{Agent, AgentConfig};
//!
//! # async fn example(transport: Arc<dyn TunnelTransport>, engine: Arc<dyn Connector>) -> longshore_core::Result<()> {
//! let plane: Endpoint = "plane.example:7443".parse()?;
//! let config = AgentConfig::new(NodeName::new("edge-1")?, plane);
//! let agent = Agent::new(config, transport, engine, Arc::new(SystemClock::new()), Arc::new(OsRandom));
//! let shutdown = Shutdown::new();
//! agent.run(&shutdown).await
//! # }
//! ```
//!
//! [`Connector`]: longshore_core::Connector
//! [`TunnelTransport`]: longshore_core::TunnelTransport

mod agent;
mod config;
mod forward;
mod gate;
mod observe;
mod session;
mod status;
mod wire;

pub use agent::Agent;
pub use config::AgentConfig;
pub use gate::LeaderGate;
pub use status::{AgentState, AgentStatus};
