//! `cargo xtask test`: every check, in stages.

mod ahead;
mod consul;
mod counts;
mod examples;
mod fresh;
mod install;
mod junit;
mod page;
mod servers;
mod suites;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::{cargo, tidy, workspace};
use ahead::Ahead;
use counts::Counts;

/// Run every check: format, lints, docs, tests, real engines, examples, packages
#[derive(Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only this stage; may be repeated
    #[arg(long = "stage", value_name = "NAME")]
    stages: Vec<String>,
    /// List the stages and end
    #[arg(long)]
    list: bool,
    /// Install nothing, even as root
    #[arg(long)]
    no_install: bool,
}

impl Arguments {
    /// These stages and nothing installed, for the shorter tasks.
    pub(crate) fn stages(names: &[&str]) -> Self {
        let stages = names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            stages,
            list: false,
            no_install: true,
        }
    }
}

struct Stage {
    name: &'static str,
    what: &'static str,
    run: fn() -> Result<Counts, String>,
    /// Whether it runs things that Debian packages bring.
    packages: bool,
    /// Whether it mostly waits, for leases and engines.
    waits: bool,
}

const EXAMPLES_STAGE: &str = "examples";
const FRESH_STAGE: &str = "fresh";

const STAGES: &[Stage] = &[
    Stage {
        name: "fmt",
        what: "rustfmt",
        run: format,
        packages: false,
        waits: false,
    },
    Stage {
        name: "clippy",
        what: "lints, as errors",
        run: clippy,
        packages: false,
        waits: false,
    },
    Stage {
        name: "docs",
        what: "documentation, without warnings",
        run: docs,
        packages: false,
        waits: false,
    },
    Stage {
        name: "tidy",
        what: "what the compiler cannot check",
        run: tidy_up,
        packages: false,
        waits: false,
    },
    Stage {
        name: "unit",
        what: "unit, property and doc tests",
        run: suites::unit,
        packages: false,
        waits: false,
    },
    Stage {
        name: "conformance",
        what: "suites against real backends (targets live_*)",
        run: suites::conformance,
        packages: true,
        waits: true,
    },
    Stage {
        name: "lab",
        what: "several real Docker hosts (targets lab_*)",
        run: suites::lab,
        packages: true,
        waits: true,
    },
    Stage {
        name: EXAMPLES_STAGE,
        what: "build and run the examples",
        run: examples::run,
        packages: true,
        waits: false,
    },
    Stage {
        name: "package",
        what: "the package of each crate",
        run: package,
        packages: false,
        waits: false,
    },
    Stage {
        name: FRESH_STAGE,
        what: "a new program with longshore as its only dependency, built from nothing",
        run: fresh::run,
        packages: false,
        waits: false,
    },
];

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    if arguments.list {
        for stage in STAGES {
            println!("{:12} {}", stage.name, stage.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(&arguments.stages)?;
    let mut results = Vec::new();
    if chosen.iter().any(|stage| stage.packages) {
        let started = Instant::now();
        println!("\n━━ install: what the suites need from Debian's packages");
        results.push((
            "install",
            finish("install", started, install::run(arguments.no_install)),
        ));
        let started = Instant::now();
        println!("\n━━ page: the web terminal's, from npm, before it is compiled in");
        results.push(("page", finish("page", started, page::run())));
    }
    let (mut building, mut fresh) = (None, None);
    let for_examples = waiting_before(EXAMPLES_STAGE, &chosen).first().copied();
    // When that build is over, for the most part.
    let for_fresh = waiting_before(FRESH_STAGE, &chosen).last().copied();
    for stage in chosen {
        println!("\n━━ {}: {}", stage.name, stage.what);
        let started = Instant::now();
        if for_examples == Some(stage.name) {
            building = Some(Ahead::build(examples::BUILD));
        }
        if for_fresh == Some(stage.name) {
            fresh = Some(Ahead::stage(FRESH_STAGE));
        }
        if let Some(building) = building.take_if(|_| stage.name == EXAMPLES_STAGE) {
            building.finish();
        }
        let done = fresh.take_if(|_| stage.name == FRESH_STAGE);
        let result = match done.and_then(|ahead| ahead.result(FRESH_STAGE)) {
            Some(counts) => Ok(counts),
            None => (stage.run)(),
        };
        results.push((stage.name, finish(stage.name, started, result)));
    }
    Ok(summarise(&results))
}

fn choose(names: &[String]) -> Result<Vec<&'static Stage>, String> {
    let known: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!(
            "no stage {unknown:?}; there are: {}",
            known.join(", ")
        ));
    }
    let wanted = |stage: &&Stage| names.is_empty() || names.iter().any(|name| name == stage.name);
    Ok(STAGES.iter().filter(wanted).collect())
}

/// The stages before that one during which the processor has time for what it needs.
fn waiting_before(name: &str, chosen: &[&Stage]) -> Vec<&'static str> {
    let end = chosen.iter().position(|stage| stage.name == name);
    let before = chosen[..end.unwrap_or(0)].iter();
    let waiting = before.filter(|stage| stage.waits);
    waiting.map(|stage| stage.name).collect()
}

/// A stage that could not even run counts as one failure.
fn finish(name: &str, started: Instant, result: Result<Counts, String>) -> (Counts, Duration) {
    let took = started.elapsed();
    let counts = result.unwrap_or_else(|error| {
        eprintln!("{error}");
        Counts::failed()
    });
    println!("━━ {name}: {counts} in {:.1} s", took.as_secs_f64());
    (counts, took)
}

fn summarise(results: &[(&str, (Counts, Duration))]) -> ExitCode {
    let mut total = Counts::default();
    println!("\n━━ summary");
    println!(
        "{:12} {:>7} {:>7} {:>8} {:>9}",
        "stage", "passed", "failed", "skipped", "seconds"
    );
    for (name, (counts, took)) in results {
        let Counts {
            passed,
            failed,
            skipped,
        } = counts;
        println!(
            "{name:12} {passed:>7} {failed:>7} {skipped:>8} {:>9.1}",
            took.as_secs_f64()
        );
        total = total + *counts;
    }
    println!("\n{total}");
    if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn format() -> Result<Counts, String> {
    if !cargo::has("fmt") {
        return Ok(Counts::skip(
            "fmt",
            "rustfmt is not installed (rustup component add rustfmt)",
        ));
    }
    let status = cargo::run(cargo::command().args(["fmt", "--all", "--", "--check"]))?;
    Ok(Counts::check(status.success()))
}

fn clippy() -> Result<Counts, String> {
    if !cargo::has("clippy") {
        return Ok(Counts::skip(
            "clippy",
            "clippy is not installed (rustup component add clippy)",
        ));
    }
    let mut command = cargo::command();
    command.args(["clippy", "--workspace", "--all-targets", "--all-features"]);
    command.args(["--", "--deny", "warnings"]);
    Ok(Counts::check(cargo::run(&mut command)?.success()))
}

fn docs() -> Result<Counts, String> {
    let mut command = cargo::command();
    command.args(["doc", "--workspace", "--no-deps", "--all-features"]);
    command.env("RUSTDOCFLAGS", "--deny warnings");
    Ok(Counts::check(cargo::run(&mut command)?.success()))
}

fn tidy_up() -> Result<Counts, String> {
    let problems = tidy::problems()?;
    for problem in &problems {
        println!("{problem}");
    }
    Ok(Counts::check(problems.is_empty()))
}

/// All published crates at once, because they depend on each other.
fn package() -> Result<Counts, String> {
    let mut command = cargo::command();
    // Unverified: that the sources compile is what the other stages show.
    command.args(["package", "--workspace", "--no-verify", "--allow-dirty"]);
    for name in tidy::unpublished(&workspace::metadata()?) {
        command.args(["--exclude", &name]);
    }
    Ok(Counts::check(cargo::run(&mut command)?.success()))
}

const EXAMPLES: &str = "\
As root, what is missing from Debian's packages is listed and installed first.
Without root it is named, and the suites that need it are counted as skipped.
All stages run even if one fails. The last line reads `N passed, N failed, N skipped`.

Examples:
  cargo xtask test
  cargo xtask test --list
  cargo xtask test --stage fmt --stage clippy
  cargo xtask test --stage lab --no-install";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, names: &[&str], waiting: &[&str]) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(waiting_before(name, &choose(&names).unwrap()), waiting);
    }

    #[test]
    fn stages_that_wait_leave_time_for_what_comes_later() {
        check(EXAMPLES_STAGE, &[], &["conformance", "lab"]);
        check(FRESH_STAGE, &[], &["conformance", "lab"]);
        check(EXAMPLES_STAGE, &["lab", "examples"], &["lab"]);
    }

    #[test]
    fn nothing_is_done_ahead_that_is_not_wanted_or_never_waited_for() {
        check(EXAMPLES_STAGE, &["conformance", "lab"], &[]);
        check(EXAMPLES_STAGE, &["unit", "examples"], &[]);
        check(FRESH_STAGE, &["fresh"], &[]);
    }
}
