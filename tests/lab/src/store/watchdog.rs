//! Ends a store's process when the process that started it is gone, for whatever reason.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{LabError, tool};

/// Waits for the end of its input, which comes when our process ends; then kills the group and
/// removes the data.
#[derive(Debug)]
pub(super) struct Watchdog(Child);

impl Watchdog {
    pub(super) fn start(group: u32, directory: &Path) -> Result<Self, LabError> {
        let mut command = match tool::find("setsid") {
            Some(setsid) => {
                let mut command = Command::new(setsid);
                command.arg("sh");
                command
            }
            None => Command::new("sh"),
        };
        command
            .args(["-c", SCRIPT, "watchdog", &group.to_string()])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/");
        command
            .spawn()
            .map(Self)
            .map_err(|error| LabError::io("cannot start a store's watchdog", error))
    }
}

impl Drop for Watchdog {
    /// The owner lives and does the work itself.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const SCRIPT: &str =
    r#"read -r _; kill -s KILL -- "-$1"; sleep 0.2; rm -rf --one-file-system "$2""#;
