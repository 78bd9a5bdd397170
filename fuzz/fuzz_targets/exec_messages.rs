//! Whatever a client sends in whichever protocol, and a program prints: told, or refused with a reason.
#![no_main]

#[path = "../../crates/exec/tests/fuzz/bodies.rs"]
#[allow(dead_code, reason = "each target takes one of the bodies")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::messages(bytes));
