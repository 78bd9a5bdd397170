//! The way to one other member: frames are sent in order, or lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use longshore_core::{Backoff, Clock, ClockExt, Error, Random, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use super::{
    frame::{self, Hello},
    network::RaftNetwork,
};

/// Where frames for a member are put.
#[derive(Clone, Debug)]
pub(super) struct Outbound {
    frames: mpsc::Sender<Bytes>,
    /// Bytes that wait.
    waiting: Arc<AtomicUsize>,
}

/// What carries them there.
pub(super) struct Carrier {
    pub(super) me: String,
    pub(super) peer: String,
    pub(super) network: Arc<dyn RaftNetwork>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    frames: mpsc::Receiver<Bytes>,
    waiting: Arc<AtomicUsize>,
}

pub(super) fn outbound(
    (me, peer): (&str, &str),
    network: &Arc<dyn RaftNetwork>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> (Outbound, Carrier) {
    let (sender, frames) = mpsc::channel(MOST_FRAMES);
    let waiting = Arc::new(AtomicUsize::new(0));
    let carrier = Carrier {
        me: me.to_owned(),
        peer: peer.to_owned(),
        network: network.clone(),
        clock: clock.clone(),
        random: random.clone(),
        frames,
        waiting: waiting.clone(),
    };
    let outbound = Outbound {
        frames: sender,
        waiting,
    };
    (outbound, carrier)
}

impl Outbound {
    /// Dropped when too much waits: whoever needs an answer asks again.
    pub(super) fn send(&self, frame: Bytes) {
        let size = frame.len();
        if self.waiting.fetch_add(size, Ordering::Relaxed) > MOST_BYTES
            || self.frames.try_send(frame).is_err()
        {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
        }
    }
}

impl Carrier {
    /// Connects, sends, and begins again, until nobody sends any more.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut told = false;
        while !self.frames.is_closed() || !self.frames.is_empty() {
            let began = self.clock.now();
            let error = match self.carry().await {
                Ok(()) => return,
                Err(error) => error,
            };
            // A connection that held for a while is no failed attempt.
            if self.clock.now().since(began) > LONGEST_PAUSE {
                backoff.reset();
                told = false;
            }
            if !std::mem::replace(&mut told, true) {
                let (peer, error) = (&self.peer, error.chain());
                tracing::warn!(peer, error, "a manager can't be reached; trying on");
            }
            // What waits is old by the time that it could be sent.
            while let Ok(frame) = self.frames.try_recv() {
                self.waiting.fetch_sub(frame.len(), Ordering::Relaxed);
            }
            self.clock
                .sleep(backoff.next_delay(self.random.as_ref()))
                .await;
        }
    }

    async fn carry(&mut self) -> Result<()> {
        let clock = self.clock.clone();
        let dial = self.network.dial(&self.peer);
        let stream = clock.timeout(LONGEST_DIAL, "connecting", dial).await??;
        let (mut read, mut write) = tokio::io::split(stream);
        let hello = Hello::Member(self.me.clone());
        clock
            .timeout(LONGEST_DIAL, "connecting", hello.write(&mut write))
            .await??;
        tracing::debug!(peer = self.peer, "connected to a manager");
        let mut end = [0; 1];
        loop {
            let frame = tokio::select! {
                frame = self.frames.recv() => frame,
                // The other side says nothing here, so this is its end.
                _ = read.read(&mut end) => {
                    return Err(Error::unavailable("the manager closed the connection"));
                }
            };
            let Some(first) = frame else {
                return Ok(());
            };
            let mut batch = BytesMut::new();
            let mut sizes = first.len();
            frame::push(&mut batch, &first);
            while batch.len() < BATCH
                && let Ok(more) = self.frames.try_recv()
            {
                sizes += more.len();
                frame::push(&mut batch, &more);
            }
            self.waiting.fetch_sub(sizes, Ordering::Relaxed);
            let sending = async {
                write.write_all(&batch).await?;
                write.flush().await
            };
            // The stream is given up then, so it does not matter how far it came.
            clock
                .timeout(LONGEST_WRITE, "sending to a manager", sending)
                .await?
                .map_err(frame::broken)?;
        }
    }
}

/// How many frames may wait for a member.
const MOST_FRAMES: usize = 4096;
const MOST_BYTES: usize = 64 << 20;
/// How much is sent at once.
const BATCH: usize = 1 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_DIAL: Duration = Duration::from_secs(3);
const LONGEST_WRITE: Duration = Duration::from_secs(10);
