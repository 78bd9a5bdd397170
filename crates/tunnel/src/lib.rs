//! Reaching nodes: authenticated carriers that hold many streams.
//!
//! A *carrier* is one connection between two peers who know who the other is; a *stream* is one
//! byte stream inside it, opened by either side. So a node behind NAT dials out once, and the
//! control plane opens streams to its engine through that connection: nothing listens on the node.
//!
//! * `TlsTransport`: TCP with mutual TLS 1.3, between machines (feature `tls`, on by default),
//!   with the certificates for it in `pki`;
//! * [`MemoryTransport`]: the same carriers within one process, for tests and simulations;
//! * [`MuxCarrier`]: a carrier over any byte stream whose peer you have authenticated yourself;
//! * [`Mux`]: the protocol alone, as a state machine without sockets, tasks or a clock.
//!
//! Streams are flow-controlled one by one, with a bound on the memory of all together, so that one
//! that is not read holds up no other. Half-close works in both directions. When a carrier ends,
//! its streams end with an error and never with a clean end of file. A peer that stops answering is
//! found within 15 seconds, or 3 and two round trips while something waits for it. Whatever a peer
//! can send is bounded: lengths, streams, credit, floods.
//!
//! It is not an agent (it does not dial again: see `longshore-agent`), not a public reverse proxy,
//! and it knows no engine.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use longshore_core::{
//!     Carrier, Clock, NodeId, StreamTarget, SystemClock, TunnelListener, TunnelTransport,
//! };
//! use longshore_tunnel::{MemoryNetwork, MemoryTransport};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
//! let network = MemoryNetwork::new();
//! let plane = MemoryTransport::new(&network, NodeId::new("plane")?, Arc::clone(&clock));
//! let agent = MemoryTransport::new(&network, NodeId::new("node-1")?, clock);
//!
//! // The node dials out and answers what is asked of it.
//! let listener = plane.listen(&"plane:443".parse()?).await?;
//! tokio::spawn(async move {
//!     let carrier = agent.dial(&"plane:443".parse()?).await?;
//!     while let Ok(mut incoming) = carrier.accept().await {
//!         let mut question = String::new();
//!         incoming.stream.read_to_string(&mut question).await?;
//!         incoming.stream.write_all(format!("{question}? OK").as_bytes()).await?;
//!         incoming.stream.shutdown().await?;
//!     }
//!     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
//! });
//!
//! // The control plane asks through the connection that the node made. A handshake may be slow:
//! // in a real program it runs in a task of its own.
//! let carrier = listener.accept().await?.handshake().await?;
//! assert_eq!(carrier.peer().node.as_str(), "node-1");
//! let mut stream = carrier.open(&StreamTarget::Engine).await?;
//! stream.write_all(b"ping").await?;
//! stream.shutdown().await?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer).await?;
//! assert_eq!(answer, "ping? OK");
//!
//! carrier.close("done").await;
//! # Ok(())
//! # }
//! ```

mod carrier;
mod driver;
mod frame;
mod memory;
mod mux;
#[cfg(feature = "tls")]
pub mod pki;
mod stream;
#[cfg(feature = "tls")]
mod tls;

pub use carrier::MuxCarrier;
pub use frame::{Decoder, FrameError, GoAwayCode, Hello, Item, MAX_DATA, ResetCode};
pub use memory::{MemoryNetwork, MemoryTransport};
pub use mux::{Event, Mux, MuxOptions, OpenError, ReadOutcome, Side, StreamError};
#[cfg(feature = "tls")]
pub use tls::{ExpectedPeer, TlsOptions, TlsTransport};
