//! Tunnels.

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
