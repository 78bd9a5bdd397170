//! Pipes and terminals of children, without blocking.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use longshore_core::{Error, Result, TerminalSize};
use rustix::{
    io::Errno,
    process::Pid,
    termios::{LocalModes, SpecialCodeIndex, Winsize, tcgetattr, tcgetpgrp, tcsetwinsize},
};
use tokio::io::{AsyncWrite, Interest, unix::AsyncFd};

use super::reactor::register;

/// One end of a pipe, or the controlling end of a terminal, in non-blocking mode.
#[derive(Clone, Debug)]
pub(super) struct Pipe(Arc<AsyncFd<OwnedFd>>);

impl Pipe {
    /// Takes over a descriptor. Must be called within a runtime.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        Ok(Self(Arc::new(register(fd, both)?)))
    }

    /// Reads what is there; empty at the end.
    pub(super) fn poll_read(&self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            match self.read_now() {
                Ok(Some(bytes)) => return Poll::Ready(Ok(bytes)),
                Ok(None) => ready.clear_ready(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// As [`poll_read`](Self::poll_read), as a future. Cancel safe.
    pub(super) async fn read(&self) -> io::Result<Bytes> {
        std::future::poll_fn(|context| self.poll_read(context)).await
    }

    /// Asks the kernel itself, not the reactor, whether something is there: after the writer's
    /// end, `None` means that nothing more will come from it.
    pub(super) fn read_now(&self) -> io::Result<Option<Bytes>> {
        let mut buffer = Vec::with_capacity(CHUNK);
        match rustix::io::read(
            self.0.get_ref(),
            rustix::buffer::spare_capacity(&mut buffer),
        ) {
            Ok(_) => Ok(Some(compact(buffer))),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            // A terminal whose other end is closed says so once all was read.
            Err(Errno::IO) => Ok(Some(Bytes::new())),
            Err(error) => Err(error.into()),
        }
    }
}

/// A large buffer with little in it would be kept for long.
fn compact(buffer: Vec<u8>) -> Bytes {
    if buffer.len() < CHUNK / 2 {
        Bytes::copy_from_slice(&buffer)
    } else {
        buffer.into()
    }
}

/// The controlling end of a terminal.
#[derive(Clone, Debug)]
pub(super) struct Terminal(pub(super) Pipe);

impl Terminal {
    pub(super) fn resize(&self, size: TerminalSize) -> Result<()> {
        let size = Winsize {
            ws_col: size.columns,
            ws_row: size.rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(self.0.0.get_ref(), size)
            .map_err(|error| Error::io("cannot resize the terminal", error.into()))
    }

    /// The process group in the foreground.
    pub(super) fn foreground(&self) -> Option<Pid> {
        tcgetpgrp(self.0.0.get_ref()).ok()
    }

    /// The key that means the end of the input, while the terminal works line by line.
    fn end_key(&self) -> Option<u8> {
        let modes = tcgetattr(self.0.0.get_ref().as_fd()).ok()?;
        modes
            .local_modes
            .contains(LocalModes::ICANON)
            .then(|| modes.special_codes[SpecialCodeIndex::VEOF])
    }
}

/// The input of a child.
#[derive(Debug)]
pub(super) enum Input {
    /// A pipe; shutting down closes it.
    Pipe(Option<Pipe>),
    /// A terminal; shutting down types the end key, if it has one just now.
    Terminal {
        /// The terminal.
        terminal: Terminal,
        /// Whether the last byte sent ended a line, so that one end key is enough.
        at_line_start: bool,
        /// End keys to send; `None` before the shutdown.
        ending: Option<Vec<u8>>,
    },
}

impl Input {
    pub(super) fn terminal(terminal: Terminal) -> Self {
        Self::Terminal {
            terminal,
            at_line_start: true,
            ending: None,
        }
    }
}

impl AsyncWrite for Input {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let pipe = match this {
            Self::Pipe(Some(pipe)) => pipe,
            Self::Terminal {
                terminal,
                ending: None,
                ..
            } => &terminal.0,
            _ => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
        let count = ready!(poll_write(pipe, context, bytes))?;
        if let Self::Terminal { at_line_start, .. } = this
            && let Some(last) = bytes[..count].last()
        {
            *at_line_start = matches!(last, b'\n' | b'\r');
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Pipe(pipe) => {
                *pipe = None;
                Poll::Ready(Ok(()))
            }
            Self::Terminal {
                terminal,
                at_line_start,
                ending,
            } => {
                let keys = ending.get_or_insert_with(|| {
                    // Behind an unfinished line the first key only sends that line.
                    let count = if *at_line_start { 1 } else { 2 };
                    terminal
                        .end_key()
                        .map_or(Vec::new(), |key| vec![key; count])
                });
                while !keys.is_empty() {
                    match ready!(poll_write(&terminal.0, context, keys)) {
                        Ok(count) => drop(keys.drain(..count)),
                        // Nobody is left to be told.
                        Err(_) => keys.clear(),
                    }
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

fn poll_write(pipe: &Pipe, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        let mut ready = ready!(pipe.0.poll_write_ready(context))?;
        match rustix::io::write(pipe.0.get_ref(), bytes) {
            Ok(count) => return Poll::Ready(Ok(count)),
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            Err(error) => return Poll::Ready(Err(error.into())),
        }
    }
}

const CHUNK: usize = 16 * 1024;
