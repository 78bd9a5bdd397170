use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use longshore_core::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::place::Place;

/// A plain stream that recognises a TLS server at the other end by what the first read gives, and
/// fails with an error that says so instead of leaving the caller with "not HTTP".
pub(super) struct Sniffed<S> {
    stream: S,
    place: Option<Place>,
}

impl<S> Sniffed<S> {
    pub(super) fn new(stream: S, place: Place) -> Self {
        Self {
            stream,
            place: Some(place),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sniffed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = &buffer.filled()[before..];
        if let Some(place) = self.place.take_if(|_| !read.is_empty())
            && is_tls_server(read)
        {
            // A read that fails has read nothing.
            buffer.set_filled(before);
            return Poll::Ready(Err(io::Error::other(
                Error::protocol(format!(
                    "{place} speaks TLS and was spoken to in plain text: turn TLS \
                     on (--tlsverify with --tlscacert, --tlscert and --tlskey)"
                ))
                .with_retryable(false),
            )));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sniffed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
    use longshore_core::ErrorKind;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn first_read(answer: &[u8]) -> io::Result<Vec<u8>> {
        let (near, mut far) = tokio::io::duplex(1024);
        far.write_all(answer).await.unwrap();
        drop(far);
        // With room, as HTTP clients read.
        let mut bytes = Vec::with_capacity(1024);
        let mut sniffed = Sniffed::new(
            near,
            Place {
                peer: "engine",
                address: "tcp://a:1".into(),
            },
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
