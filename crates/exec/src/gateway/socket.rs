use std::time::Duration;

use bytes::Bytes;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use longshore_core::{BoxByteStream, Clock, ClockExt, Error, Result};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message,
        error::{CapacityError, ProtocolError},
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

use super::{
    Refused, Shared,
    first::{Bounded, FirstBound},
    refuse,
};
use crate::protocol::Closing;

/// A client's connection.
pub(super) type Socket = WebSocketStream<BoxByteStream>;
pub(super) type Sending = SplitSink<Socket, Message>;
pub(super) type Receiving = SplitStream<Socket>;

/// A request that may become a WebSocket (RFC 6455, section 4.2).
pub(super) struct Handshake {
    accept: HeaderValue,
}

impl Handshake {
    pub(super) fn check(method: &Method, headers: &HeaderMap) -> Result<Self, Refused> {
        let says = |name: header::HeaderName, wanted: &str| {
            let values = headers.get_all(name);
            let mut words = values
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','));
            words.any(|word| word.trim().eq_ignore_ascii_case(wanted))
        };
        if method != Method::GET
            || !says(header::CONNECTION, "upgrade")
            || !says(header::UPGRADE, "websocket")
        {
            let error = Error::invalid("this path takes WebSocket connections only");
            let mut response = refuse(StatusCode::UPGRADE_REQUIRED, &error);
            let upgrade = HeaderValue::from_static("websocket");
            response.headers_mut().insert(header::UPGRADE, upgrade);
            return Err(response);
        }
        let bad = |text: &'static str| refuse(StatusCode::BAD_REQUEST, &Error::invalid(text));
        if !says(header::SEC_WEBSOCKET_VERSION, "13") {
            return Err(bad("the WebSocket version is not 13"));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY);
        let key = key
            .filter(|key| key.len() == 24)
            .ok_or_else(|| bad("the WebSocket key is malformed"))?;
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
            .map_err(|_| bad("the WebSocket key is malformed"))?;
        Ok(Self { accept })
    }

    /// 101. LAIN's stock client wants these two headers exactly so.
    pub(super) fn response(self, subprotocol: Option<&'static str>) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(subprotocol) = subprotocol {
            let value = HeaderValue::from_static(subprotocol);
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        response
    }
}

/// Takes the upgraded connection over. Its messages are small until the bound is lifted.
pub(super) async fn accept(
    upgrade: OnUpgrade,
    shared: &Shared,
    bound: FirstBound,
) -> Option<Socket> {
    let upgraded = shared.clock.timeout(UPGRADE_LIMIT, "the upgrade", upgrade);
    match upgraded.await {
        Ok(Ok(upgraded)) => {
            let stream: BoxByteStream = Box::new(TokioIo::new(upgraded));
            let options = &shared.options;
            let stream = Bounded::new(stream, options.first_message_size, bound);
            Some(open(Box::new(stream), options.message).await)
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection was not upgraded");
            None
        }
        Err(error) => {
            tracing::debug!(%error, "a connection was not upgraded");
            None
        }
    }
}

/// A WebSocket over a stream that has been upgraded.
pub(super) async fn open(stream: BoxByteStream, message: usize) -> Socket {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(message + BUFFER)
        .max_message_size(Some(message))
        .max_frame_size(Some(message));
    WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await
}

/// What a broken connection is closed with.
pub(super) fn closing_for(error: &WsError) -> Option<Closing> {
    let (code, reason) = match error {
        WsError::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
            (1009, format!("a message has more than {max_size} bytes"))
        }
        WsError::Capacity(_) => (1009, "too large".to_owned()),
        WsError::Utf8(_) => (1007, "a text message is not valid UTF-8".to_owned()),
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return None,
        WsError::Protocol(error) => (1002, error.to_string()),
        _ => return None,
    };
    Some(Closing::new(code, reason))
}

/// Closes our side and gives the client a moment to close its own.
pub(super) async fn close(
    sending: &mut Sending,
    receiving: Option<&mut Receiving>,
    closing: Closing,
    limit: Duration,
    clock: &dyn Clock,
) {
    let reason = closing.reason;
    let reason = reason[..reason.floor_char_boundary(LONGEST_REASON)].to_owned();
    let frame = CloseFrame {
        code: closing.code.into(),
        reason: reason.into(),
    };
    let whole = async {
        if sending.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        if let Some(receiving) = receiving {
            while let Some(Ok(_)) = receiving.next().await {}
        }
    };
    let _ = clock.timeout(limit, "closing", whole).await;
}

const UPGRADE_LIMIT: Duration = Duration::from_secs(10);
/// It is filled with zeros before each read, whatever comes: mostly a key, or the answer to a ping.
const BUFFER: usize = 8 << 10;
/// A control frame has room for 125 bytes, two of them for the code.
const LONGEST_REASON: usize = 120;
