//! The examples: all are built, and those that say so are run.

use std::{process::Command, time::Duration};

use super::counts::Counts;
use crate::{cargo, workspace};

/// Builds all examples, runs the reference program's demonstration exactly as
/// the README says, and every example with a line `//! xtask: run [ARGUMENTS]`.
pub(crate) fn run() -> Result<Counts, String> {
    let mut build = cargo::command();
    // As the tests are built, so that nothing is built twice.
    build.args(["build", "--workspace", "--all-features", "--examples"]);
    let built = cargo::run(&mut build)?.success();
    let mut counts = Counts::check(built);

    let root = workspace::root().join("examples");
    if root.join("platform/main.rs").exists() || root.join("platform.rs").exists() {
        counts = counts + report("platform", platform());
    }
    for (name, arguments) in marked(&root) {
        let ran = match built {
            true => {
                let mut command = Command::new(longshore_lab::example(&name));
                command.args(&arguments).current_dir(workspace::root());
                cargo::run_limited(&mut command, LIMIT).map(ended_well)
            }
            false => Err(format!("{name} is not built")),
        };
        counts = counts + report(&name, ran);
    }
    Ok(counts)
}

fn platform() -> Result<bool, String> {
    let mut build = cargo::command();
    build.args(BUILD);
    if !cargo::run(&mut build)?.success() {
        return Ok(false);
    }
    let mut command = cargo::command();
    command.args(["run", "--release", "--example", "platform", "--", "demo"]);
    cargo::run_limited(&mut command, LIMIT).map(ended_well)
}

fn ended_well(status: std::process::ExitStatus) -> bool {
    status.success()
}

fn report(name: &str, result: Result<bool, String>) -> Counts {
    let success = result.unwrap_or_else(|error| {
        eprintln!("{error}");
        false
    });
    println!(
        "example {name} ... {}",
        if success { "ok" } else { "FAILED" }
    );
    Counts::check(success)
}

/// Name and arguments of each example that asks to be run.
fn marked(directory: &std::path::Path) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for path in workspace::files(directory) {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let Some(arguments) = text
            .lines()
            .find_map(|line| line.strip_prefix("//! xtask: run"))
        else {
            continue;
        };
        // examples/NAME.rs or examples/NAME/main.rs
        let main = path.file_name().is_some_and(|name| name == "main.rs");
        let named = if main {
            path.parent().and_then(|p| p.file_name())
        } else {
            path.file_stem()
        };
        let name = named.unwrap_or_default().to_string_lossy().into_owned();
        found.push((
            name,
            arguments.split_whitespace().map(str::to_owned).collect(),
        ));
    }
    found
}

/// Builds the reference program as the README says.
pub(super) const BUILD: &[&str] = &["build", "--release", "--example", "platform"];

/// An example that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(300);
