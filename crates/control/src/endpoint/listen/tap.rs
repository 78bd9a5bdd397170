//! A byte stream between a client and the HTTP library, for what the library does not do:
//!
//! * a deadline for a request head, and another for an idle connection;
//! * an answer with a message to a head that is malformed, truncated, too large or too late (the
//!   library answers such heads by itself, without a body, or not at all);
//! * raw streams for clients that don't send `Upgrade`: the library only gives a connection away
//!   with 101, so the request gets the header on its way in and the answer its 200 on its way out.

mod head;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use longshore_core::{BoxFuture, ByteStream, Clock};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::head::{Fault, looked_at, refusal};
use super::slots::Slot;

/// What the tap and the handlers of its connection tell each other.
#[derive(Debug)]
pub(in crate::endpoint) struct TapState {
    /// A request is being answered.
    busy: AtomicBool,
    /// The client did not ask for an upgrade and must not see a 101.
    legacy: AtomicBool,
    /// The connection is a raw stream from here on: nothing in it is HTTP.
    raw: AtomicBool,
    /// The connection's place, also when it is a raw stream.
    slot: Slot,
}

impl TapState {
    pub(super) fn new(slot: Slot) -> Self {
        Self {
            busy: AtomicBool::new(false),
            legacy: AtomicBool::new(false),
            raw: AtomicBool::new(false),
            slot,
        }
    }

    /// A request came. False: the connection has to give way, the request must not be answered.
    pub(super) fn begin(&self) -> bool {
        self.busy.store(true, Ordering::Release);
        self.slot.work()
    }

    /// The request was answered.
    pub(super) fn end(&self) {
        self.busy.store(false, Ordering::Release);
        if !self.is_raw() {
            self.slot.wait();
        }
    }

    pub(super) fn set_raw(&self) {
        self.raw.store(true, Ordering::Release);
    }

    fn set_legacy(&self) {
        self.legacy.store(true, Ordering::Release);
    }

    fn is_raw(&self) -> bool {
        self.raw.load(Ordering::Acquire)
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    pub(in crate::endpoint) fn is_legacy(&self) -> bool {
        self.legacy.load(Ordering::Acquire)
    }
}

/// Deadlines for what a client sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct TapLimits {
    /// For a request head, from its first byte; for the first one from the connection's start.
    pub(super) head: Duration,
    /// For a connection between two requests.
    pub(super) idle: Duration,
    /// How long a head may be.
    pub(super) head_bytes: usize,
}

pub(super) struct Tap<S> {
    stream: S,
    state: Arc<TapState>,
    clock: Arc<dyn Clock>,
    limits: TapLimits,
    /// The first head while it is looked at, then what is handed on before the stream.
    front: Front,
    /// Bytes of the head that is being read.
    received: usize,
    first: bool,
    /// The one 101 that is hidden has passed.
    switched: bool,
    timer: Option<(bool, BoxFuture<'static, ()>)>,
    fault: Option<Fault>,
    pending: Bytes,
    parting: Parting,
    /// The client's end came while a request began.
    end_held_back: bool,
}

/// What is left to do after a refusal: a connection that is closed while the client still sends
/// would be reset, and the refusal lost with it.
enum Parting {
    None,
    Closing,
    Draining(BoxFuture<'static, ()>, usize),
    Done,
}

enum Front {
    Looking(BytesMut),
    Handing(Bytes),
}

impl<S: ByteStream> Tap<S> {
    pub(super) fn new(
        stream: S,
        state: Arc<TapState>,
        clock: Arc<dyn Clock>,
        limits: TapLimits,
    ) -> Self {
        Self {
            stream,
            state,
            clock,
            limits,
            front: Front::Looking(BytesMut::new()),
            received: 0,
            first: true,
            switched: false,
            timer: None,
            fault: None,
            pending: Bytes::new(),
            parting: Parting::None,
            end_held_back: false,
        }
    }

    /// Reads the first head whole, unless it can't be one that needs a change.
    fn poll_front(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Front::Looking(seen) = &mut self.front {
            if let Some(bytes) = looked_at(seen, &self.state) {
                self.front = Front::Handing(bytes);
                break;
            }
            if seen.len() >= MAX_LOOK {
                self.front = Front::Handing(seen.split().freeze());
                break;
            }
            let mut chunk = [0; 4096];
            let mut buffer = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                self.front = Front::Handing(seen.split().freeze());
                break;
            }
            self.received += buffer.filled().len();
            seen.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(()))
    }

    fn poll_bytes(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_front(context))?;
        if let Front::Handing(front) = &mut self.front
            && !front.is_empty()
        {
            let count = front.len().min(buffer.remaining());
            buffer.put_slice(&front.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }

    /// Whether the present wait took too long.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let in_head = self.first || self.received > 0;
        if self.timer.as_ref().is_none_or(|(kind, _)| *kind != in_head) {
            let limit = if in_head {
                self.limits.head
            } else {
                self.limits.idle
            };
            let clock = Arc::clone(&self.clock);
            let deadline = clock.now().after(limit);
            let sleep = Box::pin(async move { clock.sleep_until(deadline).await });
            self.timer = Some((in_head, sleep));
        }
        match &mut self.timer {
            Some((_, sleep)) => sleep.as_mut().poll(context),
            None => Poll::Pending,
        }
    }

    /// Makes the library refuse the head, so that it answers and closes.
    fn spoil(&mut self, fault: Fault, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.fault = Some(fault);
        let spoiler = &SPOILER[..SPOILER.len().min(buffer.remaining())];
        buffer.put_slice(spoiler);
        Poll::Ready(Ok(()))
    }

    fn poll_pending(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, &self.pending))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Ends our half, then reads what still comes, for a moment.
    fn poll_parting(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.parting {
                Parting::None | Parting::Done => return Poll::Ready(Ok(())),
                Parting::Closing => {
                    ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
                    let clock = Arc::clone(&self.clock);
                    let deadline = clock.now().after(PARTING);
                    let sleep = Box::pin(async move { clock.sleep_until(deadline).await });
                    self.parting = Parting::Draining(sleep, MAX_PARTING);
                }
                Parting::Draining(sleep, left) => {
                    let mut chunk = [0; 4096];
                    let mut buffer = ReadBuf::new(&mut chunk);
                    let over = match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                        Poll::Ready(Ok(())) => {
                            *left = left.saturating_sub(buffer.filled().len());
                            buffer.filled().is_empty() || *left == 0
                        }
                        Poll::Ready(Err(_)) => true,
                        Poll::Pending => {
                            ready!(sleep.as_mut().poll(context));
                            true
                        }
                    };
                    if over {
                        self.parting = Parting::Done;
                    }
                }
            }
        }
    }

    /// How many of these bytes are replaced by what is pending now.
    fn replace(&mut self, bytes: &[u8]) -> Option<usize> {
        if !bytes.starts_with(b"HTTP/1.1 ") {
            return None;
        }
        if self.state.is_legacy() && !self.switched && bytes.starts_with(b"HTTP/1.1 101 ") {
            self.switched = true;
            let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
            self.pending = Bytes::from_static(b"HTTP/1.1 200 OK\r\n");
            return Some(line);
        }
        if self.state.is_busy() || self.state.is_raw() {
            return None;
        }
        let error = refusal(bytes, self.fault, &self.limits)?;
        self.parting = Parting::Closing;
        let body = error.to_json();
        self.pending = format!(
            "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            error.status(),
            body.len()
        )
        .into();
        Some(bytes.len())
    }
}

impl<S: ByteStream> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if this.state.is_busy() || this.state.is_raw() {
            this.received = 0;
            this.first = false;
            this.timer = None;
            let read = this.poll_bytes(context, buffer);
            let is_end = matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() == before;
            if is_end && buffer.remaining() > 0 && !this.end_held_back {
                // The library drops a request whose client has left before the handler saw it.
                // Whoever asked and hung up at once is served like one who waited a moment.
                this.end_held_back = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return read;
        }
        match this.poll_bytes(context, buffer) {
            Poll::Ready(Ok(())) => {
                let count = buffer.filled().len() - before;
                if count > 0 {
                    this.received += count;
                } else if this.received > 0 && this.fault.is_none() {
                    return this.spoil(Fault::Truncated, buffer);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(this.poll_deadline(context));
                this.timer = None;
                if this.received > 0 && this.fault.is_none() {
                    // What was looked at goes first: the spoiler must stand behind it.
                    if let Front::Looking(seen) = &mut this.front {
                        seen.extend_from_slice(SPOILER);
                        this.front = Front::Handing(seen.split().freeze());
                        this.fault = Some(Fault::Late);
                        return this.poll_bytes(context, buffer);
                    }
                    return this.spoil(Fault::Late, buffer);
                }
                // An idle connection just ends.
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<S: ByteStream> AsyncWrite for Tap<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_pending(context))?;
        if let Some(count) = this.replace(bytes) {
            return Poll::Ready(Ok(count));
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_pending(context))?;
        if let Some(first) = slices.iter().find(|slice| !slice.is_empty())
            && let Some(count) = this.replace(first)
        {
            return Poll::Ready(Ok(count));
        }
        Pin::new(&mut this.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(context))?;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.poll_parting(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

const MAX_LOOK: usize = 16 * 1024;
const PARTING: Duration = Duration::from_secs(1);
const MAX_PARTING: usize = 4 << 20;
/// No method, target or field may hold a NUL.
const SPOILER: &[u8] = b"\0\r\n\r\n";
