//! Runs a [`Mux`](crate::Mux) over a byte stream: one task per carrier. It moves bytes and takes no
//! decisions.

mod shared;

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use longshore_core::{BoxFuture, Clock, ClockExt, Error, Timestamp};
pub(crate) use shared::{Progress, Shared, State};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

pub(crate) struct Driver<S> {
    io: S,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    explain: fn(io::Error) -> Error,
    /// Taken from the mux and not yet written.
    pending: VecDeque<Bytes>,
    pending_bytes: usize,
    unflushed: bool,
    timer: Option<(Timestamp, BoxFuture<'static, ()>)>,
}

/// How far writing has come.
enum Written {
    /// Everything is written and flushed.
    All,
    /// There may be more, but it is time to read again.
    Some,
    /// The connection takes no more for now.
    Blocked,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Driver<S> {
    pub(crate) fn new(
        io: S,
        shared: Arc<Shared>,
        clock: Arc<dyn Clock>,
        explain: fn(io::Error) -> Error,
    ) -> Self {
        Self {
            io,
            shared,
            clock,
            explain,
            pending: VecDeque::new(),
            pending_bytes: 0,
            unflushed: false,
            timer: None,
        }
    }

    /// Runs until the carrier has ended and the goodbye is on its way.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.poll_run(cx)).await;
        if let Some(reason) = self.shared.lock().mux.close_reason() {
            tracing::debug!(%reason, "the carrier has ended");
        }
        let clock = Arc::clone(&self.clock);
        // Whether the goodbye got through is the peer's business from here on.
        let _ = clock
            .timeout(GOODBYE, "saying goodbye", self.say_goodbye())
            .await;
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = self.clock.now();
            let read_all = self.read(cx, now);
            self.check_time(cx, now);
            let written = self.write(cx, now);

            let mut state = self.shared.lock();
            state.dispatch();
            if state.mux.close_reason().is_some() {
                return Poll::Ready(());
            }
            let more_to_write = match written {
                Written::All => state.mux.has_output(),
                Written::Blocked => false,
                Written::Some => true,
            };
            if read_all && (more_to_write || self.timer_is_late(&state)) {
                continue;
            }
            if !read_all {
                // More is there, but others want to run too.
                cx.waker().wake_by_ref();
            }
            state.driver = Some(cx.waker().clone());
            return Poll::Pending;
        }
    }

    /// True when everything that has arrived was read.
    fn read(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        for _ in 0..READS_PER_TURN {
            // On the stack and for this call only: an idle carrier holds no buffer.
            let mut space = [const { MaybeUninit::uninit() }; READ];
            let mut buffer = ReadBuf::uninit(&mut space);
            let outcome = match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => return true,
                Poll::Ready(outcome) => outcome,
            };
            if let Err(error) = outcome {
                self.fail(error);
                return true;
            }
            let mut state = self.shared.lock();
            match buffer.filled() {
                [] => state.mux.handle_end(),
                bytes => state.mux.handle_input(bytes, now),
            }
            state.dispatch();
            if state.mux.close_reason().is_some() {
                return true;
            }
        }
        false
    }

    fn write(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Written {
        for _ in 0..WRITES_PER_TURN {
            self.collect(now);
            let nothing_left = self.pending.is_empty();
            match self.poll_write(cx) {
                Poll::Pending => return Written::Blocked,
                Poll::Ready(Ok(())) if nothing_left => return Written::All,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.fail(error);
                    return Written::All;
                }
            }
        }
        Written::Some
    }

    fn fail(&mut self, error: io::Error) {
        let mut state = self.shared.lock();
        // TLS without a closing alert, TCP without a goodbye: the same to the streams.
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return state.mux.handle_end();
        }
        let error = (self.explain)(error);
        state.mux.handle_failure(&error.chain());
        let _ = self.shared.failure.set(error);
    }

    /// Takes what is to be sent, a batch at a time: what waits here can't be overtaken any more.
    fn collect(&mut self, now: Timestamp) {
        if self.pending_bytes >= BATCH {
            return;
        }
        let mut state = self.shared.lock();
        while self.pending_bytes < BATCH
            && let Some(piece) = state.mux.poll_output(now)
        {
            self.pending_bytes += piece.len();
            self.pending.push_back(piece);
        }
        state.dispatch();
    }

    /// Writes one batch, or flushes when there is none.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pending.is_empty() {
            if self.unflushed {
                ready!(Pin::new(&mut self.io).poll_flush(cx))?;
                self.unflushed = false;
            }
            return Poll::Ready(Ok(()));
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pending) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..count]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.unflushed = true;
        self.advance(written);
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        self.pending_bytes -= written;
        while written > 0
            && let Some(piece) = self.pending.front_mut()
        {
            let part = written.min(piece.len());
            piece.advance(part);
            written -= part;
            if piece.is_empty() {
                self.pending.pop_front();
            }
        }
    }

    /// Tells the mux the time when its deadline has come. A timer that rings early is set again,
    /// so that traffic, which only moves the deadline away, costs nothing.
    fn check_time(&mut self, cx: &mut Context<'_>, now: Timestamp) {
        let deadline = {
            let mut state = self.shared.lock();
            state.mux.handle_timeout(now);
            state.mux.next_deadline()
        };
        let Some(deadline) = deadline else {
            self.timer = None;
            return;
        };
        loop {
            let (_, timer) = match &mut self.timer {
                Some(timer) if timer.0 <= deadline => timer,
                other => other.insert((deadline, sleep_until(&self.clock, deadline))),
            };
            if timer.as_mut().poll(cx).is_pending() {
                return;
            }
            self.timer = None;
            // Asked anew: the deadline may have come since this turn began, and the timer rings at
            // once then, however often it is set. The next turn tells the mux.
            if self.clock.now() >= deadline {
                return;
            }
        }
    }

    /// Whether writing has brought a deadline before the one that the timer is set to.
    fn timer_is_late(&self, state: &State) -> bool {
        match (&self.timer, state.mux.next_deadline()) {
            (Some((set, _)), Some(deadline)) => deadline < *set,
            (set, deadline) => set.is_none() && deadline.is_some(),
        }
    }

    async fn say_goodbye(mut self) {
        let now = self.clock.now();
        self.collect(now);
        while let Some(mut piece) = self.pending.pop_front() {
            if self.io.write_all_buf(&mut piece).await.is_err() {
                return;
            }
        }
        if self.io.shutdown().await.is_err() {
            return;
        }
        // A socket that is closed with unread bytes in it is reset, and the peer might lose the
        // goodbye: read on for a moment.
        let mut rest = (&mut self.io).take(LINGER);
        let mut sink = tokio::io::sink();
        let _ = tokio::io::copy(&mut rest, &mut sink).await;
    }
}

fn sleep_until(clock: &Arc<dyn Clock>, deadline: Timestamp) -> BoxFuture<'static, ()> {
    let clock = Arc::clone(clock);
    Box::pin(async move { clock.sleep_until(deadline).await })
}

/// One read. A TLS record holds at most 16 KiB.
const READ: usize = 16 * 1024;
const READS_PER_TURN: usize = 16;
const WRITES_PER_TURN: usize = 16;
/// How much is taken from the mux at a time.
const BATCH: usize = 64 * 1024;
const SLICES: usize = 32;
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// How many bytes of a peer that is being left are read.
const LINGER: u64 = 1024 * 1024;
