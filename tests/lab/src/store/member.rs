//! One process of a store.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::place::Place;
use super::probe::Probe;
use super::watchdog::Watchdog;
use crate::{LabError, LabProcess, names};

/// One process of a [`Store`](super::Store), with its data and its address.
#[derive(Debug)]
pub struct StoreMember {
    name: String,
    directory: PathBuf,
    address: SocketAddr,
    place: Place,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    probe: Probe,
    process: Option<LabProcess>,
    watchdog: Option<Watchdog>,
}

impl StoreMember {
    pub(super) fn new(
        name: impl Into<String>,
        directory: PathBuf,
        (place, port): (&Place, u16),
        program: PathBuf,
        arguments: Vec<String>,
        probe: Probe,
    ) -> Self {
        Self {
            name: name.into(),
            directory,
            address: place.address(port),
            place: place.clone(),
            program,
            arguments,
            environment: Vec::new(),
            probe,
            process: None,
            watchdog: None,
        }
    }

    pub(super) fn with_environment(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether its process runs (frozen counts).
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(LabProcess::is_running)
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(LabProcess::pid)
    }

    /// `kill -9`, awaited. The data stays.
    pub fn kill(&mut self) {
        // Killing includes what is frozen.
        self.process = None;
        self.watchdog = None;
    }

    /// SIGSTOP: connections stay, nothing answers.
    pub fn freeze(&mut self) {
        if let Some(process) = &mut self.process {
            process.freeze();
        }
    }

    /// SIGCONT.
    pub fn thaw(&mut self) {
        if let Some(process) = &mut self.process {
            process.thaw();
        }
    }

    /// Starts again on the same address with the data that it had; waits until it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&mut self) -> Result<(), LabError> {
        self.kill();
        self.launch()?;
        self.await_ready(super::PATIENCE)
    }

    /// Removes its data. It must be killed before.
    ///
    /// # Errors
    /// When it runs, or the data can't be removed.
    pub fn wipe(&mut self) -> Result<(), LabError> {
        if self.is_running() {
            return Err(LabError::new(format!("{} runs: kill it first", self.name)));
        }
        let data = data_of(&self.directory);
        match std::fs::remove_dir_all(&data) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LabError::io(
                format!("cannot remove {}", data.display()),
                error,
            )),
            _ => std::fs::create_dir_all(&data)
                .map_err(|error| LabError::io("cannot make a data directory", error)),
        }
    }

    /// Starts its process; [`await_ready`](Self::await_ready) waits for it.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn launch(&mut self) -> Result<(), LabError> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("log"))
            .and_then(|log| Ok((log.try_clone()?, log)))
            .map_err(|error| LabError::io("cannot write a store's log", error))?;
        let mut command = self.place.command(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.0)
            .stderr(log.1);
        let process = LabProcess::spawn(&mut command)?;
        self.watchdog = Some(Watchdog::start(process.pid(), &self.directory)?);
        self.process = Some(process);
        Ok(())
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// When it ended, or `patience` passed; with the end of its log.
    pub fn await_ready(&mut self, patience: Duration) -> Result<(), LabError> {
        let deadline = Instant::now() + patience;
        while !self.probe.ready(self.address) {
            if !self.is_running() || Instant::now() > deadline {
                return Err(LabError::new(format!(
                    "{} does not answer: {}",
                    self.name,
                    self.log_end()
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn log_end(&self) -> String {
        let log = std::fs::read(self.directory.join("log")).unwrap_or_default();
        let start = log.len().saturating_sub(3000);
        String::from_utf8_lossy(&log[start..]).into_owned()
    }
}

impl Drop for StoreMember {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A fresh directory for a member, private to us.
pub(super) fn directory(name: &str) -> Result<PathBuf, LabError> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let directory = names::prepare_base_directory()?
        .join(format!("store-{name}-{}-{number}", std::process::id()));
    std::fs::create_dir_all(data_of(&directory))
        .map_err(|error| LabError::io("cannot make a store's directory", error))?;
    Ok(directory)
}

pub(super) fn data_of(directory: &Path) -> PathBuf {
    directory.join("data")
}
