//! What an embedder meets first: a new program with `longshore` as its only
//! dependency and default features.

use std::time::{Duration, Instant};

use super::counts::Counts;
use crate::{cargo, workspace};

/// Builds such a program from nothing, and holds it to its time.
pub(crate) fn run() -> Result<Counts, String> {
    let root = workspace::root();
    let directory = root.join("target/xtask-fresh");
    let failed = |e: std::io::Error| format!("cannot write {}: {e}", directory.display());
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(directory.join("src")).map_err(failed)?;
    let manifest = MANIFEST.replace("ROOT", &root.display().to_string());
    std::fs::write(directory.join("Cargo.toml"), manifest).map_err(failed)?;
    std::fs::write(directory.join("src/main.rs"), PROGRAM).map_err(failed)?;
    // The versions that everything else was tested with.
    std::fs::copy(root.join("Cargo.lock"), directory.join("Cargo.lock")).map_err(failed)?;

    let mut fetch = cargo::command();
    fetch.args(["fetch", "--quiet"]).current_dir(&directory);
    if !cargo::run(&mut fetch)?.success() {
        return Ok(Counts::failed());
    }
    let mut build = cargo::command();
    build
        .arg("build")
        .current_dir(&directory)
        .env("CARGO_TARGET_DIR", directory.join("target"));
    let started = Instant::now();
    let built = cargo::run(&mut build)?.success();
    let took = started.elapsed();
    println!(
        "a fresh program: {:.0} s of at most {}",
        took.as_secs_f64(),
        LIMIT.as_secs()
    );
    let _ = std::fs::remove_dir_all(&directory);
    Ok(Counts::check(built) + Counts::check(took <= LIMIT))
}

/// On two cores, without the downloads.
const LIMIT: Duration = Duration::from_secs(120);

const MANIFEST: &str = "\
[package]
name = \"fresh\"
version = \"0.0.0\"
edition = \"2024\"

[dependencies]
longshore = { path = \"ROOT\" }

[workspace]
";

const PROGRAM: &str = "\
use longshore as _;

fn main() {}
";
