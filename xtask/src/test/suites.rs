//! The stages that run tests: with nextest where it is installed, else with
//! cargo itself. Always the same packages and features, so that they share what
//! was built.

use serde_json::Value;

use super::counts::Counts;
use super::junit;
use super::servers::Servers;
use crate::{cargo, workspace};

/// Which tests a stage runs: by the name of their target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suite {
    Unit,
    Conformance,
    Lab,
}

pub(crate) fn unit() -> Result<Counts, String> {
    let tests = run(Suite::Unit, &[])?;
    let docs = watched(
        &[
            "test",
            "--workspace",
            "--all-features",
            "--doc",
            "--no-fail-fast",
        ],
        &[],
        &[],
    )?;
    Ok(tests + docs)
}

/// Runs the live suites against servers that they share. Where one can't be started, the suites say
/// that they were skipped.
pub(crate) fn conformance() -> Result<Counts, String> {
    let servers = Servers::start()?;
    let counts = run(Suite::Conformance, servers.environment())?;
    servers.stop()?;
    Ok(counts)
}

pub(crate) fn lab() -> Result<Counts, String> {
    run(Suite::Lab, &[])
}

/// What the tests of a suite find in their environment.
type Environment<'a> = &'a [(String, String)];

fn run(suite: Suite, environment: Environment<'_>) -> Result<Counts, String> {
    if cargo::has("nextest") {
        with_nextest(suite, environment)
    } else {
        with_cargo(suite, environment)
    }
}

fn with_nextest(suite: Suite, environment: Environment<'_>) -> Result<Counts, String> {
    let root = workspace::root();
    let config = root.join("xtask/nextest.toml");
    // In the repository, wherever CARGO_TARGET_DIR points to: nextest's own store.
    let report = root.join("target/nextest/default/xtask.xml");
    let _ = std::fs::remove_file(&report);
    let filter = match suite {
        Suite::Unit => "not (package(longshore-lab) + binary(/^(live|lab)_/))",
        Suite::Conformance => "binary(/^live_/)",
        Suite::Lab => "package(longshore-lab) + binary(/^lab_/)",
    };
    let mut command = cargo::command();
    command.envs(environment.iter().cloned());
    command.args([
        "nextest",
        "run",
        "--workspace",
        "--all-features",
        "--no-fail-fast",
    ]);
    command.args(["--no-tests", "pass", "--filterset", filter]);
    command
        .arg("--tool-config-file")
        .arg(format!("xtask:{}", config.display()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    command.args(["--test-threads", &at_once(suite, cores).to_string()]);
    let status = cargo::run(&mut command)?;
    let Ok(report) = std::fs::read_to_string(&report) else {
        // Nothing was built, or there was nothing to run.
        return Ok(Counts::default().or_failed(status.success()));
    };
    let (counts, lines) = junit::read(&report);
    for line in lines {
        println!("{line}");
    }
    Ok(counts.or_failed(status.success()))
}

fn with_cargo(suite: Suite, environment: Environment<'_>) -> Result<Counts, String> {
    let targets = test_targets(&workspace::metadata()?);
    let chosen = targets
        .iter()
        .filter(|(package, target)| suite_of(package, target) == suite);
    let mut arguments = vec!["test", "--workspace", "--all-features", "--no-fail-fast"];
    if suite == Suite::Unit {
        arguments.extend(["--lib", "--bins"]);
    }
    let before = arguments.len();
    for (_, target) in chosen {
        arguments.extend(["--test", target]);
    }
    if suite != Suite::Unit && arguments.len() == before {
        return Ok(Counts::default());
    }
    // Skips are said on stdout, which the runner hides unless it is not captured.
    let runner: &[&str] = match suite {
        Suite::Unit => &["--show-output"],
        _ => &["--nocapture", "--test-threads", "1"],
    };
    watched(&arguments, runner, environment)
}

fn watched(
    arguments: &[&str],
    runner: &[&str],
    environment: Environment<'_>,
) -> Result<Counts, String> {
    let mut counts = Counts::default();
    let mut command = cargo::command();
    command.envs(environment.iter().cloned());
    command.args(arguments).arg("--").args(runner);
    let status = cargo::run_watched(&mut command, |line| counts.see(line))?;
    Ok(counts.or_failed(status.success()))
}

/// How many tests run beside each other, in quarters: `xtask/nextest.toml` says how many a test takes,
/// one that computes all four. Those with real backends mostly wait for engines: there is place for one
/// more than there are cores. With two and three per core tests were late whose patience is for a machine
/// that has a core for them. Which may not run beside others is in `.config/nextest.toml`.
fn at_once(suite: Suite, cores: usize) -> usize {
    let places = match suite {
        Suite::Unit => cores,
        Suite::Conformance | Suite::Lab => cores + 1,
    };
    4 * places
}

fn suite_of(package: &str, target: &str) -> Suite {
    if package == "longshore-lab" || target.starts_with("lab_") {
        Suite::Lab
    } else if target.starts_with("live_") {
        Suite::Conformance
    } else {
        Suite::Unit
    }
}

/// Package and name of every integration test.
fn test_targets(metadata: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        for target in package["targets"].as_array().into_iter().flatten() {
            let kinds = target["kind"].as_array().into_iter().flatten();
            if kinds.filter_map(Value::as_str).any(|kind| kind == "test") {
                let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                found.push((name(&package["name"]), name(&target["name"])));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_beside_others_also_on_one_core() {
        for suite in [Suite::Conformance, Suite::Lab] {
            assert!(at_once(suite, 1) > 4, "{suite:?}");
        }
        assert_eq!(at_once(Suite::Unit, 2), 8, "in quarters");
    }

    #[test]
    fn a_target_belongs_to_a_suite_by_its_name() {
        assert_eq!(suite_of("longshore", "lab_cluster"), Suite::Lab);
        assert_eq!(suite_of("longshore-lab", "shims"), Suite::Lab);
        assert_eq!(
            suite_of("longshore-engine", "live_docker"),
            Suite::Conformance
        );
        assert_eq!(suite_of("longshore-core", "conformance"), Suite::Unit);
    }
}
