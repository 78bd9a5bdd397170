//! A disk in memory, which does what it is told.

use super::super::{
    core::HardState,
    identity::Identity,
    node::{Loaded, Save},
};

pub(super) fn new(names: &[String], nonce: u64, incarnation: u64) -> Loaded {
    Loaded {
        identity: Identity {
            me: String::new(),
            names: names.join(","),
            nonce,
            incarnation,
            cluster: None,
            founders: Vec::new(),
            joining: None,
        },
        hard: HardState::default(),
        snapshot: None,
        entries: Vec::new(),
    }
}

pub(super) fn write(disk: &mut Loaded, save: Save) {
    if let Some(identity) = save.identity {
        disk.identity = identity;
    }
    if let Some(hard) = save.hard {
        disk.hard = hard;
    }
    if let Some(from) = save.truncate {
        disk.entries.retain(|entry| entry.at.index < from);
    }
    if let Some(snapshot) = save.snapshot {
        disk.entries
            .retain(|entry| entry.at.index > snapshot.at.index);
        disk.snapshot = Some(snapshot);
    }
    let base = disk
        .snapshot
        .as_ref()
        .map_or(0, |snapshot| snapshot.at.index);
    for entry in save.entries {
        disk.entries.retain(|old| old.at.index < entry.at.index);
        if entry.at.index > base {
            disk.entries.push(entry);
        }
    }
}
