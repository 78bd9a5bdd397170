use std::{fmt, time::Duration};

use crate::{SessionId, WorkloadId};

/// How the cleanup behind a session ended, as seen from outside the container.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CleanupReport {
    /// Where.
    pub workload: WorkloadId,
    /// Behind which session.
    pub session: SessionId,
    /// How it ended.
    pub outcome: CleanupOutcome,
    /// What was tried, in order.
    pub rungs: Vec<CleanupRung>,
    /// Processes of the session that still run. Empty unless the outcome is
    /// [`Incomplete`](CleanupOutcome::Incomplete).
    pub left: Vec<LeftBehind>,
    /// Orphans without a mark that started during the session: they may be the session's, by
    /// `env -i` and `setsid`, and nobody outside can tell. Never more than 32. With a stub there
    /// are none, because nothing leaves its tree.
    pub unattributed: Vec<LeftBehind>,
    /// Ended processes of the session that the container's first process does not bury.
    pub zombies: usize,
    /// From the end of the session to this report.
    pub took: Duration,
}

/// What a cleanup came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CleanupOutcome {
    /// Nothing of the session runs; the engine's process table was looked at twice.
    Clean,
    /// The container does not run any more, nor does anything in it.
    ContainerGone,
    /// Everything was tried, and something still runs.
    Incomplete,
    /// It could not be looked at, for this reason. What was tried may have worked.
    Unverified(String),
}

/// A way to end processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CleanupRung {
    /// The stub that owned the session, from inside.
    Stub,
    /// A shell that watched beside the session: in the container, or where that has none, in a helper
    /// container in its process namespace.
    Lifeline,
    /// A shell that was started behind the session, from inside.
    Sweep,
    /// A container of its own in the container's process namespace, made behind the session.
    Sidecar,
}

/// A process that still runs. There is nothing of its command line or its environment in here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftBehind {
    /// Its number on the engine's host.
    pub pid: u32,
    /// Its program's name, as it calls itself.
    pub name: String,
}

impl LeftBehind {
    /// A process with this number and name.
    pub fn new(pid: u32, name: impl Into<String>) -> Self {
        let name = name.into();
        Self { pid, name }
    }
}

impl CleanupReport {
    /// That a cleanup came to this, and nothing else: for the tests of who is told.
    pub fn new(workload: WorkloadId, session: SessionId, outcome: CleanupOutcome) -> Self {
        Self {
            workload,
            session,
            outcome,
            rungs: Vec::new(),
            left: Vec::new(),
            unattributed: Vec::new(),
            zombies: 0,
            took: Duration::ZERO,
        }
    }

    /// Whether it is known that nothing of the session runs. There may still be
    /// [`unattributed`](Self::unattributed) processes.
    pub fn is_clean(&self) -> bool {
        matches!(
            self.outcome,
            CleanupOutcome::Clean | CleanupOutcome::ContainerGone
        )
    }
}

impl fmt::Display for CleanupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            session, workload, ..
        } = self;
        match &self.outcome {
            CleanupOutcome::Clean => write!(f, "nothing of session {session} is left")?,
            CleanupOutcome::ContainerGone => {
                write!(f, "session {session} ended with container {workload}")?;
            }
            CleanupOutcome::Incomplete => {
                write!(f, "cleanup-incomplete: of session {session}, ")?;
                write!(
                    f,
                    "{} processes still run in container {workload}:",
                    self.left.len()
                )?;
                list(f, &self.left)?;
            }
            CleanupOutcome::Unverified(why) => {
                write!(
                    f,
                    "cleanup-unverified: whether anything of session {session} is left "
                )?;
                write!(f, "in container {workload} is not known: {why}")?;
            }
        }
        if !self.unattributed.is_empty() {
            f.write_str("; perhaps of this session:")?;
            list(f, &self.unattributed)?;
        }
        Ok(())
    }
}

fn list(f: &mut fmt::Formatter<'_>, left: &[LeftBehind]) -> fmt::Result {
    for process in left {
        write!(f, " {} ({})", process.pid, process.name)?;
    }
    Ok(())
}
