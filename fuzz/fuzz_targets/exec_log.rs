//! Whatever stands in a record's log is read the same wherever it is cut.
#![no_main]

#[path = "../../crates/exec/tests/fuzz/streams.rs"]
#[allow(dead_code, reason = "each target takes one of the bodies")]
mod streams;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streams::log(bytes));
