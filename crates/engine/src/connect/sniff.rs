use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use longshore_core::{Error, ReadRule};
use tokio::io::{AsyncRead, ReadBuf};

use super::place::Place;

/// Recognises a TLS server at the other end of a plain stream by what the first read gives, and fails
/// with an error that says so instead of leaving the caller with "not HTTP".
pub(super) struct Sniff(Option<Place>);

impl Sniff {
    pub(super) fn new(place: Place) -> Self {
        Self(Some(place))
    }
}

impl ReadRule for Sniff {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(stream).poll_read(context, buffer))?;
        let read = &buffer.filled()[before..];
        if let Some(place) = self.0.take_if(|_| !read.is_empty())
            && is_tls_server(read)
        {
            // A read that fails has read nothing.
            buffer.set_filled(before);
            return Poll::Ready(Err(io::Error::other(
                Error::protocol(format!(
                    "{place} speaks TLS and was spoken to in plain text: turn TLS on (--tlsverify \
                     with --tlscacert, --tlscert and --tlskey)"
                ))
                .with_retryable(false),
            )));
        }
        Poll::Ready(Ok(()))
    }
}

/// A TLS alert record, or what Go's TLS server says to plain HTTP.
fn is_tls_server(start: &[u8]) -> bool {
    let alert = matches!(start, [0x15, 0x03, 0..=4, ..]);
    let go = start.starts_with(b"HTTP/1.0 400")
        && String::from_utf8_lossy(start).contains("sent an HTTP request to an HTTPS server");
    alert || go
}

#[cfg(test)]
mod tests {
    use longshore_core::{ErrorKind, ReadThrough};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn first_read(answer: &[u8]) -> io::Result<Vec<u8>> {
        let (near, mut far) = tokio::io::duplex(1024);
        far.write_all(answer).await.unwrap();
        drop(far);
        // With room, as HTTP clients read.
        let mut bytes = Vec::with_capacity(1024);
        let mut sniffed = ReadThrough::new(
            near,
            Sniff::new(Place {
                peer: "engine",
                address: "tcp://a:1".into(),
            }),
        );
        while sniffed.read_buf(&mut bytes).await? > 0 {}
        Ok(bytes)
    }

    #[tokio::test]
    async fn a_tls_server_is_recognised() {
        for answer in [
            &b"\x15\x03\x03\0\x02\x02\x0a"[..],
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
        ] {
            let error = first_read(answer).await.unwrap_err();
            let told = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
            assert_eq!(told.kind(), ErrorKind::Protocol);
        }
    }

    #[tokio::test]
    async fn everything_else_passes_unchanged() {
        for answer in [&b"HTTP/1.0 400 Bad Request\r\n\r\nno"[..], b"", b"\x15\x02"] {
            assert_eq!(first_read(answer).await.unwrap(), answer);
        }
    }
}
