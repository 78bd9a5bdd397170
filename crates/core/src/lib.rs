//! The vocabulary and the traits of longshore.
//!
//! longshore is a set of parts for building a container platform: discovery, scheduling,
//! tunnels, exec, overlay networks, engines, a control plane and a node agent. Each part stands
//! behind a trait of this crate, so any of them can be replaced. This crate holds the traits,
//! the values they exchange, the error type, the clock, the decorators (retry, timeout, tracing,
//! seeded faults) and, under the feature `testkit`, one conformance suite per trait.
//!
//! It is not an orchestrator by itself: it opens no socket and knows no backend.
//!
//! # Conventions
//!
//! * Async traits are object-safe and `Debug + Send + Sync + 'static`.
//! * Values parse at the edge ([`NodeName`], [`Endpoint`], [`Expression`], …); code after the edge
//!   never checks them again.
//! * [`Error`] answers what the caller can do: [`Error::kind`], [`Error::is_retryable`].
//! * Nothing asks the operating system for time or randomness: take a [`Clock`] and a [`Random`].
//!
//! No trait is frozen yet: where a full implementation shows that a signature is wrong, it changes
//! and the changelog says so.

mod access;
mod audit;
mod backoff;
mod batch;
mod carrier_connector;
mod cidr;
mod clock;
mod connector;
pub mod decorate;
mod device;
mod discovery;
mod endpoint;
mod engine;
mod error;
mod exec;
mod explain;
mod expression;
#[cfg(feature = "http")]
pub mod http;
mod kv;
mod labels;
mod leader;
mod name;
mod overlay;
mod placement;
mod platform;
mod printable;
mod quantity;
mod random;
mod repeats;
mod scheduler;
mod shutdown;
mod signal;
mod stream;
#[cfg(feature = "testkit")]
pub mod testkit;
mod timestamp;
#[cfg(feature = "tls")]
pub mod tls;
mod topology;
mod tunnel;
#[cfg(all(unix, feature = "unix"))]
mod unix;
mod verdicts;
mod workload;

pub use access::{Access, Action, AllowAll, Authorizer, DenyAll, Identity, Target};
pub use audit::{AuditEvent, AuditOutcome, AuditReceipt, AuditSink};
pub use backoff::Backoff;
pub use batch::{Batch, BatchPlacement, Completeness};
pub use carrier_connector::CarrierConnector;
pub use cidr::Cidr;
pub use clock::{Clock, ClockExt, SystemClock};
pub use connector::{Connector, EngineProvider};
pub use device::{
    ApiDeviceRequest, Comparison, Device, DeviceDemand, DeviceId, DeviceRequest, device_kind,
    device_of_resource,
};
pub use discovery::{
    Announcement, Discovery, DiscoveryCapabilities, DiscoveryExt, Membership, MembershipEvent,
    MembershipStream, Registration, WatchMode,
};
pub use endpoint::Endpoint;
pub use engine::{
    Engine, EngineEvent, EngineEvents, EngineInfo, EventAction, Image, ListFilter, LogChunk,
    LogOptions, LogStream, OutputKind, PullOptions, PullProgress, PullStream, RegistryCredentials,
    RemoveOptions, Stats,
};
pub use error::{Error, ErrorKind, Result};
pub use exec::{
    AttachRequest, Cleanup, CleanupOutcome, CleanupReport, CleanupRung, ExecBackend, ExecInput,
    ExecOutput, ExecOutputStream, ExecRequest, ExecSession, LeftBehind, TerminalSize,
};
pub use explain::{
    Explanation, FilterFailure, NodeVerdict, Placement, Refusal, Remedy, ScorePart, Scored,
};
pub use expression::{Expression, ExpressionError, Operator, Pattern};
pub use kv::{
    Expect, KvCapabilities, KvEntry, KvEvent, KvRange, KvStore, KvWatch, Lease, LeaseId,
    PutOptions, Revision, TransactionOp,
};
pub use labels::Labels;
pub use leader::{Leader, LeaderElection};
pub use name::{
    NameError, NetworkName, NodeId, NodeName, ReservationId, ServiceName, SessionId, WorkloadId,
    WorkloadName,
};
pub use overlay::{
    AttachNetwork, Attachment, NetworkSpec, NetworkStatus, OverlayCapabilities, OverlayNetwork,
    Peer,
};
pub use placement::{
    Availability, Change, Dependency, DependencyKind, HostPort, NodeHealth, NodeState,
    PlacedWorkload, PlacementRequest, PortProtocol, Reservation,
};
pub use platform::Platform;
pub use printable::{is_printable, printable};
pub use quantity::{Bytes, MilliCpu, QuantityError, Resources};
pub use random::{OsRandom, Random, SeededRandom};
pub use repeats::Repeats;
pub use scheduler::Scheduler;
pub use shutdown::Shutdown;
pub use signal::Signal;
pub use stream::{BoxByteStream, BoxFuture, BoxStream, ByteStream, ReadRule, ReadThrough};
pub use timestamp::Timestamp;
pub use topology::TopologySpread;
pub use tunnel::{
    Carrier, CloseReason, IncomingStream, Mandate, PeerIdentity, PendingCarrier, StreamTarget,
    TunnelCapabilities, TunnelListener, TunnelTransport,
};
#[cfg(all(unix, feature = "unix"))]
pub use unix::UnixByteStream;
pub use verdicts::{VerdictIter, VerdictSource, Verdicts};
pub use workload::{
    ExitStatus, PortBinding, RestartPolicy, Workload, WorkloadDetail, WorkloadSpec, WorkloadState,
};
