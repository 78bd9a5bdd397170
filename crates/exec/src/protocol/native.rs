//! `longshore.exec.v1`: byte-exact sessions that can be resumed.
//!
//! Binary messages, one frame each: a type byte and a body; integers big-endian; JSON in UTF-8.
//!
//! | client | body | server | body |
//! | --- | --- | --- | --- |
//! | 01 OPEN | JSON [`Open`] | 81 READY | JSON [`ReadyFrame`] |
//! | 02 RESUME | JSON [`Resume`] | 82 OUTPUT | u64 offset, u8 output (1, 2), bytes |
//! | 03 INPUT | u64 offset, bytes | 83 IN_ACK | u64 next offset that the process has not taken |
//! | 04 IN_EOF | u64 offset | 84 GAP | u64 from, u64 to, u8 cause (1 trimmed, 2 flushed) |
//! | 05 RESIZE | u16 columns, u16 rows | 86 EXIT | JSON [`ExitFrame`] |
//! | 06 SIGNAL | u8 number | 87 NOTICE | JSON [`NoticeFrame`] |
//! | 07 ACK | u64 output offset consumed | 8A PONG | u64 |
//! | 08 DETACH, 09 END | nothing | 85 SNAPSHOT | u64 offset, bytes |
//! | 0A PING | u64 | 88 PACKED | u64 offset, u8 output, u32 length, bytes |
//! | 0B GRANT | u64 connection | | |
//! | 0C TAKE_BACK | nothing | | |
//!
//! One connection writes. The one that opened the session, or resumed it, may GRANT that to another,
//! also while a third has it, and TAKE_BACK; whoever was granted it may pass it on, and it comes back
//! when that one leaves. Others join by OPEN with mode `approve`, for which access control is asked
//! whether they may enter; one with mode `watch` may only look and is granted nothing. The NOTICE
//! `joined` tells the owner a connection's number (`viewer`), `left` that it has gone, `may-write` tells
//! the heir where its input begins (`in_next`), `read-only` who lost the right, or tried to use it
//! without: such a client drops what it typed, and goes on at `in_next` when it may write again. One that
//! was cut meanwhile is told by READY: `in_own` is where the input began to be its own again. A GRANT that is not followed is answered by the NOTICE `not-granted`. In a moderated
//! session nobody approves their own input, by whatever connection, and what waits when the right passes on
//! is dropped. Who asks for it (`people`, of gateways with `people` in READY's `caps`) is told who is here by
//! the NOTICE `here`, at once and at every change: everybody, or, who has leave to look only, who holds the
//! session, who writes, and itself. It is the answer to a GRANT or TAKE_BACK that is followed. END is the owner's, at any time; the heir's ends the process, and leaves its last output and
//! its end for the owner, whose absence is what the grace time counts. INPUT_END is the owner's alone; of
//! an heir it is passed over.
//!
//! Where a session that is ended by somebody or something else does not end within a second, the NOTICE
//! `ending` says so, and why; EXIT comes within ten.
//!
//! OPEN's `cleanup` is what of the command's processes ends with the session: `tree`, `foreground` or
//! `none` ([`Cleanup`](longshore_core::Cleanup)). Less than the server's own needs leave. A server that
//! knows of it says `cleanup` in READY's `caps`; a client that asked and hears nothing of it ends the
//! session again.
//!
//! SNAPSHOT goes to clients that ask for it, of gateways that keep a screen: behind a GAP, and first
//! to who only looks on. Its bytes redraw a terminal, and output goes on at its offset.
//!
//! GAP says that output is gone: it has left the memory, and there is no record to take it from.
//!
//! PACKED is an OUTPUT whose bytes are compressed (DEFLATE, RFC 1951), each by itself, for clients
//! that ask for it (`compress`) of gateways that allow it (`deflate` in READY's `caps`). Offsets,
//! acknowledgements and windows count the bytes as the process wrote them, so a resume is the same
//! with and without. Input is never compressed: it is little, and its length would tell of what was
//! typed. Nor does a frame share a dictionary with others: its length tells only of its own bytes.
//! Still, who can make a program print text of their choice beside a secret, and see how long frames
//! are, may learn of the secret (as in CRIME and BREACH, against TLS and HTTP), so it is an option.
//!
//! Close codes: 1000 done, 4000 protocol, 4001 superseded, 4002 hole in the input, 4003 forbidden,
//! 4004 unknown session or target, 4008 idle, 4009 longest time, 4010 container gone, 4029 limit.

mod body;
#[cfg(feature = "gateway")]
mod codec;
mod frame;
#[cfg(feature = "compression")]
pub(crate) mod pack;

#[cfg(feature = "gateway")]
pub use codec::{NativeDecoder, NativeEncoder, close_code, ready_frame};
pub use {
    body::{ExitFrame, NoticeFrame, Open, OpenMode, PersonFrame, ReadyFrame, Resume},
    frame::{ClientFrame, ServerFrame},
};

/// The word in READY's `caps` for OPEN's `cleanup`.
pub(crate) const CLEANUP: &str = "cleanup";

/// The WebSocket subprotocol's name.
pub const SUBPROTOCOL: &str = "longshore.exec.v1";
