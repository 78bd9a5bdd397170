//! What can go wrong while building or disturbing a lab.

use std::fmt;

/// A lab operation failed. The message says which, and shows what the tool or
/// the engine's log had to say; there is nothing to match on, a test just fails.
#[derive(Debug)]
pub struct LabError {
    message: String,
    source: Option<std::io::Error>,
}

impl LabError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Wraps an I/O error with what was being done.
    pub fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Self {
            message: format!("{}: {source}", doing.into()),
            source: Some(source),
        }
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for LabError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}
