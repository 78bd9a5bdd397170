//! Sessions that outlive their connections.
//!
//! A [`SessionCore`] stands between one process and everybody who looks at it: one ordered log of
//! output with offsets, input with offsets, windows in both directions, sizes, signals, the end. It
//! is a state machine; [`SessionHub`] drives many of them over any
//! [`ExecBackend`](longshore_core::ExecBackend) and hands out [`Attachment`]s.

mod attachment;
mod core;
mod driver;
mod end;
mod hub;
mod input;
mod limits;
mod log;
mod options;
mod rate;
mod recorder;
mod secret;
mod shared;
mod start;
mod viewer;
mod window;

#[cfg(test)]
mod tests;

pub use self::{
    attachment::{Attachment, Ready},
    core::{Action, SessionCore},
    end::{EndReason, SessionEnd},
    hub::{Epilogue, Leave, Opened, OpenRequest, SessionHub},
    limits::HubLimits,
    options::{SessionOptions, WhileDetached},
    recorder::{
        RecordEvent, RecordedOutput, Recorder, RecordingSource, RecordingStream,
    },
    secret::Secret,
    start::{Launch, SHELLS},
    viewer::{GapCause, Notice, Role, ViewerEvent, ViewerId},
};
