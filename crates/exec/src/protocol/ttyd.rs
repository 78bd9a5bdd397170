//! The protocol of ttyd's web page (1.7.7): a type byte and a body, in binary messages.

mod page;

pub use page::{TtydDecoder, TtydEncoder, TtydHello};

/// The WebSocket subprotocol's name.
pub const SUBPROTOCOL: &str = "tty";
