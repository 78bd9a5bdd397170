//! Whatever is shown as a token is refused.
#![no_main]

#[path = "../../crates/exec/tests/fuzz/tokens.rs"]
mod tokens;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tokens::token(bytes));
