//! Byte streams to engines: unix sockets, TCP, mutual TLS, and services in the same process.

mod place;
mod service;
mod sniff;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(unix)]
mod unix;
mod url;

pub use service::{ServiceConnector, duplex_connector};
pub use tcp::TcpConnector;
#[cfg(feature = "tls")]
pub use tls::{TlsConnector, TlsIdentity, TlsSettings};
#[cfg(unix)]
pub use unix::UnixConnector;
pub use url::{ConnectOptions, EngineUrl, connect};
