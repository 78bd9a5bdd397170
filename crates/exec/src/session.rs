//! Sessions that outlive their connections.
//!
//! A [`SessionCore`] stands between one process and everybody who looks at it: one ordered log of
//! output with offsets, input with offsets, windows in both directions, sizes, signals, the end. It
//! is a state machine; [`SessionHub`] drives many of them over any
//! [`ExecBackend`](longshore_core::ExecBackend) and hands out [`Attachment`]s.

mod about;
mod attachment;
mod bandwidth;
mod core;
mod driver;
mod echo;
mod end;
mod guard;
mod hub;
mod input;
mod limits;
mod log;
mod options;
mod person;
pub(crate) mod plain;
mod rate;
mod recorder;
mod screen;
mod secret;
mod shared;
mod start;
mod user;
mod viewer;
mod window;

#[cfg(test)]
mod tests;

#[cfg(feature = "record")]
pub(crate) use self::recorder::MOST_RECORDED;
pub use self::{
    about::{SessionAbout, SessionKind, SessionOrigin},
    attachment::{Attachment, Ready},
    core::{Action, SessionCore},
    end::{EndReason, SessionEnd},
    guard::{InputGuard, InputJudge, Judgement, RuleAction, RuleHit},
    hub::{Aftermath, Epilogue, Leave, OpenRequest, Opened, SessionHub},
    limits::{HubLimits, UserTime},
    options::{SessionOptions, WhileDetached},
    person::Person,
    recorder::{
        RecordEvent, RecordReach, RecordedOutput, Recorder, RecordingSource, RecordingStream,
    },
    screen::{Screen, Screens},
    secret::Secret,
    start::{HELPER_SHELL, Launch, SHELLS},
    viewer::{GapCause, Notice, Role, ViewerEvent, ViewerId},
};
#[cfg(feature = "gateway")]
pub(crate) use self::{
    core::{MOST_RECHECK_FAILURES, Prospect, SHORTEST_RECHECK},
    rate::Rate,
};
