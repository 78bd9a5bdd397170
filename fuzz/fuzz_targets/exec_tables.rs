//! Whatever an engine shows as processes is looked at or passed over.
#![no_main]

#[path = "../../crates/exec/tests/fuzz/tables.rs"]
mod tables;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tables::table(bytes);
});
