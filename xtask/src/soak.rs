//! `cargo xtask soak`: a mixed load for as long as one likes, and what is left of it.

use std::process::ExitCode;

use crate::cargo;

/// Run a mixed load for a while, and fail if anything has grown
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// What is soaked: exec, 200 sessions on a real engine at a time
    #[arg(value_parser = ["exec"])]
    capability: String,
    /// For how long, after one round to warm up
    #[arg(long, default_value_t = 10, value_name = "N")]
    minutes: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let Arguments {
        capability,
        minutes,
    } = arguments;
    let suite = format!("lab_{capability}");
    let mut command = cargo::command();
    command
        .args(["test", "--package", "longshore", "--all-features"])
        .args(["--test", &suite, "--", "--nocapture", "soak::"])
        .env("LONGSHORE_SOAK_SECONDS", (minutes * 60).to_string());
    cargo::run_as_task(&mut command)
}

const EXAMPLES: &str = "\
Needs root and a lab's programs, as `cargo xtask lab` says; without, it says that it was skipped. The
same runs for twenty seconds among the tests.

Examples:
  cargo xtask soak exec                ten minutes
  cargo xtask soak exec --minutes 60   an hour";
