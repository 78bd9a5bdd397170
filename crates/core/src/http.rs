//! HTTP/1.1 over any [`Connector`](crate::Connector): what the Docker API needs of HTTP.
//!
//! [`HttpClient`] keeps connections and reuses them; [`HttpClient::upgrade`] is the small path of
//! our own for hijacked streams (exec start, attach), which hands back the raw stream including the
//! bytes that were read behind the response head. [`Demultiplexer`] takes such a stream apart where
//! Docker multiplexes two outputs into it.

mod client;
mod demultiplexer;
mod meter;
mod pool;
mod upgrade;

pub use client::{Body, HttpClient, empty_body, full_body, read_body, stream_body};
pub use demultiplexer::Demultiplexer;
pub use upgrade::Upgraded;
