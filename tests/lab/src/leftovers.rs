//! What is left of a lab after it was taken down.

use std::path::Path;

use crate::names::LabId;
use crate::tool;

/// Everything on this machine that belongs to lab `id`: network namespaces,
/// links, mounts, processes, cgroups, firewall rules, files. Empty when the lab
/// is gone without a trace.
#[must_use]
pub fn leftovers(id: u8) -> Vec<String> {
    let id = LabId(id);
    let prefix = format!("{}-h", id.bridge());
    let directory = id.directory();
    let mut found = Vec::new();

    for name in entries(Path::new("/run/netns")) {
        if name.starts_with(&prefix) {
            found.push(format!("namespace {name}"));
        }
    }
    for name in entries(Path::new("/sys/class/net")) {
        if name == id.bridge() || name.starts_with(&prefix) {
            found.push(format!("link {name}"));
        }
    }
    let mine = format!("{}/", directory.display());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in mounts.lines() {
        if line.contains(&mine) || line.contains(&prefix) {
            found.push(format!("mount {line}"));
        }
    }
    for pid in entries(Path::new("/proc"))
        .iter()
        .filter_map(|name| name.parse::<u32>().ok())
    {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        // Another process may be taking the same dead lab down.
        let looks = line.starts_with("find /sys/fs/cgroup ");
        if pid != std::process::id() && !looks && (line.contains(&mine) || line.contains(&prefix)) {
            found.push(format!("process {pid} {line}"));
        }
    }
    cgroups(Path::new("/sys/fs/cgroup"), &prefix, &mut found);
    for (program, arguments) in [("nft", ["list", "ruleset"]), ("iptables", ["-w", "-S"])] {
        let rules = tool::run(tool::command(program).args(arguments)).unwrap_or_default();
        for line in rules.lines().filter(|line| line.contains(&id.bridge())) {
            found.push(format!("{program} rule {}", line.trim()));
        }
    }
    if directory.exists() {
        found.push(format!("directory {}", directory.display()));
    }
    found
}

fn cgroups(directory: &Path, prefix: &str, found: &mut Vec<String>) {
    for name in entries(directory) {
        let path = directory.join(&name);
        if !path.is_dir() || path.is_symlink() {
            continue;
        }
        if name.starts_with(prefix) {
            found.push(format!("cgroup {}", path.display()));
        }
        cgroups(&path, prefix, found);
    }
}

fn entries(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
