//! Whatever is observed, in whatever order, the index stays whole and answers agree.
#![no_main]

#[path = "../../crates/sched/tests/fuzz/bodies.rs"]
#[allow(dead_code, reason = "each target takes one of the bodies")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::changes(bytes));
