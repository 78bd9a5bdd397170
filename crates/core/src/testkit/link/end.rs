use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Path,
    wire::{self, Wire},
};
use crate::{BoxFuture, Random, Timestamp};

/// One end of a connection over a [`Link`](super::Link). Dropping it closes the connection.
pub struct LinkEnd {
    path: Arc<Path>,
    wire: Arc<Mutex<Wire>>,
    /// The direction that this end writes to.
    out: usize,
    read_timer: Timer,
    write_timer: Timer,
}

type Timer = Option<(Timestamp, BoxFuture<'static, ()>)>;

impl LinkEnd {
    pub(super) fn new(path: &Arc<Path>, wire: &Arc<Mutex<Wire>>, out: usize) -> Self {
        Self {
            path: Arc::clone(path),
            wire: Arc::clone(wire),
            out,
            read_timer: None,
            write_timer: None,
        }
    }

    /// When a segment of this size that is sent now arrives.
    fn arrival(&self, way: &mut wire::OneWay, bytes: usize, now: Timestamp) -> Timestamp {
        let options = &self.path.options;
        let mut left = way.free_at.max(now);
        if let Some(rate) = options.rate {
            left = left.after(Duration::from_secs_f64(bytes as f64 / rate as f64));
        }
        way.free_at = left;
        let mut arrival = left.after(options.delay);
        if !options.jitter.is_zero() {
            arrival = arrival.after(options.jitter.mul_f64(self.path.random.unit()));
        }
        for _ in 0..MAX_RETRANSMITS {
            if options.loss > 0.0 && self.path.random.unit() < options.loss {
                arrival = arrival.after(options.retransmit);
            } else {
                break;
            }
        }
        way.last_arrival = way.last_arrival.max(arrival);
        way.last_arrival
    }
}

impl AsyncRead for LinkEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let direction = 1 - self.out;
        loop {
            let now = self.path.clock.now();
            let outlook = self.path.look(direction, now);
            let mut wire = wire::lock(&self.wire);
            if wire.is_cut {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let way = &mut wire.ways[direction];
            let mut wake_at = outlook.next_fault;
            let next = way.segments.front().map(|(at, _)| *at).or(way.end_at);
            if let Some(at) = next.map(|at| at.max(outlook.stalled_until)) {
                if at <= now {
                    if let Some((_, bytes)) = way.segments.front_mut() {
                        let part = bytes.len().min(buffer.remaining());
                        buffer.put_slice(&bytes[..part]);
                        bytes.advance(part);
                        if bytes.is_empty() {
                            way.segments.pop_front();
                        }
                        way.queued -= part;
                        way.wake_writer();
                    }
                    return Poll::Ready(Ok(()));
                }
                wake_at = Some(wake_at.map_or(at, |fault| fault.min(at)));
            }
            way.reader = Some(cx.waker().clone());
            drop(wire);
            let this = &mut *self;
            if wait(&mut this.read_timer, &this.path, wake_at, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for LinkEnd {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let now = self.path.clock.now();
            let outlook = self.path.look(self.out, now);
            let mut wire = wire::lock(&self.wire);
            if wire.is_cut {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let way = &mut wire.ways[self.out];
            if way.ended || way.deaf {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let room = self.path.options.buffer.saturating_sub(way.queued);
            let part = room.min(bytes.len()).min(SEGMENT);
            if part > 0 || bytes.is_empty() {
                way.queued += part;
                let arrival = self.arrival(way, part, now);
                if !outlook.black_hole && part > 0 {
                    way.segments
                        .push_back((arrival, Bytes::copy_from_slice(&bytes[..part])));
                    way.wake_reader();
                }
                return Poll::Ready(Ok(part));
            }
            way.writer = Some(cx.waker().clone());
            drop(wire);
            let this = &mut *self;
            if wait(&mut this.write_timer, &this.path, outlook.next_fault, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = self.path.clock.now();
        let outlook = self.path.look(self.out, now);
        let mut wire = wire::lock(&self.wire);
        if wire.is_cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let way = &mut wire.ways[self.out];
        if !std::mem::replace(&mut way.ended, true) {
            let arrival = self.arrival(way, 0, now);
            way.end_at = (!outlook.black_hole).then_some(arrival);
            way.wake_reader();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for LinkEnd {
    fn drop(&mut self) {
        let now = self.path.clock.now();
        let outlook = self.path.look(self.out, now);
        let mut wire = wire::lock(&self.wire);
        let arrival = self.arrival(&mut wire.ways[self.out], 0, now);
        let way = &mut wire.ways[self.out];
        if !std::mem::replace(&mut way.ended, true) {
            way.end_at = (!outlook.black_hole).then_some(arrival);
            way.wake_reader();
        }
        // That nobody reads any more is told by an answer, which a black hole swallows too.
        if !outlook.black_hole {
            let other = &mut wire.ways[1 - self.out];
            other.deaf = true;
            other.wake_writer();
        }
    }
}

impl fmt::Debug for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkEnd")
            .field("out", &self.out)
            .finish_non_exhaustive()
    }
}

/// Pending until `at`; for ever without one.
fn wait(
    timer: &mut Timer,
    path: &Arc<Path>,
    at: Option<Timestamp>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(at) = at else {
        *timer = None;
        return Poll::Pending;
    };
    if timer.as_ref().is_none_or(|(set, _)| *set != at) {
        let clock = Arc::clone(&path.clock);
        *timer = Some((at, Box::pin(async move { clock.sleep_until(at).await })));
    }
    if let Some((_, sleep)) = timer {
        std::task::ready!(sleep.as_mut().poll(cx));
    }
    *timer = None;
    Poll::Ready(())
}

/// The most that travels together.
const SEGMENT: usize = 16 * 1024;
const MAX_RETRANSMITS: u32 = 8;
