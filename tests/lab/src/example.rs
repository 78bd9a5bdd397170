//! Example programs, built from the sources under test.

use std::{path::PathBuf, process::Stdio};

use crate::cargo;

/// Builds an example of the workspace with all features, as its tests are built, so that they share what
/// there is already; and says where the program is.
///
/// # Panics
/// When it does not build: then there is nothing to test.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    let output = cargo()
        .args(["build", "--quiet", "--workspace", "--all-features"])
        .args(["--example", name])
        .args(["--message-format", "json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "the {name} example does not build");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the executable")
}
