//! The bytes on a carrier.
//!
//! Every frame is an eight-byte header (kind, flags, payload length, stream id; big-endian) and a
//! payload. A length has 16 bits, so nothing that a peer can write names more than 64 KiB; data is
//! held to 16 KiB. Kinds from 0x80 on may be skipped by whoever does not know them, kinds below
//! must be understood.
//!
//! | kind | stream | payload | flags |
//! |---|---|---|---|
//! | HELLO 0x01 | 0 | magic, lowest and highest version, limits; more may follow | |
//! | OPEN 0x02 | new | target length (2), target, first bytes | FIN |
//! | DATA 0x03 | open | bytes | FIN |
//! | CREDIT 0x04 | open | bytes consumed since the last one (4), window (4) | |
//! | RESET 0x05 | open | code (2) | |
//! | PING 0x06, PONG 0x07 | 0 | nonce (8) | |
//! | GOAWAY 0x08 | 0 | code (2), last stream id (4), text | |

mod code;
mod decoder;
mod hello;

use bytes::{BufMut, BytesMut};

pub use code::{GoAwayCode, ResetCode};
pub use decoder::{Decoder, FrameError, Item};
pub use hello::Hello;

/// The largest payload of a DATA frame.
pub const MAX_DATA: usize = 16 * 1024;

pub(crate) const HEADER: usize = 8;
/// The payload of a full DATA frame as this side sends it: with its header it fills one TLS record.
pub(crate) const SENT_DATA: usize = MAX_DATA - HEADER;
pub(crate) const MAX_TARGET: usize = 512;
pub(crate) const MAX_TEXT: usize = 256;
pub(crate) const FIN: u8 = 0x01;

pub(crate) mod kind {
    pub(crate) const HELLO: u8 = 0x01;
    pub(crate) const OPEN: u8 = 0x02;
    pub(crate) const DATA: u8 = 0x03;
    pub(crate) const CREDIT: u8 = 0x04;
    pub(crate) const RESET: u8 = 0x05;
    pub(crate) const PING: u8 = 0x06;
    pub(crate) const PONG: u8 = 0x07;
    pub(crate) const GOAWAY: u8 = 0x08;
    /// The first kind that may be skipped.
    pub(crate) const SKIPPABLE: u8 = 0x80;
}

/// The header of a frame. `length` is at most [`MAX_DATA`] or a small constant in every caller.
pub(crate) fn header(kind: u8, flags: u8, length: usize, stream: u32) -> [u8; HEADER] {
    debug_assert!(length <= usize::from(u16::MAX));
    let length = (length as u16).to_be_bytes();
    let stream = stream.to_be_bytes();
    [
        kind, flags, length[0], length[1], stream[0], stream[1], stream[2], stream[3],
    ]
}

pub(crate) fn put_credit(out: &mut BytesMut, stream: u32, consumed: u32, window: u32) {
    out.put_slice(&header(kind::CREDIT, 0, 8, stream));
    out.put_u32(consumed);
    out.put_u32(window);
}

pub(crate) fn put_reset(out: &mut BytesMut, stream: u32, code: ResetCode) {
    out.put_slice(&header(kind::RESET, 0, 2, stream));
    out.put_u16(code.to_wire());
}

pub(crate) fn put_ping(out: &mut BytesMut, nonce: u64) {
    out.put_slice(&header(kind::PING, 0, 8, 0));
    out.put_u64(nonce);
}

pub(crate) fn put_pong(out: &mut BytesMut, nonce: u64) {
    out.put_slice(&header(kind::PONG, 0, 8, 0));
    out.put_u64(nonce);
}

pub(crate) fn put_go_away(out: &mut BytesMut, code: GoAwayCode, last: u32, text: &str) {
    let text = clip(text, MAX_TEXT);
    out.put_slice(&header(kind::GOAWAY, 0, 6 + text.len(), 0));
    out.put_u16(code.to_wire());
    out.put_u32(last);
    out.put_slice(text.as_bytes());
}

/// The OPEN header up to, and not including, the first bytes.
pub(crate) fn put_open(out: &mut BytesMut, stream: u32, target: &str, first: usize, flags: u8) {
    out.put_slice(&header(kind::OPEN, flags, 2 + target.len() + first, stream));
    out.put_u16(target.len() as u16);
    out.put_slice(target.as_bytes());
}

/// The longest prefix of at most `limit` bytes that is still text.
pub(crate) fn clip(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
