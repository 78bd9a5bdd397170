use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Action, Identity, Result, Target, Timestamp};

/// How an audited call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuditOutcome {
    /// It was allowed and is about to happen.
    Started,
    /// It was done.
    Done,
    /// It was refused, with this reason.
    Denied(String),
    /// It failed, with this reason.
    Failed(String),
}

/// One record: who did what, to what, where, when, and how it ended. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: Identity,
    /// What kind of thing was done.
    pub action: Action,
    /// The operation, for example `POST /containers/create` or `exec.start`.
    pub operation: String,
    /// To what.
    pub target: Target,
    /// On which node, where one was involved.
    pub node: Option<String>,
    /// How it ended.
    pub outcome: AuditOutcome,
}

impl AuditEvent {
    /// A record that is not about a node.
    pub fn new(
        at: Timestamp,
        who: Identity,
        action: Action,
        operation: impl Into<String>,
        target: Target,
        outcome: AuditOutcome,
    ) -> Self {
        Self {
            at,
            who,
            action,
            operation: operation.into(),
            target,
            node: None,
            outcome,
        }
    }

    /// Adds the node.
    #[must_use]
    pub fn with_node(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }
}

/// Proof that a record was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReceipt {
    /// The record's number, from 0 without gaps.
    pub sequence: u64,
    /// Hash over this record and the hash before it, lower-case hexadecimal.
    pub hash: String,
}

/// Keeps the record of every mutating call and every session: append-only and hash-chained.
///
/// Rules held by the conformance suite: numbers rise by one; the same records give the same hashes;
/// a changed, removed or reordered record changes every later hash; concurrent writers lose nothing.
/// A call whose record can't be written is refused by the caller.
#[async_trait]
pub trait AuditSink: Debug + Send + Sync + 'static {
    /// Appends a record.
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may or may not have appended.
    async fn record(&self, event: AuditEvent) -> Result<AuditReceipt>;
}
