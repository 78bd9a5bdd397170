//! [`TlsTransport`](longshore_tunnel::TlsTransport) over real sockets on loopback.
#![cfg(feature = "tls")]
#![expect(clippy::unwrap_used, reason = "tests may be blunt, their helpers too")]

mod adversary;
mod cluster;
mod conformance;
mod errors;
mod relay;
