//! One host of a lab: its namespaces, its engine, and ways in.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::dockerd::Dockerd;
use crate::holder::{Holder, HolderSpec};
use crate::names::LabId;
use crate::record::HostRecord;
use crate::{ApiResponse, LabError, LabHostSpec, LabProcess, Rootfs, api, tool};

/// One host of a [`Lab`](crate::Lab).
#[derive(Debug)]
pub struct Host {
    lab: LabId,
    index: usize,
    name: String,
    namespace: String,
    directory: PathBuf,
    socket: PathBuf,
    spec: LabHostSpec,
    gone: Arc<AtomicBool>,
    holder: Mutex<Option<Holder>>,
    dockerd: Mutex<Option<Dockerd>>,
}

impl Host {
    pub(crate) fn new(lab: LabId, index: usize, spec: LabHostSpec, gone: Arc<AtomicBool>) -> Self {
        let name = spec
            .name
            .clone()
            .unwrap_or_else(|| format!("host-{}", index + 1));
        let directory = lab.directory().join(format!("h{}", index + 1));
        Self {
            lab,
            index,
            name,
            namespace: lab.host(index),
            socket: directory.join("docker.sock"),
            directory,
            spec,
            gone,
            holder: Mutex::new(None),
            dockerd: Mutex::new(None),
        }
    }

    /// The host's place in the lab, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The host's name, as its engine reports it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host's address on the lab's bridge.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.lab.address(self.index)
    }

    /// The engine's unix socket, usable from the root namespace.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The engine's unix socket as an argument of `docker -H`.
    #[must_use]
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The engine's plain TCP endpoint. A host behind NAT has it too; nobody reaches it.
    #[must_use]
    pub fn tcp_endpoint(&self) -> SocketAddr {
        SocketAddr::from((self.address(), 2375))
    }

    /// The value of the engine's `zone` label.
    #[must_use]
    pub fn zone(&self) -> String {
        self.labels().remove("zone").unwrap_or_default()
    }

    /// The engine's labels, `zone` included.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.spec.labels.clone();
        let letter = u8::try_from(self.index % 26).map_or('a', |step| char::from(b'a' + step));
        labels
            .entry("zone".to_owned())
            .or_insert_with(|| letter.to_string());
        labels
    }

    /// What the host was asked to be.
    #[must_use]
    pub fn spec(&self) -> &LabHostSpec {
        &self.spec
    }

    /// The name of the host's network namespace, as `ip netns` lists it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A directory for files that shall vanish with the lab.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A command that runs `program` with the host's network and host name, and
    /// with the machine's own files. Start it with [`Host::spawn`], or by any
    /// other means (`tokio::process::Command::from`): its process id is the
    /// program's own, and whatever still runs when the lab ends is killed.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = tool::command("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace));
        if let Some(holder) = lock(&self.holder).as_ref() {
            command.arg(format!("--uts=/proc/{}/ns/uts", holder.pid()));
        }
        command.arg("--").arg(program);
        command
    }

    /// Runs `act` on a thread of its own inside the host's network: sockets it
    /// opens belong to the host, and stay there when they are returned. A
    /// current-thread runtime built in `act` is inside altogether.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or `act` panics.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let path = format!("/run/netns/{}", self.namespace);
        let namespace = std::fs::File::open(&path)
            .map_err(|e| LabError::io(format!("cannot open {path}"), e))?;
        let enter = || {
            let kind = LinkNameSpaceType::Network;
            move_into_link_name_space(namespace.as_fd(), Some(kind)).map(|()| act())
        };
        std::thread::scope(|scope| scope.spawn(enter).join())
            .map_err(|_| LabError::new(format!("a panic inside {}", self.name)))?
            .map_err(|e| LabError::io(format!("cannot enter {path}"), e.into()))
    }

    /// Whether a TCP connection from this host to `address` opens within a second.
    #[must_use]
    pub fn reaches(&self, address: SocketAddr) -> bool {
        let dial = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
        self.enter(dial).unwrap_or(false)
    }

    /// Starts a command made by [`Host::command`] in a process group of its
    /// own, which is killed when the returned value is dropped.
    ///
    /// # Errors
    /// When it does not start.
    pub fn spawn(&self, command: &mut Command) -> Result<LabProcess, LabError> {
        LabProcess::spawn(command)
    }

    /// Runs the stock `docker` client against this engine.
    ///
    /// # Errors
    /// When the client cannot be started; its own failure is in the output.
    pub fn docker<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Output, LabError> {
        let mut command = tool::command("docker");
        command
            .arg("-H")
            .arg(self.docker_host())
            .args(arguments)
            .stdin(Stdio::null());
        command
            .env_remove("DOCKER_HOST")
            .env_remove("DOCKER_CONTEXT");
        command
            .output()
            .map_err(|e| LabError::io("cannot run docker", e))
    }

    /// As [`Host::docker`], but returns the trimmed stdout of a success.
    ///
    /// # Errors
    /// When the client fails; the message shows its stderr.
    pub fn docker_ok<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String, LabError> {
        let output = self.docker(arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(LabError::new(format!(
            "docker on {}: {}",
            self.name,
            stderr.trim()
        )))
    }

    /// One request to the engine's API; `path` starts with `/`.
    ///
    /// # Errors
    /// When the engine does not answer within two minutes.
    pub fn api(&self, method: &str, path: &str, body: &str) -> Result<ApiResponse, LabError> {
        let patience = Duration::from_secs(120);
        let json = "application/json";
        api::request(&self.socket, method, path, json, body.as_bytes(), patience)
    }

    /// Whether the engine answers right now (two seconds at most).
    #[must_use]
    pub fn answers(&self) -> bool {
        api::ping(&self.socket).is_ok()
    }

    /// Makes an image of a root file system; `tag` is `name:tag`, `command` what
    /// it runs by default.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn import(&self, tag: &str, rootfs: &Rootfs, command: &str) -> Result<(), LabError> {
        let (name, version) = tag.rsplit_once(':').unwrap_or((tag, "latest"));
        let path = format!(
            "/images/create?fromSrc=-&repo={}&tag={}&changes={}&changes={}",
            api::encode(name),
            api::encode(version),
            api::encode(&format!("CMD [\"{command}\"]")),
            api::encode("ENV PATH=/usr/local/bin:/usr/bin:/bin"),
        );
        let tar = rootfs.to_tar()?;
        let patience = Duration::from_secs(120);
        let answer = api::request(
            &self.socket,
            "POST",
            &path,
            "application/x-tar",
            &tar,
            patience,
        )?;
        let text = answer.text();
        if answer.status == 200 && !text.contains("\"error\"") {
            return Ok(());
        }
        Err(LabError::new(format!(
            "cannot import {tag} on {}: {}",
            self.name,
            text.trim()
        )))
    }

    /// Makes an image of busybox with all applets in `/bin`, running `sh`.
    ///
    /// # Errors
    /// As [`Host::import`] and [`Rootfs::busybox`].
    pub fn import_busybox(&self, tag: &str) -> Result<(), LabError> {
        self.import(tag, &Rootfs::busybox()?, "sh")
    }

    /// Makes an image with bash, its libraries and busybox, running `bash`.
    ///
    /// # Errors
    /// As [`Host::import`] and [`Rootfs::bash`].
    pub fn import_bash(&self, tag: &str) -> Result<(), LabError> {
        self.import(tag, &Rootfs::bash()?, "bash")
    }

    /// The process id of `dockerd` in the root namespace, if it runs.
    #[must_use]
    pub fn dockerd_pid(&self) -> Option<u32> {
        lock(&self.dockerd).as_ref().map(Dockerd::pid)
    }

    /// Whether the process belongs to a container of this host's engine: by its control group, which
    /// a process can't leave. False for one that is gone.
    #[must_use]
    pub fn holds(&self, pid: u32) -> bool {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let ours = format!(":/{}/", self.namespace());
        groups.lines().any(|line| line.contains(&ours))
    }

    /// The last lines of the engine's log.
    #[must_use]
    pub fn dockerd_log(&self) -> String {
        let log = std::fs::read(self.dockerd_log_path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    pub(crate) fn lab(&self) -> LabId {
        self.lab
    }

    pub(crate) fn data_directory(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub(crate) fn dockerd_log_path(&self) -> PathBuf {
        self.directory.join("dockerd.log")
    }

    /// The engine's data as seen from the root namespace, through its own mounts.
    pub(crate) fn data_from_outside(&self) -> Result<PathBuf, LabError> {
        let holder = lock(&self.holder).as_ref().map(Holder::pid);
        let holder = holder.ok_or_else(|| LabError::new(format!("{} is off", self.name)))?;
        let data = self.data_directory();
        let inside = data.strip_prefix("/").unwrap_or(&data);
        Ok(Path::new("/proc")
            .join(holder.to_string())
            .join("root")
            .join(inside))
    }

    pub(crate) fn record(&self) -> HostRecord {
        HostRecord {
            name: self.name.clone(),
            address: self.address(),
            socket: self.socket.clone(),
            holder: lock(&self.holder).as_ref().map_or(0, Holder::pid),
            nat: self.spec.nat,
            labels: self.labels(),
        }
    }

    /// Starts the host's first process.
    pub(crate) fn boot(&self) -> Result<(), LabError> {
        std::fs::create_dir_all(&self.directory)
            .map_err(|e| LabError::io("cannot create a host's directory", e))?;
        let holder = Holder::start(&HolderSpec {
            namespace: &self.namespace,
            hostname: &self.name,
            directory: &self.directory,
            data_mib: self.spec.data_mib,
        })?;
        *lock(&self.holder) = Some(holder);
        Ok(())
    }

    /// Ends every process of the host at once.
    pub(crate) fn power_off(&self) {
        if let Some(holder) = lock(&self.holder).take() {
            holder.kill();
        }
        if let Some(mut dockerd) = lock(&self.dockerd).take() {
            dockerd.kill();
        }
    }

    pub(crate) fn spawn_dockerd(&self) -> Result<(), LabError> {
        let holder = lock(&self.holder).as_ref().map(Holder::pid);
        let holder = holder.ok_or_else(|| LabError::new(format!("{} is off", self.name)))?;
        *lock(&self.dockerd) = Some(Dockerd::spawn(self, holder)?);
        Ok(())
    }

    pub(crate) fn wait_ready(&self, deadline: Instant) -> Result<(), LabError> {
        let mut slot = lock(&self.dockerd);
        let dockerd = slot.as_mut().ok_or_else(|| self.not_running())?;
        dockerd.wait_ready(&self.socket, deadline).map_err(|e| {
            LabError::new(format!(
                "{}: {e}; its log ends with\n{}",
                self.name,
                self.dockerd_log()
            ))
        })
    }

    /// Starts the engine again after it was stopped or killed, and waits for it.
    pub(crate) fn revive_dockerd(&self) -> Result<(), LabError> {
        if self.is_gone() || self.dockerd_pid().is_some() {
            return Ok(());
        }
        self.spawn_dockerd()?;
        self.wait_ready(Instant::now() + Duration::from_secs(60))
    }

    /// Takes the engine out of the host, for whoever is about to end it.
    pub(crate) fn take_dockerd(&self) -> Result<Dockerd, LabError> {
        lock(&self.dockerd).take().ok_or_else(|| self.not_running())
    }

    pub(crate) fn with_dockerd<T>(
        &self,
        act: impl FnOnce(&Dockerd) -> Result<T, LabError>,
    ) -> Result<T, LabError> {
        lock(&self.dockerd)
            .as_ref()
            .ok_or_else(|| self.not_running())
            .and_then(act)
    }

    /// Whether the lab was taken down, so that there is nothing to undo.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    fn not_running(&self) -> LabError {
        LabError::new(format!("the engine of {} does not run", self.name))
    }
}

/// A panic elsewhere must not keep the lab from being taken down.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
