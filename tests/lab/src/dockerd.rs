//! One `dockerd` inside a host.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::holder::{child_of, signal};
use crate::host::Host;
use crate::record::stat;
use crate::{LabError, api, tool};

/// A running (or frozen) `dockerd`.
#[derive(Debug)]
pub(crate) struct Dockerd {
    /// `nsenter`, which waits for the engine and mirrors its fate.
    wrapper: Child,
    pid: u32,
}

impl Dockerd {
    /// Starts the engine of `host`, whose first process is `holder`.
    pub(crate) fn spawn(host: &Host, holder: u32) -> Result<Self, LabError> {
        let _ = std::fs::remove_file(host.socket());
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(host.dockerd_log_path())
            .and_then(|log| Ok((log.try_clone()?, log)))
            .map_err(|e| LabError::io("cannot open dockerd's log", e))?;
        let mut command = tool::command("setsid");
        command
            .arg("nsenter")
            .arg("--target")
            .arg(holder.to_string());
        command.args(["--mount", "--uts", "--net", "--pid", "--", "dockerd"]);
        command.arg("--data-root").arg(host.data_directory());
        command.args(["--exec-root", "/run/docker", "--pidfile", "/run/docker.pid"]);
        command.arg("--host").arg(host.docker_host());
        command
            .arg("--cgroup-parent")
            .arg(format!("/{}", host.namespace()));
        for (key, value) in &host.labels() {
            command.arg("--label").arg(format!("{key}={value}"));
        }
        let spec = host.spec();
        if spec.live_restore {
            command.arg("--live-restore");
        }
        if !spec
            .dockerd_arguments
            .iter()
            .any(|argument| argument.starts_with("--tlsverify"))
        {
            // Said explicitly, dockerd does not pause to warn about it.
            command
                .arg("--host")
                .arg(format!("tcp://{}", host.tcp_endpoint()))
                .arg("--tls=false");
        }
        command.args(&spec.dockerd_arguments);
        // An engine that is killed leaves its runtime's temporary files; they go with the lab.
        let scratch = host.directory().join("tmp");
        std::fs::create_dir_all(&scratch)
            .map_err(|e| LabError::io("cannot create dockerd's temporary folder", e))?;
        command
            .env_clear()
            .env("PATH", PATH)
            .env("TMPDIR", scratch)
            .current_dir("/");
        command.stdin(Stdio::null()).stdout(log.0).stderr(log.1);
        let wrapper = command
            .spawn()
            .map_err(|e| LabError::io("cannot start dockerd", e))?;
        let pid = child_of(wrapper.id())?;
        Ok(Self { wrapper, pid })
    }

    /// The process id as the root namespace sees it.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the engine answers on `socket`.
    pub(crate) fn wait_ready(&mut self, socket: &Path, deadline: Instant) -> Result<(), LabError> {
        loop {
            if api::ping(socket).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.wrapper.try_wait() {
                return Err(LabError::new(format!("dockerd ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(LabError::new("dockerd does not answer"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL, awaited.
    pub(crate) fn kill(&mut self) {
        signal(self.pid, Signal::KILL);
        let _ = self.wrapper.wait();
    }

    /// SIGTERM, then SIGKILL when it takes longer than `patience`.
    pub(crate) fn stop(&mut self, patience: Duration) {
        signal(self.pid, Signal::TERM);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if !matches!(self.wrapper.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }

    /// SIGSTOP, awaited until the process is stopped.
    pub(crate) fn freeze(&self) -> Result<(), LabError> {
        signal(self.pid, Signal::STOP);
        self.wait_state(|state| state == "T", "stop")
    }

    /// SIGCONT, awaited until the process runs again.
    pub(crate) fn thaw(&self) -> Result<(), LabError> {
        // nsenter stops itself along with its child.
        signal(self.wrapper.id(), Signal::CONT);
        signal(self.pid, Signal::CONT);
        self.wait_state(|state| state != "T", "go on")
    }

    fn wait_state(&self, wanted: impl Fn(&str) -> bool, verb: &str) -> Result<(), LabError> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            match stat(self.pid).as_ref().and_then(|fields| fields.first()) {
                None => return Err(LabError::new("dockerd is not running")),
                Some(state) if wanted(state) => return Ok(()),
                Some(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        Err(LabError::new(format!("dockerd does not {verb}")))
    }
}

/// For dockerd and the programs it starts (containerd, runc, iptables).
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
