//! Every name a lab uses, derived from its number, so that whoever cleans up
//! needs nothing but the number.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::LabError;

/// The number of a lab on this machine: also the third byte of its subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LabId(pub(crate) u8);

impl LabId {
    /// The bridge in the root namespace, and the prefix of all other names.
    pub(crate) fn bridge(self) -> String {
        format!("lsl{}", self.0)
    }

    /// One name for a host's network namespace, its link on the bridge and its
    /// cgroup: at most 12 bytes, well under the 15 a link name may have.
    pub(crate) fn host(self, index: usize) -> String {
        format!("lsl{}-h{}", self.0, index + 1)
    }

    pub(crate) fn address(self, index: usize) -> Ipv4Addr {
        // At most MAX_HOSTS hosts, checked by the builder.
        let last = u8::try_from(index + 1).unwrap_or(u8::MAX);
        Ipv4Addr::new(10, 90, self.0, last)
    }

    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 90, self.0, 254)
    }

    pub(crate) fn directory(self) -> PathBuf {
        base_directory().join(self.0.to_string())
    }
}

/// More would not fit one machine anyway; addresses and names stay valid up to here.
pub(crate) const MAX_HOSTS: usize = 64;

/// Where labs keep their state: not under `/run`, which each host hides behind
/// a tmpfs of its own, and short, because socket paths end at 107 bytes.
pub(crate) fn base_directory() -> PathBuf {
    std::env::var_os("LONGSHORE_LAB_DIR")
        .map_or_else(|| std::env::temp_dir().join("longshore-lab"), PathBuf::from)
}

/// Creates the base directory, private to us; refuses one that belongs to somebody else.
pub(crate) fn prepare_base_directory() -> Result<PathBuf, LabError> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    let base = base_directory();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&base)
        .map_err(|e| LabError::io(format!("cannot create {}", base.display()), e))?;
    let found = std::fs::symlink_metadata(&base)
        .map_err(|e| LabError::io(format!("cannot inspect {}", base.display()), e))?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(LabError::new(format!(
            "{} is not a directory of ours: remove it or set LONGSHORE_LAB_DIR",
            base.display()
        )));
    }
    Ok(base)
}

/// The labs that have a directory, whatever state they are in.
pub(crate) fn existing(base: &Path) -> Vec<LabId> {
    let Ok(entries) = std::fs::read_dir(base) else {
        return Vec::new();
    };
    let mut ids: Vec<u8> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    ids.sort_unstable();
    ids.into_iter().map(LabId).collect()
}
