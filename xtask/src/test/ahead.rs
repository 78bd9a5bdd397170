//! A build in the background, while stages run that mostly wait.

use std::process::{Child, Command, Stdio};

use crate::cargo;

/// Builds what a later stage needs. That stage builds it again, finds it done, and is the one that
/// tells when it can't be built: this only makes it shorter. Ended when dropped.
#[derive(Debug)]
pub(super) struct Ahead(Option<Child>);

impl Ahead {
    /// Starts `cargo` with these arguments, where it must yield to all that is measured in time.
    /// Without `nice` nothing is built ahead.
    pub(super) fn start(arguments: &[&str]) -> Self {
        let cargo = cargo::command();
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(cargo.get_program());
        command.args(arguments);
        if let Some(folder) = cargo.get_current_dir() {
            command.current_dir(folder);
        }
        for (name, value) in cargo.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().ok())
    }

    /// Waits until it is done, however it went.
    pub(super) fn finish(mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.wait();
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
