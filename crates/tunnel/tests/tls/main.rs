//! [`TlsTransport`](longshore_tunnel::TlsTransport) over real sockets on loopback.
#![cfg(feature = "tls")]

mod adversary;
mod cluster;
mod conformance;
mod errors;
mod relay;
