//! Programs started in a host: agents, stores, clients.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::LabError;
use crate::record::stat;

/// A running program whose whole process group is killed on drop.
#[derive(Debug)]
pub struct LabProcess {
    child: Child,
}

impl LabProcess {
    /// Starts `command` in a process group of its own, in whatever namespaces
    /// it enters by itself.
    ///
    /// # Errors
    /// When it does not start.
    pub fn spawn(command: &mut Command) -> Result<Self, LabError> {
        command
            .process_group(0)
            .spawn()
            .map(|child| Self { child })
            .map_err(|e| LabError::io(format!("cannot start {command:?}"), e))
    }

    /// The program's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its stdin, if piped and not taken yet.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its stdout, if piped and not taken yet.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its stderr, if piped and not taken yet.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end, at most `patience`.
    ///
    /// # Errors
    /// When it still runs then.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus, LabError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Ok(None) => {
                    let pid = self.pid();
                    return Err(LabError::new(format!(
                        "process {pid} runs after {patience:?}"
                    )));
                }
                Err(e) => return Err(LabError::io("cannot wait for a process", e)),
            }
        }
    }

    /// SIGTERM for the whole group, then [`LabProcess::wait`].
    ///
    /// # Errors
    /// When it still runs after `patience`.
    pub fn terminate(&mut self, patience: Duration) -> Result<ExitStatus, LabError> {
        self.signal(Signal::TERM);
        self.wait(patience)
    }

    /// SIGKILL for the whole group, awaited.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// SIGSTOP for the whole group, awaited until it is stopped.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && self.state().is_some_and(|state| state != "T") {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// SIGCONT for the whole group.
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    fn state(&self) -> Option<String> {
        stat(self.pid())?.into_iter().next()
    }

    fn signal(&mut self, signal: Signal) {
        // Once reaped, the number may belong to somebody else.
        if !self.is_running() && signal != Signal::KILL {
            return;
        }
        if let Some(group) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }
}

impl Drop for LabProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
