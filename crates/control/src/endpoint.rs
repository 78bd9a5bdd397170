//! The Docker-compatible endpoint: one API for the whole cluster, for the stock `docker` client and
//! `docker-compose`.
//!
//! [`router`] gives an [`axum::Router`] to mount in a program's own server; [`Listener`] and
//! [`serve`] serve it on a unix socket, on TCP with mutual TLS, or on TCP at loopback. Requests are
//! authorized by the plane's [`Authorizer`](longshore_core::Authorizer) and recorded by its
//! [`AuditSink`](longshore_core::AuditSink): a call that changes something or gets into a container
//! is refused when its record can't be written.
//!
//! It is not a Docker engine: lists come from the plane's view, everything about one container goes
//! to the engine that runs it, in the API version of the client as near as that engine speaks it.
//!
//! The API version announced is 1.40, Swarm's; 1.41 is accepted, too, for clients of Docker 20.10's
//! time that don't negotiate. Newer clients negotiate down by themselves.
//!
//! Of several managers that hold an [election](crate::ControlPlaneBuilder::election), the ones that
//! don't lead pass calls on to the one that does.
//!
//! Besides Docker's routes there are `GET` and `POST /longshore/v1/explain` (why a container is
//! where it is; where one would go, or why nowhere), `GET /longshore/v1/nodes`,
//! `GET /longshore/v1/stacks` with `PUT` and `DELETE` of single ones, and `/longshore/v1/pending`:
//! `POST` makes and starts a container as soon as a node can take it, `GET` lists what waits and why,
//! `DELETE` of a single one gives it up.

mod call;
mod containers;
mod create;
mod described;
mod error;
mod events;
mod exec;
mod explain;
mod fan;
mod guard;
mod hijack;
mod images;
mod info;
mod inspect;
mod list;
mod listen;
mod networks;
mod options;
mod pending;
mod proxy;
mod prune;
mod query;
mod record;
mod replica;
mod route;
mod service;
mod stacks;
mod status;
mod system;
mod text;
mod upload;
mod version;
mod volumes;
mod what_if;

#[cfg(feature = "tls")]
pub use self::listen::{TlsFiles, TlsReload};
pub use self::{
    listen::{ListenAddress, ListenOptions, Listener, serve},
    options::EndpointOptions,
    service::{EndpointService, router},
};

use self::{
    create::{PlatformCache, StraySearches},
    described::Descriptions,
    exec::ExecOwners,
    list::ListCache,
    pending::PendingWork,
    replica::LastPrimary,
};
use crate::ControlPlane;

/// A request or answer body.
type Payload = longshore_core::http::Body;

/// What all requests share.
#[derive(Debug)]
struct Shared {
    plane: ControlPlane,
    options: EndpointOptions,
    list: ListCache,
    descriptions: Descriptions,
    execs: ExecOwners,
    primary: LastPrimary,
    platforms: PlatformCache,
    strays: StraySearches,
    pending: PendingWork,
}
