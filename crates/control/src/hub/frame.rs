use futures::{Stream, stream};
use longshore_core::{Error, ErrorKind, Labels, Result, printable};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What an agent says. Unknown fields are ignored, so that a newer agent can say more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum FromAgent {
    Hello(Hello),
    Beat,
    Status {
        engine: EngineStatus,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    Bye {
        #[serde(default)]
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) version: u32,
    /// Who the agent believes to be; its certificate decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
    #[serde(default)]
    pub(super) name: String,
    pub(super) epoch: u64,
    #[serde(default)]
    pub(super) agent: String,
    #[serde(default)]
    pub(super) labels: Labels,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum EngineStatus {
    Up,
    Down,
}

/// What the control plane says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum ToAgent {
    Welcome {
        version: u32,
        epoch: u64,
        heartbeat_ms: u64,
    },
    Refused {
        reason: String,
        retry_after_ms: u64,
    },
    Beat,
    Bye {
        reason: String,
    },
}

/// Reads one frame: four bytes of length, then JSON.
///
/// # Cancel safety
/// Not safe: bytes that were read are lost.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<FromAgent> {
    let broken = |error: std::io::Error| Error::io("the control channel broke", error);
    let length = stream.read_u32().await.map_err(broken)? as usize;
    if length > LIMIT {
        return Err(Error::protocol(format!(
            "a control frame of {length} bytes is longer than the {LIMIT} allowed"
        )));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.map_err(broken)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        // It repeats what it did not understand.
        let error = error.to_string();
        let error = printable(&error, ERROR_SHOWN);
        Error::protocol(format!("a control frame is not understood: {error}"))
    })
}

/// Writes one frame.
///
/// # Cancel safety
/// Not safe: a part of the frame may be written.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &ToAgent) -> Result<()> {
    let broken = |error: std::io::Error| Error::io("the control channel broke", error);
    let json = serde_json::to_vec(frame).map_err(|error| {
        Error::internal("a control frame can't be written as JSON").with_source(error)
    })?;
    let length = u32::try_from(json.len())
        .ok()
        .filter(|length| *length as usize <= LIMIT)
        .ok_or_else(|| Error::new(ErrorKind::ResourceExhausted, "a control frame is too long"))?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(&json);
    stream.write_all(&bytes).await.map_err(broken)?;
    stream.flush().await.map_err(broken)
}

/// The frames of a stream, cancel safe between them; ends after the first failure.
pub(super) fn frames<R>(reader: R) -> impl Stream<Item = Result<FromAgent>> + Send
where
    R: AsyncRead + Unpin + Send,
{
    stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match read(&mut reader).await {
            Ok(frame) => Some((Ok(frame), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

pub(super) const VERSION: u32 = 1;
const LIMIT: usize = 64 * 1024;
const ERROR_SHOWN: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn agent_says(json: &str, expected: &FromAgent) {
        assert_eq!(
            serde_json::from_str::<FromAgent>(json).unwrap(),
            *expected,
            "{json}"
        );
    }

    #[test]
    fn what_agents_say_is_understood() {
        agent_says(
            r#"{"type":"hello","version":1,"node":"edge-7","name":"host-7","epoch":42,"agent":"longshore-agent/0.1.0","labels":{"zone":"eu"}}"#,
            &FromAgent::Hello(Hello {
                version: 1,
                node: Some("edge-7".into()),
                name: "host-7".into(),
                epoch: 42,
                agent: "longshore-agent/0.1.0".into(),
                labels: Labels::new().with("zone", "eu"),
            }),
        );
        agent_says(r#"{"type":"beat"}"#, &FromAgent::Beat);
        agent_says(
            r#"{"type":"status","engine":"down","error":"refused"}"#,
            &FromAgent::Status {
                engine: EngineStatus::Down,
                error: Some("refused".into()),
            },
        );
        agent_says(
            r#"{"type":"bye","reason":"shutdown"}"#,
            &FromAgent::Bye {
                reason: "shutdown".into(),
            },
        );
    }

    #[track_caller]
    fn plane_says(frame: &ToAgent, json: &str) {
        assert_eq!(serde_json::to_string(frame).unwrap(), json);
    }

    #[test]
    fn what_the_plane_says_is_golden() {
        plane_says(
            &ToAgent::Welcome {
                version: 1,
                epoch: 42,
                heartbeat_ms: 5000,
            },
            r#"{"type":"welcome","version":1,"epoch":42,"heartbeat_ms":5000}"#,
        );
        plane_says(
            &ToAgent::Refused {
                reason: "stale".into(),
                retry_after_ms: 1000,
            },
            r#"{"type":"refused","reason":"stale","retry_after_ms":1000}"#,
        );
        plane_says(&ToAgent::Beat, r#"{"type":"beat"}"#);
        plane_says(
            &ToAgent::Bye { reason: "x".into() },
            r#"{"type":"bye","reason":"x"}"#,
        );
    }

    #[tokio::test]
    async fn an_oversized_frame_is_refused_before_it_is_read() {
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0xff, b'{'];
        let error = read(&mut bytes).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert_eq!(
            error.message(),
            "a control frame of 4294967295 bytes is longer than the 65536 allowed"
        );
    }
}
