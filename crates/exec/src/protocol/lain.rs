//! LAIN Entry's wire, as its stock clients speak it.
//!
//! Protobuf messages (package `message`) of two fields, `msgType` (varint) and `content` (bytes), in
//! either direction; with `?method=web` the same as JSON, `content` in base64. What the server sends
//! is always in binary messages; what clients send is taken from text and binary ones alike, because
//! the stock client puts protobuf into text messages.
//!
//! There are no acknowledgements: a flood is followed by pings of the WebSocket, each with a PING right
//! behind it, whose pongs say how far it has come.

mod decode;
mod encode;
mod text;
mod wire;

pub use self::{
    decode::LainDecoder,
    encode::{LainEncoder, Visit},
    text::LainText,
    wire::{LainFraming, WebHello},
};

/// The longest content of one message: it fits into one TLS record.
pub const LONGEST_CONTENT: usize = 10_240;
