use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use longshore_core::{Error, Result};
use prost::Message;
use serde::{Deserialize, Deserializer, Serialize};

use crate::session::SessionEnd;

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LainFraming {
    /// Protobuf, as the command line speaks it.
    Protobuf,
    /// JSON, as the web client speaks it.
    Json,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) content: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(bytes = "bytes", tag = "2")]
    content: Bytes,
    #[prost(int32, optional, tag = "3")]
    exit_code: Option<i32>,
    #[prost(string, optional, tag = "4")]
    reason: Option<String>,
    #[prost(int32, optional, tag = "5")]
    signal: Option<i32>,
}

#[derive(Serialize, Deserialize)]
struct Json {
    #[serde(rename = "msgType", default, skip_serializing_if = "is_zero")]
    kind: i32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    content: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's shape")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

pub(super) const PLAIN: i32 = 0;
pub(super) const WINCH: i32 = 1;
pub(super) const STDOUT: i32 = 0;
pub(super) const STDERR: i32 = 1;
pub(super) const CLOSE: i32 = 2;
pub(super) const PING: i32 = 3;

impl LainFraming {
    /// Reads a client's message, each by itself: nothing of the last one is left.
    pub(super) fn read(self, message: Bytes) -> Result<Request> {
        match self {
            Self::Protobuf => Request::decode(message)
                .map_err(|error| Error::protocol(format!("not a RequestMessage: {error}"))),
            Self::Json => {
                let json: Json = serde_json::from_slice(&message)
                    .map_err(|error| Error::protocol(format!("not a message in JSON: {error}")))?;
                let content = STANDARD.decode(&json.content).map_err(|error| {
                    Error::protocol(format!("the content is not base64: {error}"))
                })?;
                Ok(Request {
                    kind: json.kind,
                    content: content.into(),
                })
            }
        }
    }

    /// Writes a server's message; `end` adds how it ended, which JSON has no fields for.
    pub(super) fn write(self, kind: i32, content: Bytes, end: Option<&SessionEnd>) -> Bytes {
        match self {
            Self::Protobuf => Response {
                kind,
                content,
                exit_code: end.and_then(|end| i32::try_from(end.code?).ok()),
                reason: end.map(|end| end.reason.to_string()),
                signal: end.and_then(|end| Some(i32::from(end.signal?.number()))),
            }
            .encode_to_vec()
            .into(),
            Self::Json => {
                let json = Json {
                    kind,
                    content: STANDARD.encode(&content),
                };
                // A number and a string always serialise.
                serde_json::to_vec(&json).unwrap_or_default().into()
            }
        }
    }
}

/// The web client's first message.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WebHello {
    /// Who asks.
    pub access_token: String,
    /// The application.
    pub app_name: String,
    /// The process.
    pub proc_name: String,
    /// The instance, as text or number.
    #[serde(deserialize_with = "text_or_number")]
    pub instance_no: String,
}

impl WebHello {
    /// Reads it.
    ///
    /// # Errors
    /// It is no JSON of that shape.
    pub fn parse(message: &[u8]) -> Result<Self> {
        // The parser's own words could quote the token.
        serde_json::from_slice(message)
            .map_err(|_| Error::protocol("the first message is not the JSON that says who asks"))
    }
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(u64),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    })
}

/// Hides the token.
impl std::fmt::Debug for WebHello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebHello")
            .field("app_name", &self.app_name)
            .field("proc_name", &self.proc_name)
            .field("instance_no", &self.instance_no)
            .finish_non_exhaustive()
    }
}
