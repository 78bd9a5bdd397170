//! Whatever text comes, an expression is accepted or refused with a place in it, and matching ends.
#![no_main]

#[path = "../../crates/sched/tests/fuzz/bodies.rs"]
#[allow(dead_code, reason = "each target takes one of the bodies")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::expression(bytes));
