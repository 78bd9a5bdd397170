use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Labels, Result};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Identity {
    /// The name that was proven (certificate subject, token subject, unix user).
    pub subject: String,
    /// How it was proven: `unix`, `tls`, `token`, `local`.
    pub proof: String,
}

impl Identity {
    /// A proven name.
    pub fn new(subject: impl Into<String>, proof: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            proof: proof.into(),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// Look at something.
    Read,
    /// Make, change or remove something.
    Write,
    /// Get into a workload (exec, attach, copy).
    Enter,
    /// Change nodes and the cluster itself.
    Administer,
}

/// On what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Target {
    /// `container`, `image`, `network`, `volume`, `exec`, `node`, `stack`, `cluster`.
    pub kind: String,
    /// Its id or name as the caller gave it; empty for a whole kind.
    pub name: String,
    /// Its labels, where known.
    pub labels: Labels,
}

impl Target {
    /// One thing of a kind.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            name: name.into(),
            labels: Labels::new(),
        }
    }

    /// Adds labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }
}

/// Leave, and for how long it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// Ask again after this; `None`: it holds for the whole call or session.
    pub valid_for: Option<Duration>,
}

/// Who may do what. Asked before every mutating call and every session.
///
/// Rules held by the conformance suite: the same question gets the same answer as long as nothing
/// changed; a refusal is [`ErrorKind::PermissionDenied`] and names no secret; failure to decide
/// (backend down) is another error, and callers treat every error as a refusal.
#[async_trait]
pub trait Authorizer: Debug + Send + Sync + 'static {
    /// Gives leave, or the error that says why not. Cancel safe.
    async fn authorize(&self, who: &Identity, action: Action, target: &Target) -> Result<Access>;
}

/// Refuses everything: what a control plane does until it is told otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct DenyAll;

#[async_trait]
impl Authorizer for DenyAll {
    async fn authorize(&self, who: &Identity, action: Action, target: &Target) -> Result<Access> {
        Err(Error::new(
            ErrorKind::PermissionDenied,
            "no authorizer is configured, so nothing is allowed",
        )
        .with_context("subject", &who.subject)
        .with_context("action", format!("{action:?}"))
        .with_context("target", format!("{} {}", target.kind, target.name)))
    }
}

/// Allows everything: for an endpoint that only its owner can reach (a 0600 unix socket, a client
/// certificate of an own CA). An explicit choice, never a default.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

#[async_trait]
impl Authorizer for AllowAll {
    async fn authorize(&self, _: &Identity, _: Action, _: &Target) -> Result<Access> {
        Ok(Access::default())
    }
}
