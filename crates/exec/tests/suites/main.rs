//! The exec suite on the scripted twin, and on Docker's protocol spoken by a daemon in memory.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

#[cfg(feature = "docker")]
mod attached;
#[cfg(feature = "docker")]
mod daemon;
#[cfg(feature = "docker")]
mod docker;
#[cfg(feature = "docker")]
mod hostile;
mod programs;
mod scripted;
