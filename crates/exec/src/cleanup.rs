//! What happens to a session's processes when the session ends: policy, marks, verification and
//! escalation. No I/O in here.

mod findings;
mod ladder;
mod life;
mod lifeline;
mod marker;
mod reaped;
mod table;

pub(crate) use findings::Findings;
pub(crate) use ladder::{LATE_START, Ladder, Look, Step};
pub use life::GatewayLife;
pub(crate) use lifeline::{LifelineCore, Order};
pub use longshore_core::{Cleanup, CleanupOutcome, CleanupReport, CleanupRung, LeftBehind};
pub(crate) use marker::{Group, Identity, Marker};
pub use reaped::Reaped;
pub(crate) use table::{COLUMNS, ProcessTable};
