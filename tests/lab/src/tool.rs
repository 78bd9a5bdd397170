//! Running the system's own tools (`ip`, `nft`, `nsenter` …).

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::LabError;

/// The absolute path of `program`, also when `/usr/sbin` is not in `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}

/// A command for `program`, found as in [`find`].
pub(crate) fn command(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|| PathBuf::from(program)))
}

/// Runs to the end and returns stdout; a failure becomes an error with stderr.
pub(crate) fn run(command: &mut Command) -> Result<String, LabError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| LabError::io(format!("cannot run {command:?}"), e))?;
    checked(command, &output)
}

/// As [`run`], with `input` on stdin.
pub(crate) fn run_with_input(command: &mut Command, input: &str) -> Result<String, LabError> {
    let failed = |e| LabError::io("cannot run a tool", e);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| LabError::io(format!("cannot run {command:?}"), e))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that refuses early closes its stdin: its message is worth more than EPIPE.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    checked(command, &output)
}

fn checked(command: &Command, output: &Output) -> Result<String, LabError> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::new(format!(
        "{command:?} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}
