//! The page of the web terminal: built with npm, and its own tests.

use std::path::Path;
use std::process::{Command, Stdio};

use super::counts::Counts;
use crate::{cargo, workspace};

/// Builds what the feature `web` embeds, and runs the tests of its scripts. Without npm the crate
/// compiles without the page, and the tests in a browser say that they were skipped.
pub(crate) fn run() -> Result<Counts, String> {
    let folder = workspace::root().join("crates/exec/web");
    if longshore_lab::find_program("npm").is_none() {
        return Ok(Counts::skip(
            "page",
            "npm is not installed (apt-get install npm)",
        ));
    }
    // Already as the lock file says: works without a registry.
    let installed = std::fs::read(folder.join("node_modules/.package-lock.json")).is_ok();
    if !installed || !npm(&folder, &["ls", "--all"])? {
        let installed = npm(&folder, &["ci"])?;
        if !installed {
            return Ok(Counts::failed());
        }
    }
    let built = Counts::check(npm(&folder, &["run", "--silent", "build"])?);
    Ok(built + Counts::check(npm(&folder, &["test", "--silent"])?))
}

fn npm(folder: &Path, arguments: &[&str]) -> Result<bool, String> {
    let mut command = Command::new("npm");
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null());
    Ok(cargo::run(&mut command)?.success())
}
