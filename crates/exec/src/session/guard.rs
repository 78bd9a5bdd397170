use std::fmt::{self, Debug};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{SessionAbout, SessionEnd};

/// Looks at the input of sessions before their processes get it.
///
/// It is a rail, not a wall: what is typed is known, what a program makes of it is not. A recalled
/// line, a completed word, a script or a paste in an unusual form get past it.
pub trait InputGuard: Debug + Send + Sync + 'static {
    /// A judge for one session; `None` lets everything through.
    fn begin(&self, about: &SessionAbout) -> Option<Box<dyn InputJudge>>;
}

/// Judges the input of one session. It must answer at once: input waits for it.
pub trait InputJudge: Debug + Send + 'static {
    /// Says what becomes of the next piece.
    fn judge(&mut self, bytes: Bytes) -> Judgement;
}

/// What becomes of a piece of input.
#[derive(Debug)]
#[non_exhaustive]
pub struct Judgement {
    /// What the process gets.
    pub pass: Bytes,
    /// The rules that the input met.
    pub hits: Vec<RuleHit>,
    /// Ends the session.
    pub end: Option<SessionEnd>,
}

impl Judgement {
    /// The process gets this.
    pub fn pass(bytes: Bytes) -> Self {
        Self {
            pass: bytes,
            hits: Vec::new(),
            end: None,
        }
    }
}

/// A rule that a line of input met. The line itself is not kept: it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RuleHit {
    /// The rule's name.
    pub rule: String,
    /// What was done.
    pub action: RuleAction,
}

impl RuleHit {
    /// A rule was met.
    pub fn new(rule: impl Into<String>, action: RuleAction) -> Self {
        Self {
            rule: rule.into(),
            action,
        }
    }
}

/// What a rule does with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RuleAction {
    /// It is noted in the record.
    Log,
    /// It is noted, and somebody is told.
    Alert,
    /// The user has to press Enter a second time.
    Ask,
    /// The line does not reach the process.
    Block,
}

impl RuleAction {
    /// The word in rules and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Alert => "alert",
            Self::Ask => "ask",
            Self::Block => "block",
        }
    }
}

impl fmt::Display for RuleAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
