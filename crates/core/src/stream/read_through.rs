use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a [`ReadThrough`] does with the reads of its stream: looks at them, bounds them, puts
/// something in front.
pub trait ReadRule {
    /// As [`AsyncRead::poll_read`], on the stream that is behind.
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;
}

/// A stream whose reads go by a rule. What is written passes as it is.
pub struct ReadThrough<S, R> {
    stream: S,
    rule: R,
}

impl<S, R> ReadThrough<S, R> {
    /// This stream, read by this rule.
    pub fn new(stream: S, rule: R) -> Self {
        Self { stream, rule }
    }
}

impl<S: AsyncRead + Unpin, R: ReadRule + Unpin> AsyncRead for ReadThrough<S, R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.rule.poll_read(&mut this.stream, context, buffer)
    }
}

impl<S: AsyncWrite + Unpin, R: Unpin> AsyncWrite for ReadThrough<S, R> {
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

impl<S, R: fmt::Debug> fmt::Debug for ReadThrough<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadThrough").field(&self.rule).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::task::ready;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Reads in capitals.
    #[derive(Debug)]
    struct Loud;

    impl ReadRule for Loud {
        fn poll_read<S: AsyncRead + Unpin>(
            &mut self,
            stream: &mut S,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let before = buffer.filled().len();
            ready!(Pin::new(stream).poll_read(context, buffer))?;
            buffer.filled_mut()[before..].make_ascii_uppercase();
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn reads_go_by_the_rule_and_writes_pass() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut stream = ReadThrough::new(near, Loud);
        stream.write_all(b"quiet").await.unwrap();
        let pieces = [io::IoSlice::new(b", very")];
        assert_eq!(stream.write_vectored(&pieces).await.unwrap(), 6);
        stream.shutdown().await.unwrap();
        let mut heard = String::new();
        far.read_to_string(&mut heard).await.unwrap();
        far.write_all(b"what?").await.unwrap();
        drop(far);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!((&*heard, &*answer), ("quiet, very", "WHAT?"));
    }
}
