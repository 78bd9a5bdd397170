//! Whatever is shown as a token is refused.
#![no_main]

#[path = "../../crates/exec/tests/fuzz/bodies.rs"]
#[allow(dead_code, reason = "each target takes one of the bodies")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::token(bytes));
