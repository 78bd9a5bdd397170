//! The first process of a host: it holds the namespaces and reaps orphans.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::record::stat;
use crate::{LabError, tool};

/// Owns a host's mount, UTS and process namespaces. When it dies, the kernel
/// ends every process in them: engine, shims, containers.
#[derive(Debug)]
pub(crate) struct Holder {
    wrapper: Child,
    pid: u32,
}

/// What a [`Holder`] needs to know.
#[derive(Debug)]
pub(crate) struct HolderSpec<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) hostname: &'a str,
    pub(crate) directory: &'a std::path::Path,
    pub(crate) data_mib: Option<u32>,
}

impl Holder {
    pub(crate) fn start(spec: &HolderSpec<'_>) -> Result<Self, LabError> {
        let ready = spec.directory.join("ready");
        let _ = std::fs::remove_file(&ready);
        let log = std::fs::File::create(spec.directory.join("holder.log"))
            .map_err(|e| LabError::io("cannot create the holder's log", e))?;
        let mut command = tool::command("setsid");
        // `nsenter` and not `ip netns exec`: the latter hides the cgroup mounts.
        command
            .arg("nsenter")
            .arg(format!("--net=/run/netns/{}", spec.namespace));
        command.args([
            "--",
            "unshare",
            "--mount",
            "--uts",
            "--pid",
            "--fork",
            "--mount-proc",
        ]);
        command.args(["--", "sh", "-c", SETUP, "holder", spec.hostname]);
        command
            .arg(spec.directory)
            .arg(spec.data_mib.unwrap_or(0).to_string());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .current_dir("/");
        let mut wrapper = command
            .spawn()
            .map_err(|e| LabError::io("cannot start a host's first process", e))?;

        let deadline = Instant::now() + Duration::from_secs(10);
        while !ready.exists() {
            let exited = wrapper.try_wait().ok().flatten().is_some();
            if exited || Instant::now() > deadline {
                let log = std::fs::read_to_string(spec.directory.join("holder.log"));
                let log = log.unwrap_or_default();
                return Err(LabError::new(format!(
                    "the namespaces of {} did not come up: {}",
                    spec.hostname,
                    log.trim()
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let pid = child_of(wrapper.id())?;
        Ok(Self { wrapper, pid })
    }

    /// The process id as the root namespace sees it.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends the host as a power cut would.
    pub(crate) fn kill(mut self) {
        signal(self.pid, rustix::process::Signal::KILL);
        let _ = self.wrapper.wait();
    }
}

/// The child of a wrapper such as `unshare --fork` or `nsenter --pid`.
pub(crate) fn child_of(parent: u32) -> Result<u32, LabError> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let wanted = parent.to_string();
    while Instant::now() < deadline {
        let processes = std::fs::read_dir("/proc")
            .map_err(|e| LabError::io("cannot read /proc", e))?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        for pid in processes {
            if stat(pid).is_some_and(|fields| fields.get(1) == Some(&wanted)) {
                return Ok(pid);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(LabError::new(format!("process {parent} has no child")))
}

/// Sends a signal; a process that is gone is none of our business.
pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Arguments: host name, state directory, size of the data tmpfs in MiB or 0.
const SETUP: &str = r#"
set -e
mount --make-rprivate /
# A copy of another host's namespace mount would keep that namespace alive.
for space in /run/netns/*; do umount --lazy "$space" 2>/dev/null || :; done
umount --lazy /run/netns 2>/dev/null || :
mount -t tmpfs -o mode=755 tmpfs /run
# The engine's identity lies in /etc/docker: each host has its own, kept over restarts.
mkdir -p "$2/etc-docker" /etc/docker
mount --bind "$2/etc-docker" /etc/docker
mkdir -p "$2/data"
[ "$3" = 0 ] || mount -t tmpfs -o "size=$3m" tmpfs "$2/data"
hostname "$1"
: > "$2/ready"
set +e
while :; do sleep 1000 & wait; done
"#;
