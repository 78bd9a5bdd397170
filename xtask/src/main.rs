//! longshore's own tasks: everything a contributor or CI runs.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

mod bench;
mod cargo;
mod lab;
mod soak;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// longshore's own tasks
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run every check: format, lints, docs, tests, real engines, examples, packages
    Test(test::Arguments),
    /// Run the quick checks only: format, lints, docs, tidy
    Check,
    /// Start, enter and remove a lab of several Docker hosts on this machine (needs root)
    Lab(lab::Arguments),
    /// Measure a capability against its peer, on this machine
    Bench(bench::Arguments),
    /// Run a mixed load for a while, and fail if anything has grown (needs root)
    Soak(soak::Arguments),
    /// Check what the compiler cannot: who depends on whom, who asks the OS for
    /// time or randomness, file sizes, stray paths and secrets
    Tidy,
    /// Build the package of every published crate
    Package,
    /// Build the static program that exec sessions run inside containers, and print where it is
    Stub,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Test(arguments) => test::run(&arguments),
        Task::Check => test::run(&test::Arguments::stages(&["fmt", "clippy", "docs", "tidy"])),
        Task::Lab(arguments) => lab::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Soak(arguments) => soak::run(&arguments),
        Task::Tidy => tidy::run(),
        Task::Stub => longshore_lab::build_stub(&workspace::root()).map(|program| {
            println!("{}", program.display());
            ExitCode::SUCCESS
        }),
        Task::Package => test::run(&test::Arguments::stages(&["package"])),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask test                       everything CI runs (first installs what is missing, as root)
  cargo xtask test --stage unit          one stage of it
  cargo xtask lab up --hosts 3 --nat 1   three Docker hosts, the last one behind NAT
  cargo xtask bench endpoint --json      one JSON object per measurement";
