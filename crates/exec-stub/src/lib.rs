//! The protocol of the stub: a small static program that owns one exec session inside a container.
//!
//! The Docker API can start a command and carry its bytes. It can't signal it, it can't tell how it
//! ended, and when the caller vanishes it leaves the command running. The stub does these things
//! from inside. `longshore-exec` puts it into the container and talks to it over the exec's own
//! standard streams; this crate is what both sides say, and, with feature `program`, the program.
//!
//! What it is not: a security boundary, or a supervisor that outlives its session.
//!
//! # Frames
//! Both directions: one byte of kind, four bytes of length (big-endian), at most
//! [`LONGEST_PAYLOAD`] bytes of payload. Decoding keeps at most one frame.
//!
//! # Building the program
//! It runs in images with no libraries at all, so it is linked statically:
//!
//! ```text
//! RUSTFLAGS="-C target-feature=+crt-static" cargo build --profile stub \
//!     --package longshore-exec-stub --features program --target x86_64-unknown-linux-gnu
//! ```
//!
//! or `cargo xtask stub`. With a musl target installed, that target needs no flag.

mod decoder;
mod message;
mod opening;

pub use decoder::{Decoder, Message, ProtocolError};
pub use message::{Ending, FromStub, ToStub};
pub use opening::Opening;

/// The longest payload of a frame.
pub const LONGEST_PAYLOAD: usize = 32 * 1024;

/// How many bytes of input may be under way. The program behind the stub may not read them, and the
/// stub must go on reading what follows: signals, sizes, beats.
pub const INPUT_WINDOW: usize = 64 * 1024;

/// How many bytes of output, from both sources together, may be sent before the first
/// [`Room`](ToStub::Room).
pub const OUTPUT_WINDOW: usize = 32 * 1024;

/// The version of this protocol, told by the stub in its first frame.
pub const VERSION: u8 = 3;

/// Said between two frames at least every two seconds.
pub const BEAT: std::time::Duration = std::time::Duration::from_secs(2);

/// Silence that counts as the loss of the other side: five missed beats.
pub const SILENCE: std::time::Duration = std::time::Duration::from_secs(10);
