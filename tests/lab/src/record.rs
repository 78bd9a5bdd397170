//! The state file of a lab: what `cargo xtask lab status|shell|down` and the
//! reaper read.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::names::{self, LabId};
use crate::{LabError, api, teardown};

/// A running lab, as written down in its state directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LabRecord {
    /// The lab's number on this machine, also the third byte of its subnet.
    pub id: u8,
    /// The machine's boot, because nothing of a lab survives a reboot.
    pub boot_id: String,
    /// The processes that keep the lab alive; none for a detached lab.
    pub owners: Vec<Owner>,
    /// Whether the lab outlives the process that started it.
    pub detached: bool,
    /// The root namespace's address on the lab's bridge.
    pub gateway: Ipv4Addr,
    /// The hosts, in order.
    pub hosts: Vec<HostRecord>,
}

/// One host of a [`LabRecord`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HostRecord {
    /// The host's name, as its engine reports it.
    pub name: String,
    /// The host's address on the lab's bridge.
    pub address: Ipv4Addr,
    /// The engine's unix socket, reachable from the root namespace.
    pub socket: PathBuf,
    /// The first process of the host's namespaces.
    pub holder: u32,
    /// Whether all inbound traffic is dropped.
    pub nat: bool,
    /// The engine's labels.
    pub labels: std::collections::BTreeMap<String, String>,
}

/// A process, told from a later one with the same id by its start time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Owner {
    /// The process id in the root namespace.
    pub pid: u32,
    /// Its start, in clock ticks since boot.
    pub started: u64,
}

impl LabRecord {
    /// All labs on this machine that have a readable state file.
    #[must_use]
    pub fn all() -> Vec<Self> {
        names::existing(&names::base_directory())
            .into_iter()
            .filter_map(|id| Self::load(id).ok())
            .collect()
    }

    /// Whether the lab runs: same boot, and detached or with a living owner.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.boot_id == boot_id() && (self.detached || self.owners.iter().any(Owner::is_alive))
    }

    /// Removes the lab and everything in it.
    ///
    /// # Errors
    /// When something of it is still there afterwards; the message lists it.
    pub fn remove(&self) -> Result<(), LabError> {
        teardown::run(LabId(self.id))
    }

    pub(crate) fn load(id: LabId) -> Result<Self, LabError> {
        let path = id.directory().join(STATE_FILE);
        let text = std::fs::read(&path)
            .map_err(|e| LabError::io(format!("cannot read {}", path.display()), e))?;
        serde_json::from_slice(&text)
            .map_err(|e| LabError::new(format!("cannot read {}: {e}", path.display())))
    }

    pub(crate) fn save(&self) -> Result<(), LabError> {
        let directory = LabId(self.id).directory();
        let path = directory.join(STATE_FILE);
        let temporary = directory.join("state.json.new");
        let text = serde_json::to_vec_pretty(self)
            .map_err(|e| LabError::new(format!("cannot encode the lab's state: {e}")))?;
        std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, &path))
            .map_err(|e| LabError::io(format!("cannot write {}", path.display()), e))
    }
}

impl HostRecord {
    /// Whether the host's engine answers right now (two seconds at most).
    #[must_use]
    pub fn answers(&self) -> bool {
        api::ping(&self.socket).is_ok()
    }
}

impl Owner {
    /// The process with this id, if it runs.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            started: started(pid)?,
        })
    }

    /// Whether this very process still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        started(self.pid) == Some(self.started)
    }
}

/// Tells this boot of the machine from all others.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// Fields of `/proc/PID/stat` after the command name, which may itself hold
/// spaces and parentheses: the first is the state, field 3 in proc(5).
pub(crate) fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn started(pid: u32) -> Option<u64> {
    let fields = stat(pid)?;
    if fields.first()? == "Z" {
        return None;
    }
    fields.get(19)?.parse().ok()
}

const STATE_FILE: &str = "state.json";
