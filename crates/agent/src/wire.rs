//! The control channel's messages: a 32-bit big-endian length, then JSON.

use std::collections::BTreeMap;

use longshore_core::{Error, Labels, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Agent to plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum AgentMessage {
    Hello {
        version: u32,
        name: String,
        epoch: u64,
        agent: String,
        #[serde(skip_serializing_if = "Labels::is_empty")]
        labels: Labels,
    },
    Beat,
    /// Whether the engine that is lent can be reached, whenever that changes.
    Status {
        engine: EngineStatus,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    Bye {
        reason: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EngineStatus {
    Up,
    Down,
}

/// Plane to agent. Unknown types are skipped, so that a newer plane can say more.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum PlaneMessage {
    Welcome {
        version: u32,
        epoch: u64,
        heartbeat_ms: u64,
    },
    Refused {
        reason: String,
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    Beat,
    Bye {
        reason: String,
    },
    #[serde(untagged)]
    Unknown(BTreeMap<String, serde_json::Value>),
}

pub(crate) const PROTOCOL_VERSION: u32 = 1;
const MAX_FRAME: usize = 64 * 1024;

pub(crate) async fn write_message<W>(stream: &mut W, message: &AgentMessage) -> Result<()>
where
    W: AsyncWrite + Unpin + Send,
{
    let body = serde_json::to_vec(message).map_err(|error| {
        Error::internal("a control message can't be encoded").with_source(error)
    })?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= MAX_FRAME)
        .ok_or_else(|| {
            Error::invalid(format!(
                "a control message of {} bytes is too long",
                body.len()
            ))
        })?;
    let broken = |error| Error::io("the control channel broke", error);
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    stream.write_all(&frame).await.map_err(broken)?;
    stream.flush().await.map_err(broken)
}

/// Not cancel safe: read in a task of its own.
pub(crate) async fn read_message<R>(stream: &mut R) -> Result<PlaneMessage>
where
    R: AsyncRead + Unpin + Send,
{
    let broken = |error| Error::io("the control channel ended", error);
    let length = stream.read_u32().await.map_err(broken)? as usize;
    if length > MAX_FRAME {
        return Err(Error::protocol(format!(
            "the plane announced a control message of {length} bytes; at most {MAX_FRAME} are allowed"
        )));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(broken)?;
    serde_json::from_slice(&body)
        .map_err(|error| Error::protocol("the plane sent a malformed message").with_source(error))
}

#[cfg(test)]
mod tests {
    use longshore_core::ErrorKind;

    use super::*;

    #[test]
    fn messages_have_these_bytes() {
        let hello = AgentMessage::Hello {
            version: 1,
            name: "edge-1".into(),
            epoch: 7,
            agent: "longshore-agent/0.1.0".into(),
            labels: Labels::new().with("zone", "eu"),
        };
        assert_eq!(
            serde_json::to_string(&hello).unwrap(),
            r#"{"type":"hello","version":1,"name":"edge-1","epoch":7,"agent":"longshore-agent/0.1.0","labels":{"zone":"eu"}}"#
        );
        assert_eq!(
            serde_json::to_string(&AgentMessage::Beat).unwrap(),
            r#"{"type":"beat"}"#
        );
        let down = AgentMessage::Status {
            engine: EngineStatus::Down,
            error: Some("refused".into()),
        };
        assert_eq!(
            serde_json::to_string(&down).unwrap(),
            r#"{"type":"status","engine":"down","error":"refused"}"#
        );
        let up = AgentMessage::Status {
            engine: EngineStatus::Up,
            error: None,
        };
        assert_eq!(
            serde_json::to_string(&up).unwrap(),
            r#"{"type":"status","engine":"up"}"#
        );
        let bye = AgentMessage::Bye { reason: "x".into() };
        assert_eq!(
            serde_json::to_string(&bye).unwrap(),
            r#"{"type":"bye","reason":"x"}"#
        );
    }

    #[test]
    fn plane_messages_parse() {
        let parse = |text: &str| serde_json::from_str::<PlaneMessage>(text).unwrap();
        assert_eq!(
            parse(r#"{"type":"welcome","version":1,"epoch":7,"heartbeat_ms":5000}"#),
            PlaneMessage::Welcome {
                version: 1,
                epoch: 7,
                heartbeat_ms: 5000
            }
        );
        assert_eq!(
            parse(r#"{"type":"refused","reason":"older epoch"}"#),
            PlaneMessage::Refused {
                reason: "older epoch".into(),
                retry_after_ms: None
            }
        );
        assert!(matches!(
            parse(r#"{"type":"news","n":1}"#),
            PlaneMessage::Unknown(_)
        ));
    }

    #[tokio::test]
    async fn a_long_message_is_refused_before_it_is_read() {
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0xff, 1, 2, 3];
        let error = read_message(&mut bytes).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        let mut bytes: &[u8] = &[0, 0, 0, 2, b'{'];
        assert_eq!(
            read_message(&mut bytes).await.unwrap_err().kind(),
            ErrorKind::Closed
        );
        let mut bytes: &[u8] = &[0, 0, 0, 1, b'{'];
        assert_eq!(
            read_message(&mut bytes).await.unwrap_err().kind(),
            ErrorKind::Protocol
        );
    }
}
