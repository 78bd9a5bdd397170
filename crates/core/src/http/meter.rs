use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

use crate::{BoxByteStream, Error, ErrorKind, ReadRule, ReadThrough};

/// Bounds what a connection's peer may still send. It stands below the HTTP parser, so whoever
/// reads an answer whole can't be made to read without end.
#[derive(Clone, Debug)]
pub(super) struct Meter(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    limit: AtomicU64,
    left: AtomicU64,
}

impl Meter {
    /// A meter that lets everything through until it is set.
    pub(super) fn open() -> Self {
        Self(Arc::new(Counts {
            limit: AtomicU64::new(u64::MAX),
            left: AtomicU64::new(u64::MAX),
        }))
    }

    /// From here on, at most so many bytes.
    pub(super) fn allow(&self, limit: u64) {
        self.0.limit.store(limit, Ordering::Relaxed);
        self.0.left.store(limit, Ordering::Relaxed);
    }

    pub(super) fn over(&self, stream: BoxByteStream) -> BoxByteStream {
        Box::new(ReadThrough::new(stream, self.clone()))
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        let bytes = bytes as u64;
        let take = |left: u64| left.checked_sub(bytes);
        let taken = self
            .0
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map(drop).map_err(|_| {
            let limit = self.0.limit.load(Ordering::Relaxed);
            io::Error::other(Error::new(
                ErrorKind::ResourceExhausted,
                format!("the answer is larger than {limit} bytes"),
            ))
        })
    }
}

impl ReadRule for Meter {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(stream).poll_read(context, buffer))?;
        Poll::Ready(self.take(buffer.filled().len() - before))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn as_much_as_allowed_and_not_a_byte_more() {
        let (near, mut far) = tokio::io::duplex(64);
        let meter = Meter::open();
        let mut stream = meter.over(Box::new(near));
        let mut read = [0; 64];
        meter.allow(3);
        far.write_all(b"abc").await.unwrap();
        assert_eq!(stream.read(&mut read).await.unwrap(), 3);
        meter.allow(3);
        far.write_all(b"abcd").await.unwrap();
        let error = stream.read(&mut read).await.unwrap_err();
        let told = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
        assert_eq!(told.kind(), ErrorKind::ResourceExhausted);
        assert_eq!(told.message(), "the answer is larger than 3 bytes");
        drop(far);
        assert_eq!(stream.read(&mut read).await.unwrap(), 0, "an end is none");
    }
}
