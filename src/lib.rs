#![doc = include_str!("../README.md")]

pub use longshore_core as core;

#[cfg(feature = "agent")]
pub use longshore_agent as agent;
#[cfg(feature = "control")]
pub use longshore_control as control;
#[cfg(feature = "discovery")]
pub use longshore_discovery as discovery;
#[cfg(any(feature = "docker", feature = "process"))]
pub use longshore_engine as engine;
#[cfg(any(feature = "exec", feature = "docker"))]
pub use longshore_exec as exec;
#[cfg(feature = "net")]
pub use longshore_net as net;
#[cfg(feature = "sched")]
pub use longshore_sched as sched;
#[cfg(feature = "tunnel")]
pub use longshore_tunnel as tunnel;

pub use longshore_core::{
    AuditSink, Authorizer, Carrier, Clock, Connector, Discovery, Engine, EngineProvider, Error,
    ErrorKind, ExecBackend, ExecSession, KvStore, OverlayNetwork, Random, Result, Scheduler,
    TunnelListener, TunnelTransport,
};

/// The programs in `docs/exec.md` compile.
#[cfg(all(doctest, feature = "docker"))]
#[doc = include_str!("../docs/exec.md")]
mod exec_document {}
