use std::sync::Arc;

use futures::StreamExt;
use http::{Request, header};
use longshore_core::{BoxByteStream, Clock, ClockExt, Connector, Error, ErrorKind, Result};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error as WsError, Message,
        handshake::client::generate_key,
        protocol::{CloseFrame, WebSocketConfig},
    },
};

use super::ClientOptions;
use crate::protocol::native::{SUBPROTOCOL, ServerFrame};

pub(super) type Socket = WebSocketStream<BoxByteStream>;

/// Dials the gateway.
pub(super) struct Dialler {
    pub(super) connector: Arc<dyn Connector>,
    pub(super) options: Arc<ClientOptions>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Dialler {
    /// A new connection. Cancel safe.
    pub(super) async fn dial(&self) -> Result<Socket> {
        let limit = self.options.connect_limit;
        let dialled = self
            .clock
            .timeout(limit, "connecting to the gateway", self.handshake());
        dialled
            .await?
            .map_err(|error| error.with_context("gateway", self.connector.describe()))
    }

    async fn handshake(&self) -> Result<Socket> {
        let stream = self.connector.connect().await?;
        let options = &self.options;
        let request = Request::get(format!("ws://{}{}", options.host, options.path))
            .header(header::HOST, &options.host)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, generate_key())
            .header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
            .body(())
            .map_err(|error| {
                Error::invalid("the gateway's host or path is malformed").with_source(error)
            })?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(LONGEST))
            .max_frame_size(Some(LONGEST));
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(socket),
            Err(WsError::Http(response)) => {
                let status = response.status();
                let kind = match status.as_u16() {
                    401 => ErrorKind::Unauthenticated,
                    403 => ErrorKind::PermissionDenied,
                    404 => ErrorKind::NotFound,
                    429 | 500.. => ErrorKind::Unavailable,
                    _ => ErrorKind::Protocol,
                };
                let text = format!("the gateway answered {status} instead of upgrading");
                Err(match said(response.body().as_deref().unwrap_or_default()) {
                    Some(said) => Error::new(kind, format!("{text}: {said}")),
                    None => Error::new(kind, text),
                })
            }
            Err(error) => Err(lost(error)),
        }
    }
}

/// The reason in a refusal, as far as it came with its head: text, or JSON with a `message`.
fn said(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let message = json.as_ref().and_then(|json| json["message"].as_str());
    let said = message.unwrap_or(text);
    (!said.is_empty()).then(|| longshore_core::printable(said, 200).into_owned())
}

/// The next frame. Cancel safe.
pub(super) async fn receive(
    socket: &mut (impl futures::Stream<Item = Result<Message, WsError>> + Unpin),
) -> Result<ServerFrame> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => return ServerFrame::decode(bytes),
            Some(Ok(Message::Text(_))) => {
                return Err(Error::protocol("the gateway sent a text message"));
            }
            Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(lost(error)),
            None => return Err(Error::unavailable("the gateway closed the connection")),
        }
    }
}

/// What a close means. Those that coming back can cure are retryable.
fn closed(frame: Option<CloseFrame>) -> Error {
    let Some(frame) = frame else {
        return Error::unavailable("the gateway closed the connection");
    };
    let (kind, retryable) = match u16::from(frame.code) {
        4000 | 4002 | 1002 | 1007 | 1009 => (ErrorKind::Protocol, false),
        4001 => (ErrorKind::Closed, false),
        4003 => (ErrorKind::PermissionDenied, false),
        4004 => (ErrorKind::NotFound, false),
        4029 => (ErrorKind::ResourceExhausted, false),
        1000 | 4008 | 4009 | 4010 => (ErrorKind::Closed, false),
        _ => (ErrorKind::Unavailable, true),
    };
    let text = longshore_core::printable(&frame.reason, 200).into_owned();
    Error::new(kind, text)
        .with_context("close_code", u16::from(frame.code))
        .with_retryable(retryable)
}

pub(super) fn lost(error: WsError) -> Error {
    Error::unavailable("the connection to the gateway broke").with_source(error)
}

const BUFFER: usize = 64 << 10;
const LONGEST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_gateway_s_words() {
        let text = |body: &[u8]| said(body).unwrap_or_default();
        assert_eq!(text(b"use --tls\n"), "use --tls");
        assert_eq!(text(br#"{"message":"use --tls"}"#), "use --tls");
        assert_eq!(text(b"\xff"), "");
        assert!(!text(b"a\x1b[2J").contains('\x1b'));
        assert!(text(&[b'a'; 5000]).len() < 300);
    }
}
