//! Whatever a stub says or is told is read as it is written.
#![no_main]

#[path = "../../crates/exec/tests/fuzz/streams.rs"]
#[allow(dead_code, reason = "each target takes one of the bodies")]
mod streams;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streams::stub(bytes));
