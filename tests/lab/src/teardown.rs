//! Taking a lab down: one script, used by drop, watchdog, reaper and `lab down`.

use std::process::{Child, Command, Stdio};

use crate::names::{self, LabId};
use crate::record::{LabRecord, boot_id};
use crate::{LabError, leftovers, tool};

/// Tears a lab down when its owner closes the pipe, on purpose or by dying.
#[derive(Debug)]
pub(crate) struct Watchdog(Child);

impl Watchdog {
    pub(crate) fn start(id: LabId) -> Result<Self, LabError> {
        // A session of its own: Ctrl-C at the terminal must not reach it.
        let mut command = tool::command("setsid");
        command.arg("sh").args(script_arguments(id)).arg("wait");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.current_dir("/");
        command
            .spawn()
            .map(Self)
            .map_err(|e| LabError::io("cannot start the lab's watchdog", e))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Has it tear the lab down now, and waits for it.
    pub(crate) fn finish(mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }

    /// Ends it without tearing down: the lab goes on without an owner.
    pub(crate) fn dismiss(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Tears lab `id` down and verifies that nothing is left.
pub(crate) fn run(id: LabId) -> Result<(), LabError> {
    let mut command = Command::new("sh");
    command.args(script_arguments(id)).current_dir("/");
    tool::run(&mut command)?;
    verify(id)
}

/// An error that lists what is left of lab `id`, if anything is.
pub(crate) fn verify(id: LabId) -> Result<(), LabError> {
    let left = leftovers(id.0);
    if left.is_empty() {
        return Ok(());
    }
    Err(LabError::new(format!(
        "lab {} left behind: {}",
        id.0,
        left.join(", ")
    )))
}

/// Removes the labs whose owners are gone; the caller holds the lock.
pub(crate) fn sweep() -> Result<Vec<u8>, LabError> {
    let mut removed = Vec::new();
    for id in names::existing(&names::base_directory()) {
        let dead = match LabRecord::load(id) {
            Ok(record) => !record.is_alive(),
            // Claimed under the lock and written right after: no file, no lab.
            Err(_) => true,
        };
        if dead {
            run(id)?;
            removed.push(id.0);
        }
    }
    Ok(removed)
}

/// A first record for a lab being started, so that nobody takes it for dead.
pub(crate) fn blank_record(id: LabId) -> LabRecord {
    LabRecord {
        id: id.0,
        boot_id: boot_id(),
        owners: Vec::new(),
        detached: false,
        gateway: id.gateway(),
        hosts: Vec::new(),
    }
}

fn script_arguments(id: LabId) -> [String; 5] {
    let directory = id.directory().display().to_string();
    [
        "-c".into(),
        include_str!("teardown.sh").into(),
        "teardown".into(),
        id.0.to_string(),
        directory,
    ]
}
