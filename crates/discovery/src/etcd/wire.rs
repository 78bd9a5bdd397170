//! The gateway's messages: proto3 in JSON, so numbers of 64 bits are texts, bytes are base64, and
//! what is zero or empty is left out.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use longshore_core::{Error, Expect, KvEntry, LeaseId, Result, Revision};
use serde::{Deserialize, Deserializer, Serialize, de};

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// The first key behind all that begin with `prefix`.
pub(super) fn end_of(prefix: &str) -> String {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return encode(end);
        }
    }
    // "To the end of all keys".
    encode([0])
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Range {
    pub(super) key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) range_end: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) limit: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) count_only: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Header {
    #[serde(default, deserialize_with = "number")]
    pub(super) cluster_id: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) revision: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct HeaderOnly {
    #[serde(default)]
    pub(super) header: Header,
}

#[derive(Debug, Deserialize)]
pub(super) struct RangeAnswer {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) kvs: Vec<KeyValue>,
    #[serde(default)]
    pub(super) more: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct KeyValue {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default, deserialize_with = "number")]
    mod_revision: u64,
    #[serde(default, deserialize_with = "number")]
    lease: u64,
}

impl KeyValue {
    pub(super) fn into_entry(self) -> Result<KvEntry> {
        let value = decode(&self.value)?;
        let mut entry = KvEntry::new(
            text(&decode(&self.key)?),
            Bytes::from(value),
            Revision(self.mod_revision),
        );
        entry.lease = (self.lease != 0).then_some(LeaseId(self.lease.into()));
        Ok(entry)
    }

    pub(super) fn key_and_revision(&self) -> Result<(String, Revision)> {
        Ok((text(&decode(&self.key)?), Revision(self.mod_revision)))
    }
}

fn decode(text: &str) -> Result<Vec<u8>> {
    STANDARD
        .decode(text)
        .map_err(|error| Error::protocol("etcd sent bytes that are no base64").with_source(error))
}

/// Other programs may use keys that are no text; they are shown, and match nothing of ours.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Transaction {
    pub(super) compare: Vec<Compare>,
    pub(super) success: Vec<RequestOp>,
}

#[derive(Debug, Serialize)]
pub(super) struct Compare {
    key: String,
    result: &'static str,
    target: &'static str,
    mod_revision: String,
}

impl Compare {
    /// The condition, if it is one. A key that does not exist has revision zero.
    pub(super) fn of(key: &str, expect: Expect) -> Option<Self> {
        let revision = match expect {
            Expect::Any => return None,
            Expect::Absent => 0,
            Expect::Revision(revision) => revision.0,
        };
        Some(Self {
            key: key.to_owned(),
            result: "EQUAL",
            target: "MOD",
            mod_revision: revision.to_string(),
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RequestOp {
    RequestPut(Put),
    RequestDeleteRange { key: String },
}

#[derive(Debug, Serialize)]
pub(super) struct Put {
    key: String,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
}

impl Put {
    pub(super) fn new(key: String, value: String, lease: Option<u64>) -> Self {
        let lease = lease.map(|lease| lease.to_string());
        Self { key, value, lease }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct TransactionAnswer {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) succeeded: bool,
    #[serde(default)]
    pub(super) responses: Vec<ResponseOp>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ResponseOp {
    #[serde(default, rename = "response_delete_range")]
    pub(super) deleted: Option<Deleted>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Deleted {
    #[serde(default, deserialize_with = "number")]
    pub(super) deleted: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Grant {
    #[serde(rename = "TTL")]
    pub(super) ttl: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct GrantAnswer {
    #[serde(default, rename = "ID", deserialize_with = "number")]
    pub(super) id: u64,
    #[serde(default, rename = "TTL", deserialize_with = "number")]
    pub(super) ttl: u64,
    #[serde(default)]
    pub(super) error: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct LeaseRef {
    #[serde(rename = "ID")]
    pub(super) id: u64,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct KeepAliveAnswer {
    #[serde(default, rename = "TTL", deserialize_with = "number")]
    pub(super) ttl: u64,
}

/// One message of a streaming call.
#[derive(Debug, Deserialize)]
pub(super) struct Streamed<T> {
    result: Option<T>,
    error: Option<StreamError>,
}

#[derive(Debug, Deserialize)]
struct StreamError {
    #[serde(default)]
    grpc_code: i32,
    #[serde(default)]
    message: String,
}

impl<T> Streamed<T> {
    pub(super) fn into_result(self) -> Result<T> {
        match (self.result, self.error) {
            (_, Some(error)) => Err(super::failure::of(error.grpc_code, &error.message)),
            (Some(result), None) => Ok(result),
            (None, None) => Err(Error::protocol("etcd sent a message with nothing in it")),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct WatchRequest {
    pub(super) create_request: CreateWatch,
}

#[derive(Debug, Serialize)]
pub(super) struct CreateWatch {
    pub(super) key: String,
    pub(super) range_end: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) start_revision: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct WatchAnswer {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) created: bool,
    #[serde(default)]
    pub(super) canceled: bool,
    #[serde(default, deserialize_with = "number")]
    pub(super) compact_revision: u64,
    #[serde(default)]
    pub(super) cancel_reason: String,
    #[serde(default)]
    pub(super) events: Vec<WatchEvent>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WatchEvent {
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    pub(super) kv: KeyValue,
}

#[derive(Debug, Serialize)]
pub(super) struct Authenticate<'a> {
    pub(super) name: &'a str,
    pub(super) password: &'a str,
}

#[derive(Debug, Deserialize)]
pub(super) struct AuthenticateAnswer {
    #[serde(default)]
    pub(super) token: String,
}

/// A refusal.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) code: i32,
    #[serde(default)]
    pub(super) error: String,
    #[serde(default)]
    pub(super) message: String,
}

/// A number, as a text or not; lease ids are signed on the wire.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Unsigned(u64),
        Signed(i64),
        Text(String),
    }
    let parse = |text: &str| {
        text.parse::<u64>()
            .or_else(|_| text.parse::<i64>().map(i64::cast_unsigned))
    };
    match Either::deserialize(deserializer)? {
        Either::Unsigned(number) => Ok(number),
        Either::Signed(number) => Ok(number.cast_unsigned()),
        Either::Text(text) => parse(&text).map_err(de::Error::custom),
    }
}
