use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

/// A connected unix socket that wakes its task only for what the task waits for.
///
/// A tokio socket asks the kernel to be told of room to write, too. The kernel tells of it whenever
/// the peer has read something, so each exchange of a request and its answer wakes either side once
/// for nothing: the peer pays for waking, and this side for looking. Here room is asked for once a
/// write found none, and from then on.
///
/// A half-close and the end of the peer are those of the socket. Reading and writing are cancel safe
/// as those of any [`AsyncRead`] and [`AsyncWrite`].
#[derive(Debug)]
pub struct UnixByteStream {
    readable: AsyncFd<UnixStream>,
    /// What is read passes through here, since whatever a reader brings would have to be cleared
    /// first, however little comes. Empty until something comes.
    passage: Vec<u8>,
    /// The last read filled the passage: clearing is cheaper now than reading in small pieces.
    in_bulk: bool,
    /// The same socket once more; only after a write had to wait.
    writable: Option<AsyncFd<UnixStream>>,
}

impl UnixByteStream {
    /// Takes over a socket that tokio has connected or accepted. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// The runtime can't watch it, for example because no more descriptors may be watched.
    pub fn new(stream: tokio::net::UnixStream) -> io::Result<Self> {
        Ok(Self {
            readable: watched(stream.into_std()?, Interest::READABLE)?,
            passage: Vec::new(),
            in_bulk: false,
            writable: None,
        })
    }

    fn poll_written(
        &mut self,
        context: &mut Context<'_>,
        write: impl Fn(&UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let Some(writable) = &self.writable else {
                match write(self.readable.get_ref()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let again = self.readable.get_ref().try_clone()?;
                        self.writable = Some(watched(again, Interest::WRITABLE)?);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    done => return Poll::Ready(done),
                }
                continue;
            };
            let mut ready = ready!(writable.poll_write_ready(context))?;
            match write(writable.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

/// Newer tokio wants `unsafe` here, because a type could give another descriptor each time it is
/// asked. The standard library's socket gives its own.
#[expect(
    deprecated,
    reason = "its successor is unsafe, for types that lie about their descriptor"
)]
fn watched(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(stream, interest)
}

impl AsyncRead for UnixByteStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let mut ready = ready!(this.readable.poll_read_ready(context))?;
            let mut stream = this.readable.get_ref();
            let (room, done) = if this.in_bulk {
                let space = buffer.initialize_unfilled_to(buffer.remaining().min(BULK));
                let room = space.len();
                let done = stream.read(space);
                if let Ok(count) = done {
                    buffer.advance(count);
                }
                (room, done)
            } else {
                this.passage.resize(PASSAGE, 0);
                let room = buffer.remaining().min(PASSAGE);
                let done = stream.read(&mut this.passage[..room]);
                if let Ok(count) = done {
                    buffer.put_slice(&this.passage[..count]);
                }
                (room, done)
            };
            match done {
                Ok(count) => {
                    // Less than there was room for: nothing is left, so the next read need not ask.
                    if 0 < count && count < room {
                        ready.clear_ready();
                    }
                    this.in_bulk = count >= PASSAGE;
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for UnixByteStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = |mut stream: &UnixStream| stream.write(bytes);
        self.get_mut().poll_written(context, write)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = |mut stream: &UnixStream| stream.write_vectored(pieces);
        self.get_mut().poll_written(context, write)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.readable.get_ref().shutdown(Shutdown::Write))
    }
}

const PASSAGE: usize = 8 * 1024;
const BULK: usize = 256 * 1024;

#[cfg(test)]
mod tests;
