//! Containers of our own in the process namespace of another.

use longshore_core::WorkloadId;
use serde_json::{Value, json};

/// A container that runs this command of an image as root among the processes of another, and sees
/// and ends those of all users. It needs nothing there: no shell, no file that can be written.
pub(super) fn config(
    workload: &WorkloadId,
    image: &str,
    command: &[impl AsRef<str>],
    role: &str,
) -> Value {
    let command: Vec<&str> = command.iter().map(AsRef::as_ref).collect();
    json!({
        "Image": image,
        "Entrypoint": command,
        "Cmd": null,
        "User": "0:0",
        "Labels": { (ROLE): role },
        "HostConfig": {
            "PidMode": format!("container:{workload}"),
            "NetworkMode": "none",
            "CapAdd": ["SYS_PTRACE", "KILL"],
            "ReadonlyRootfs": true,
            "LogConfig": { "Type": "none" },
        },
    })
}

/// What each container of our own is for.
pub(super) const ROLE: &str = "longshore.exec";
/// It sweeps once.
pub(super) const SIDECAR: &str = "sidecar";
/// A lifeline's shell is in it.
pub(super) const LIFELINE: &str = "lifeline";
/// It lends the stub.
pub(super) const STUB: &str = "stub";
/// What their names begin with.
pub(super) const NAMED: &str = "longshore-exec-";
/// Whose a lifeline's is, and of which life.
pub(super) const GATEWAY: &str = "longshore.exec.gateway";
pub(super) const LIFE: &str = "longshore.exec.life";
