use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderValue, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use longshore_core::{ExecSession, OutputKind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::{
    reply::{Reply, empty, streamed},
    router::Call,
};

/// How a session's bytes travel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carriage {
    /// Whether output is framed (not on a terminal).
    pub(super) framed: bool,
    /// Which outputs the client wants.
    pub(super) stdout: bool,
    /// Of standard error.
    pub(super) stderr: bool,
    /// What the end of the client's input means to the session.
    pub(super) input_end: InputEnd,
    /// What it means when the client can't be written to any more.
    pub(super) client_gone: ClientGone,
}

/// What the end of the client's input means to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputEnd {
    /// The end of the process's input.
    IsPassedOn,
    /// Nothing: others may attach and go on typing.
    IsKept,
}

/// What it means when the client can't be written to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientGone {
    /// Give the session up, so that nothing is left running.
    EndsTheSession,
    /// Leave the workload alone.
    Detaches,
}

/// Answers with the raw stream of a session: 101 if the client asked for an upgrade, or else 200
/// with the output as its body. `ended` runs once all output was sent and before the client sees
/// the end, so that an inspection by then knows the exit code.
pub(super) fn answer<F>(
    call: Call,
    session: Arc<dyn ExecSession>,
    carriage: Carriage,
    ended: F,
) -> Reply
where
    F: Future<Output = ()> + Send + 'static,
{
    let wants_upgrade = call.head.headers.contains_key(header::UPGRADE);
    if !wants_upgrade {
        return one_way(session, carriage, ended);
    }
    let upgrade = hyper::upgrade::on(Request::from_parts(call.head, ()));
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let (read, write) = tokio::io::split(TokioIo::new(upgraded));
                carry(session, carriage, read, write, ended).await;
            }
            Err(error) => {
                tracing::debug!(%error, "a client left before its stream began");
                let _ = session.close().await;
                ended.await;
            }
        }
    });
    switching()
}

/// Answers with a stream that says one thing on standard output and ends: how Docker tells that a
/// command could not be started.
pub(super) fn tell(call: Call, framing: bool, text: &str) -> Reply {
    let text = format!("{text}\r\n");
    let bytes = match framing {
        true => framed(OutputKind::Stdout, text.as_bytes()),
        false => Bytes::from(text),
    };
    if !call.head.headers.contains_key(header::UPGRADE) {
        return streamed(RAW_STREAM, futures::stream::once(async { Ok(bytes) }));
    }
    let upgrade = hyper::upgrade::on(Request::from_parts(call.head, ()));
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let mut stream = TokioIo::new(upgraded);
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
    });
    switching()
}

fn switching() -> Reply {
    let mut reply = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = reply.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(RAW_STREAM));
    reply
}

async fn carry<S, F>(
    session: Arc<dyn ExecSession>,
    carriage: Carriage,
    read: ReadHalf<S>,
    mut write: WriteHalf<S>,
    ended: F,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
    F: Future<Output = ()>,
{
    let input = tokio::spawn(copy_input(Arc::clone(&session), read, carriage.input_end));
    let sent = copy_output(&session, carriage, &mut write).await;
    if sent.is_err() && carriage.client_gone == ClientGone::EndsTheSession {
        let _ = session.close().await;
    }
    if sent.is_ok() || carriage.client_gone == ClientGone::EndsTheSession {
        ended.await;
    }
    input.abort();
    let _ = write.shutdown().await;
}

async fn copy_input<S>(session: Arc<dyn ExecSession>, mut read: ReadHalf<S>, end: InputEnd)
where
    S: tokio::io::AsyncRead,
{
    let input = session.take_input();
    drop(session);
    let Some(mut input) = input else {
        // Nobody reads it; reading it still notices nothing that writing would not.
        return;
    };
    let mut buffer = BytesMut::with_capacity(PIECE);
    loop {
        buffer.clear();
        match read.read_buf(&mut buffer).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
        let written = async {
            input.write_all(&buffer).await?;
            input.flush().await
        };
        if written.await.is_err() {
            return;
        }
    }
    if end == InputEnd::IsPassedOn {
        let _ = input.shutdown().await;
    }
}

async fn copy_output<W>(
    session: &Arc<dyn ExecSession>,
    carriage: Carriage,
    write: &mut W,
) -> std::io::Result<()>
where
    W: tokio::io::AsyncWrite + Unpin,
{
    let Some(mut output) = session.take_output() else {
        return Ok(());
    };
    while let Some(piece) = output.next().await {
        let piece = piece.map_err(std::io::Error::other)?;
        if let Some(bytes) = wire(carriage, piece.kind, piece.bytes) {
            write.write_all(&bytes).await?;
            write.flush().await?;
        }
    }
    Ok(())
}

fn one_way<F>(session: Arc<dyn ExecSession>, carriage: Carriage, ended: F) -> Reply
where
    F: Future<Output = ()> + Send + 'static,
{
    // No more input can come: the request is over.
    drop(session.take_input());
    let output = session
        .take_output()
        .unwrap_or_else(|| futures::stream::empty().boxed());
    let pieces = output.filter_map(move |piece| {
        let piece: Option<Result<Bytes>> = match piece {
            Ok(piece) => wire(carriage, piece.kind, piece.bytes).map(Ok),
            Err(error) => Some(Err(error)),
        };
        std::future::ready(piece)
    });
    let end = futures::stream::once(async move {
        ended.await;
        // Held until here: dropping its last handle would end it.
        drop(session);
        Ok(Bytes::new())
    });
    streamed(RAW_STREAM, pieces.chain(end))
}

fn wire(carriage: Carriage, kind: OutputKind, bytes: Bytes) -> Option<Bytes> {
    let wanted = match kind {
        OutputKind::Stdout => carriage.stdout,
        OutputKind::Stderr => carriage.stderr,
    };
    match (wanted && !bytes.is_empty(), carriage.framed) {
        (false, _) => None,
        (true, true) => Some(framed(kind, &bytes)),
        (true, false) => Some(bytes),
    }
}

/// A frame of Docker's multiplexed output: type, three zeros, length, payload.
pub(super) fn framed(kind: OutputKind, payload: &[u8]) -> Bytes {
    let mut wire = BytesMut::with_capacity(payload.len() + 8);
    for piece in payload.chunks(u32::MAX as usize) {
        wire.put_u8(match kind {
            OutputKind::Stdout => 1,
            OutputKind::Stderr => 2,
        });
        wire.put_bytes(0, 3);
        wire.put_u32(piece.len() as u32);
        wire.put_slice(piece);
    }
    wire.freeze()
}

const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
const PIECE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_type_and_length() {
        assert_eq!(
            framed(OutputKind::Stderr, b"hi"),
            &b"\x02\0\0\0\0\0\0\x02hi"[..]
        );
        assert!(framed(OutputKind::Stdout, b"").is_empty());
    }
}
