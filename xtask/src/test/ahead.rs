//! Work in the background, while stages run that mostly wait.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::counts::Counts;
use crate::{cargo, workspace};

/// What a later stage needs, or a stage itself. It yields to all that is measured in time, and is ended
/// when this is dropped.
#[derive(Debug)]
pub(super) struct Ahead(Option<Child>);

impl Ahead {
    /// Starts `cargo` with these arguments. A later stage builds the same again, finds it done, and is
    /// the one that tells when it can't be built: this only makes it shorter.
    pub(super) fn build(arguments: &[&str]) -> Self {
        let mut command = lowly(&cargo::command());
        command.args(arguments).stdout(Stdio::null());
        Self(command.stderr(Stdio::null()).spawn().ok())
    }

    /// Starts a stage by itself. [`result`](Self::result) tells how it went.
    pub(super) fn stage(name: &str) -> Self {
        let start = || -> std::io::Result<Child> {
            let said = File::create(log(name))?;
            let mut command = lowly(&Command::new(std::env::current_exe()?));
            command.args(["test", "--no-install", "--stage", name]);
            command.stderr(said.try_clone()?).stdout(said).spawn()
        };
        Self(start().ok())
    }

    /// Waits until it is done, however it went.
    pub(super) fn finish(mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.wait();
        }
    }

    /// Waits for a stage, prints what it said, and counts it. `None` if it could not be started, or
    /// left no count: it is to be run again, where it is seen.
    pub(super) fn result(mut self, name: &str) -> Option<Counts> {
        let status = self.0.take()?.wait().ok()?;
        let said = std::fs::read_to_string(log(name)).ok()?;
        println!("{}", said.trim_end());
        let counts = said.lines().rev().find_map(Counts::parse)?;
        Some(counts.or_failed(status.success()))
    }
}

/// The same program with the lowest priority. Without `nice` nothing is done ahead.
fn lowly(program: &Command) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(workspace::root()).stdin(Stdio::null());
    command
}

/// Where a stage says what it does.
fn log(name: &str) -> PathBuf {
    workspace::root().join(format!("target/xtask-{name}.log"))
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
