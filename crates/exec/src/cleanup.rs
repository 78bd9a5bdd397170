//! What happens to a session's processes when the session ends: policy, marks, verification and
//! escalation. No I/O in here.

mod ladder;
mod life;
mod lifeline;
mod marker;
mod reaped;
mod report;
mod table;

pub(crate) use ladder::{LATE_START, Ladder, Look, Step};
pub use life::GatewayLife;
pub(crate) use lifeline::{LifelineCore, Order};
pub(crate) use marker::{Group, Identity, Marker};
pub use reaped::Reaped;
pub(crate) use report::Findings;
pub use report::{CleanupOutcome, CleanupReport, CleanupRung, LeftBehind};
pub(crate) use table::{COLUMNS, ProcessTable};

/// What happens to the processes of a session when the session ends: by itself, because it was
/// closed or dropped, because this program died, or because the engine could not be reached for
/// ten seconds.
///
/// A `docker exec` leaves them all running. Tell users which of these holds, and record it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cleanup {
    /// All of them end: those in the background, in sessions of their own, and those that ignore
    /// hang-up and termination, too. Whoever wants to leave a daemon behind takes another policy.
    #[default]
    Tree,
    /// What is in the foreground ends; what was put into the background stays.
    Foreground,
    /// Nothing: the command reads the end of its input, if it reads. Nobody is beside it, so it gets
    /// no signals either.
    Nothing,
}
