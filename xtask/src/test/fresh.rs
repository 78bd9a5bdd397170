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
    let (started, before) = (Instant::now(), children_cpu()?);
    let built = cargo::run(&mut build)?.success();
    let (took, used) = (started.elapsed(), children_cpu()?.saturating_sub(before));
    println!(
        "a fresh program: {:.0} s, {:.0} s of processor time of at most {}",
        took.as_secs_f64(),
        used.as_secs_f64(),
        LIMIT.as_secs()
    );
    let _ = std::fs::remove_dir_all(&directory);
    Ok(Counts::check(built) + Counts::check(used <= LIMIT))
}

/// Processor time of all children that have ended: steadier than the wall clock on a busy machine.
fn children_cpu() -> Result<Duration, String> {
    const PATH: &str = "/proc/self/stat";
    let stat = std::fs::read_to_string(PATH).map_err(|e| format!("cannot read {PATH}: {e}"))?;
    // Behind the program's name in parentheses: state is the 3rd field, cutime and cstime are the
    // 16th and 17th, in hundredths of a second (proc(5)).
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields
        .split_whitespace()
        .skip(13)
        .take(2)
        .map(str::parse::<u64>)
        .sum::<Result<u64, _>>()
        .map_err(|e| format!("{PATH} is not understood: {e}"))?;
    Ok(Duration::from_millis(ticks * 10))
}

/// What fits into 120 s on two cores, without the downloads.
const LIMIT: Duration = Duration::from_secs(240);

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
