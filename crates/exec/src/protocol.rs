//! The wire protocols, as codecs without I/O: what comes in becomes a [`Command`], what the session
//! tells becomes messages. Each is total: any bytes decode to a command or to a refusal with a close
//! code and a reason.

#[cfg(feature = "gateway")]
mod codec;
#[cfg(feature = "gateway")]
pub mod kubernetes;
#[cfg(feature = "gateway")]
pub mod lain;
pub mod native;
#[cfg(feature = "gateway")]
pub mod ttyd;

#[cfg(feature = "gateway")]
use codec::{aside, ending, is_shown};

#[cfg(feature = "gateway")]
pub use crate::utf8::Utf8Tail;
#[cfg(feature = "gateway")]
pub use codec::{Closing, Command, Decoder, Encoder, Incoming, Outgoing, Refusal};
