//! `cargo xtask bench`: our figures next to a peer's, taken in the same run.

use std::process::ExitCode;

use crate::{cargo, workspace};

/// Measure a capability against its peer
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// What to measure: the name of a file in benches/; all of them are listed when it is absent
    capability: Option<String>,
    /// One JSON object per measurement on stdout instead of a table
    #[arg(long)]
    json: bool,
    /// Fewer and shorter rounds: good for a look, not for a claim
    #[arg(long)]
    quick: bool,
    /// Only this case; may be repeated
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let known = capabilities();
    let Some(capability) = &arguments.capability else {
        println!("capabilities: {}", known.join(", "));
        return Ok(ExitCode::SUCCESS);
    };
    if !known.contains(capability) {
        return Err(format!(
            "no bench {capability:?}; there are: {}",
            known.join(", ")
        ));
    }
    let mut command = cargo::command();
    command.args([
        "bench",
        "--package",
        "longshore",
        "--all-features",
        "--bench",
        capability,
    ]);
    command.arg("--");
    command.args(arguments.json.then_some("--json"));
    command.args(arguments.quick.then_some("--quick"));
    for case in &arguments.case {
        command.args(["--case", case]);
    }
    cargo::run_as_task(&mut command)
}

/// The benches of the root package, by file name.
fn capabilities() -> Vec<String> {
    let entries = std::fs::read_dir(workspace::root().join("benches"));
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

const EXAMPLES: &str = "\
Each measurement gives: capability, case, ours, peer, peer_name, unit, ratio
(ours divided by peer). Progress goes to stderr.

Examples:
  cargo xtask bench                                what there is to measure
  cargo xtask bench endpoint                       a table
  cargo xtask bench endpoint --quick --case inspect
  cargo xtask bench endpoint --json > endpoint.jsonl";
