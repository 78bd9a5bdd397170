use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use crate::{BoxByteStream, Error, ReadRule, ReadThrough, Result};

/// The answer to a request for a raw stream.
pub enum Upgraded {
    /// The server switched (101) or simply began to send (200).
    Stream {
        /// The response's headers.
        headers: HeaderMap,
        /// 101 or 200.
        status: StatusCode,
        /// The raw stream, beginning with whatever came behind the head.
        stream: BoxByteStream,
    },
    /// The server refused.
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its body, at most 64 KiB of it.
        body: Bytes,
    },
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream { status, .. } => write!(f, "Stream({status})"),
            Self::Refused { status, .. } => write!(f, "Refused({status})"),
        }
    }
}

pub(super) async fn upgrade(
    mut stream: BoxByteStream,
    request: Request<Bytes>,
) -> Result<Upgraded> {
    let broken = |error: io::Error| {
        match error
            .get_ref()
            .and_then(|told| told.downcast_ref::<Error>())
        {
            Some(told) => Error::new(told.kind(), told.message().to_owned())
                .with_retryable(told.is_retryable()),
            None => Error::unavailable("the connection to the engine broke"),
        }
        .with_source(error)
    };
    stream.write_all(&head_of(&request)).await.map_err(broken)?;
    stream.write_all(request.body()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;

    let mut read = BytesMut::with_capacity(4096);
    let head = loop {
        if let Some(head) = parse_head(&read)? {
            break head;
        }
        if read.len() >= LIMIT {
            return Err(Error::protocol(format!(
                "the head of the engine's answer is longer than {LIMIT} bytes"
            )));
        }
        if stream.read_buf(&mut read).await.map_err(broken)? == 0 {
            return Err(Error::unavailable(
                "the engine closed the connection before it answered",
            ));
        }
    };
    read.advance(head.length);
    if matches!(
        head.status,
        StatusCode::SWITCHING_PROTOCOLS | StatusCode::OK
    ) {
        let stream = Box::new(ReadThrough::new(stream, Front(read.freeze())));
        return Ok(Upgraded::Stream {
            headers: head.headers,
            status: head.status,
            stream,
        });
    }
    let wanted = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or(LIMIT)
        .min(LIMIT);
    while read.len() < wanted && stream.read_buf(&mut read).await.map_err(broken)? > 0 {}
    read.truncate(wanted);
    Ok(Upgraded::Refused {
        status: head.status,
        body: read.freeze(),
    })
}

fn head_of(request: &Request<Bytes>) -> Vec<u8> {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let mut head = format!("{} {target} HTTP/1.1\r\n", request.method()).into_bytes();
    let mut line = |name: &[u8], value: &[u8]| {
        head.extend_from_slice(name);
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    if !request.headers().contains_key(header::HOST) {
        line(b"Host", b"longshore");
    }
    let ours = [header::CONNECTION, header::UPGRADE, header::CONTENT_LENGTH];
    for (name, value) in request
        .headers()
        .iter()
        .filter(|(name, _)| !ours.contains(name))
    {
        line(name.as_str().as_bytes(), value.as_bytes());
    }
    line(b"Connection", b"Upgrade");
    let protocol = request.headers().get(header::UPGRADE);
    line(
        b"Upgrade",
        protocol.map_or(b"tcp", |protocol| protocol.as_bytes()),
    );
    line(
        b"Content-Length",
        request.body().len().to_string().as_bytes(),
    );
    head.extend_from_slice(b"\r\n");
    head
}

struct Head {
    status: StatusCode,
    headers: HeaderMap,
    length: usize,
}

fn parse_head(bytes: &[u8]) -> Result<Option<Head>> {
    let bad =
        |reason: String| Error::protocol(format!("the engine's answer is not HTTP: {reason}"));
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response
        .parse(bytes)
        .map_err(|error| bad(error.to_string()))?
    {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => length,
    };
    let status = StatusCode::from_u16(response.code.unwrap_or(0))
        .map_err(|_| bad("it has no status".into()))?;
    let mut headers = HeaderMap::new();
    for field in response.headers.iter() {
        if let (Ok(name), Ok(value)) = (
            HeaderName::try_from(field.name),
            HeaderValue::from_bytes(field.value),
        ) {
            headers.append(name, value);
        }
    }
    Ok(Some(Head {
        status,
        headers,
        length,
    }))
}

/// Bytes that were read too early, put back in front of a stream.
struct Front(Bytes);

impl ReadRule for Front {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Pin::new(stream).poll_read(context, buffer);
        }
        let count = self.0.len().min(buffer.remaining());
        buffer.put_slice(&self.0.split_to(count));
        Poll::Ready(Ok(()))
    }
}

const LIMIT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(bytes: &'static [u8]) -> Result<Upgraded> {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move {
            let mut request = vec![0; 4096];
            let _ = far.read(&mut request).await;
            for byte in bytes {
                let _ = far.write_all(&[*byte]).await;
            }
        });
        let request = Request::post("/exec/1/start")
            .body(Bytes::from_static(b"{}"))
            .unwrap();
        upgrade(Box::new(near), request).await
    }

    #[tokio::test]
    async fn bytes_behind_the_head_belong_to_the_stream() {
        let answer = answer(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n\0\0hello")
            .await
            .unwrap();
        let Upgraded::Stream { mut stream, .. } = answer else {
            panic!("{answer:?}")
        };
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"\0\0hello");
    }

    #[tokio::test]
    async fn a_refusal_keeps_its_body() {
        let answer = answer(b"HTTP/1.1 409 Conflict\r\nContent-Length: 5\r\n\r\nsorry")
            .await
            .unwrap();
        let Upgraded::Refused { status, body } = answer else {
            panic!("{answer:?}")
        };
        assert_eq!((status.as_u16(), &body[..]), (409, &b"sorry"[..]));
    }

    #[tokio::test]
    async fn what_is_not_http_is_a_protocol_error() {
        let error = answer(b"\x15\x03\x01\0\x02\x02\x16").await.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Protocol);
        let error = answer(b"HTTP/1.1 20").await.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Unavailable);
    }

    #[test]
    fn the_head_asks_for_the_upgrade_once() {
        let request = Request::post("http://x/a?b=c")
            .header("Connection", "close")
            .body(Bytes::from_static(b"{}"))
            .unwrap();
        let head = String::from_utf8(head_of(&request)).unwrap();
        assert_eq!(
            head,
            "POST /a?b=c HTTP/1.1\r\nHost: longshore\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
             Content-Length: 2\r\n\r\n"
        );
    }
}
