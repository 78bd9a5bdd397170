//! The first process of a workload or session, held by a descriptor rather than by its number.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::Child,
    sync::{Mutex, PoisonError},
};

use longshore_core::{Error, ExitStatus, Result, Signal};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, kill_process_group, pidfd_open, pidfd_send_signal},
};
use tokio::io::{Interest, unix::AsyncFd};

use super::reactor::register;

/// A child that leads its own process group.
///
/// Its number, and that of its group, can't be given to others before it is reaped, and it is
/// reaped under the lock: so a signal never hits a stranger.
#[derive(Debug)]
pub(super) struct Leader {
    pid: Pid,
    handle: AsyncFd<OwnedFd>,
    /// `None` once reaped.
    child: Mutex<Option<Child>>,
}

impl Leader {
    /// Takes over a child. Must be called within a runtime.
    pub(super) fn new(mut child: Child) -> io::Result<Self> {
        let pid = Pid::from_child(&child);
        let handle = pidfd_open(pid, PidfdFlags::empty())
            .map_err(io::Error::from)
            .and_then(|handle| register(handle, Interest::READABLE));
        match handle {
            Ok(handle) => Ok(Self {
                pid,
                handle,
                child: Mutex::new(Some(child)),
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits for its end, without reaping it. Cancel safe.
    pub(super) async fn exited(&self) {
        // An error would mean that the reactor is gone, and this task with it.
        let _ = self.handle.readable().await;
    }

    /// How it ended. From here on its number may belong to others.
    pub(super) fn reap(&self) -> ExitStatus {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        match child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => {
                *child = None;
                exit_status(status)
            }
            Some(Ok(None)) => ExitStatus::unknown("the process did not end"),
            Some(Err(error)) => ExitStatus::unknown(format!("its end was not seen: {error}")),
            None => ExitStatus::unknown("its end was told before"),
        }
    }

    /// Sends a signal to this process. After its end nothing happens.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let signal = to_rustix(signal)?;
        match pidfd_send_signal(self.handle.get_ref(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(Error::io("cannot send the signal", error.into())),
        }
    }

    /// Sends a signal to its process group. After its end nothing happens.
    pub(super) fn signal_group(&self, signal: Signal) -> Result<()> {
        self.signal_foreground(None, signal)
    }

    /// Sends a signal to the group in the foreground of its terminal, else to its own. After its end
    /// nothing happens: without it, nobody knows whose the number is.
    pub(super) fn signal_foreground(&self, group: Option<Pid>, signal: Signal) -> Result<()> {
        let signal = to_rustix(signal)?;
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.is_none() {
            return Ok(());
        }
        match kill_process_group(group.unwrap_or(self.pid), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(Error::io("cannot send the signal", error.into())),
        }
    }

    /// Runs `work` with its number while that number is surely its own.
    pub(super) fn with_root<T>(&self, work: impl FnOnce(Option<u32>) -> T) -> T {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        work(child.is_some().then(|| self.pid()))
    }
}

/// A leader that nobody waits for any more (its runtime has gone) is ended and reaped here.
impl Drop for Leader {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(mut child) = child.take() else {
            return;
        };
        let _ = kill_process_group(self.pid, rustix::process::Signal::KILL);
        let mut handles = [PollFd::new(self.handle.get_ref(), PollFlags::IN)];
        let _ = poll(&mut handles, Some(&REAP_LIMIT));
        let _ = child.try_wait();
    }
}

/// A start that can't be undone otherwise, and no longer than this, waits for a killed process.
const REAP_LIMIT: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

fn exit_status(status: std::process::ExitStatus) -> ExitStatus {
    let signal = status.signal().and_then(|number| u8::try_from(number).ok());
    match (status.code(), signal.map(Signal::new)) {
        (Some(code), _) => ExitStatus::exited(i64::from(code)),
        (None, Some(Ok(signal))) => ExitStatus::signaled(signal),
        _ => ExitStatus::unknown(status.to_string()),
    }
}

fn to_rustix(signal: Signal) -> Result<rustix::process::Signal> {
    rustix::process::Signal::from_named_raw(i32::from(signal.number())).ok_or_else(|| {
        Error::unsupported(format!(
            "the process engine cannot send the real-time signal {signal}"
        ))
    })
}
