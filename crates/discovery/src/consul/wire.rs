//! What Consul's HTTP API sends and takes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use longshore_core::{Error, KvEntry, Result, Revision};
use serde::{Deserialize, Serialize};

use super::session;
use crate::store::KeyPath;

/// An entry of the key-value store.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pair {
    key: String,
    #[serde(default)]
    value: Option<String>,
    pub(super) modify_index: u64,
    #[serde(default)]
    session: Option<String>,
}

impl Pair {
    pub(super) fn into_entry(self) -> Result<KvEntry> {
        let value = STANDARD
            .decode(self.value.unwrap_or_default())
            .map_err(|error| {
                Error::protocol("consul sent a value that is no base64").with_source(error)
            })?;
        let mut entry = KvEntry::new(
            KeyPath::decode(&self.key),
            Bytes::from(value),
            Revision(self.modify_index),
        );
        entry.lease = self.session.as_deref().and_then(session::parse);
        Ok(entry)
    }
}

/// One operation of a transaction.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Operation {
    #[serde(rename = "KV")]
    pub(super) kv: KvOperation,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KvOperation {
    pub(super) verb: &'static str,
    pub(super) key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<String>,
}

/// A transaction's answer, done or not.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Outcome {
    #[serde(default)]
    pub(super) results: Option<Vec<OperationResult>>,
    #[serde(default)]
    pub(super) errors: Option<Vec<OperationError>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OperationResult {
    #[serde(rename = "KV")]
    pub(super) kv: Option<Pair>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OperationError {
    pub(super) op_index: usize,
    pub(super) what: String,
}

/// A request for a session.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NewSession {
    pub(super) name: &'static str,
    #[serde(rename = "TTL")]
    pub(super) ttl: String,
    pub(super) behavior: &'static str,
    pub(super) lock_delay: &'static str,
    pub(super) node_checks: [&'static str; 0],
}

#[derive(Debug, Deserialize)]
pub(super) struct SessionRef {
    #[serde(rename = "ID")]
    pub(super) id: String,
}

pub(super) fn encode(value: &[u8]) -> String {
    STANDARD.encode(value)
}
