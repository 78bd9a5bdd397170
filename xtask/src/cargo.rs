//! Running cargo and other programs in the repository's root.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::workspace;

/// The cargo that runs us, as if it were run by hand.
pub(crate) fn command() -> Command {
    let mut command = longshore_lab::cargo();
    let root = workspace::root();
    command.current_dir(&root).stdin(Stdio::null());
    // All the rest can be built and tested without npm: `crates/exec/build.rs` stops otherwise.
    if !root.join("crates/exec/web/dist/index.html").is_file() {
        command.env("LONGSHORE_WEB_OPTIONAL", "1");
    }
    command
}

/// Stdout of a cargo command; an error with its stderr when it fails.
pub(crate) fn output(arguments: &[&str]) -> Result<String, String> {
    let output = command()
        .args(arguments)
        .output()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("cargo {}: {}", arguments.join(" "), stderr.trim()))
}

/// Whether `cargo NAME` exists.
pub(crate) fn has(subcommand: &str) -> bool {
    let mut command = command();
    command
        .args([subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Says what is run, and runs it.
pub(crate) fn run(command: &mut Command) -> Result<ExitStatus, String> {
    announce(command);
    command
        .status()
        .map_err(|e| format!("cannot run {command:?}: {e}"))
}

/// As [`run`], for a task that is nothing else: it ends as the command did.
pub(crate) fn run_as_task(command: &mut Command) -> Result<ExitCode, String> {
    let code = run(command)?.code();
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

/// As [`run`], but for a program that might not end by itself.
pub(crate) fn run_limited(command: &mut Command, limit: Duration) -> Result<ExitStatus, String> {
    use std::os::unix::process::CommandExt as _;
    announce(command);
    // A group of its own, so that whatever it started ends with it.
    let mut child = command
        .process_group(0)
        .spawn()
        .map_err(|e| format!("cannot run {command:?}: {e}"))?;
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            Ok(None) => break,
            Err(e) => return Err(format!("cannot wait for {command:?}: {e}")),
        }
    }
    let group = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
    Err(format!(
        "{command:?} still ran after {limit:?} and was killed"
    ))
}

/// As [`run`], handing every line of its stdout to `see` as well.
pub(crate) fn run_watched(
    command: &mut Command,
    mut see: impl FnMut(&str),
) -> Result<ExitStatus, String> {
    announce(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run {command:?}: {e}"))?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            see(&line);
        }
    }
    child
        .wait()
        .map_err(|e| format!("cannot wait for {command:?}: {e}"))
}

fn announce(command: &Command) {
    let words: Vec<_> = command
        .get_args()
        .map(|word| word.to_string_lossy())
        .collect();
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or_default().to_string_lossy();
    eprintln!("$ {program} {}", words.join(" "));
}
