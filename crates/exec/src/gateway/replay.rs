mod pace;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use longshore_core::{ClockExt, Timestamp};
use tokio_tungstenite::tungstenite::Message;

pub(super) use self::pace::Pace;
use self::pace::Timeline;
use super::{
    Shared,
    admit::Onlooker,
    liveness::Liveness,
    socket::{self, Receiving, Sending, Socket},
};
use crate::{
    protocol::{
        Encoder, Outgoing,
        lain::{LainEncoder, LainText},
    },
    session::{RecordedOutput, RecordingStream},
};

impl Shared {
    /// Sends a recording in its own time, or at another pace, as long as the client lives and has leave.
    pub(super) async fn replay(
        &self,
        socket: Socket,
        recording: RecordingStream,
        pace: Pace,
        mut encoder: LainEncoder,
        onlooker: &Onlooker,
    ) {
        let (clock, options) = (&*self.clock, &self.options);
        let (mut sending, mut receiving) = socket.split();
        let life = Liveness::new(options, clock.now());
        let mut out = Outgoing::default();
        let mut told = tokio::select! {
            () = self.listen(&mut receiving, &life) => return,
            () = life.lapsed(clock) => return,
            told = self.tell(&mut sending, recording, pace, &mut encoder) => match told {
                Some(told) => told,
                None => return,
            },
            _ = onlooker.lapsed(self) => {
                encoder.close(LainText::NotAuthorized, &mut out);
                out
            }
        };
        if self.put_all(&mut sending, &mut told).await.is_some()
            && let Some(closing) = told.closing
        {
            let limit = options.close_limit;
            socket::close(&mut sending, Some(&mut receiving), closing, limit, clock).await;
        }
    }

    /// The client only listens; whatever it says shows that it lives. Returns when it is gone.
    async fn listen(&self, receiving: &mut Receiving, life: &Liveness) {
        while let Some(Ok(message)) = receiving.next().await {
            if message.is_close() {
                return;
            }
            life.heard(self.clock.now());
        }
    }

    /// Gives the last words; `None` when the connection can't be written to.
    async fn tell(
        &self,
        sending: &mut Sending,
        mut recording: RecordingStream,
        pace: Pace,
        encoder: &mut LainEncoder,
    ) -> Option<Outgoing> {
        let (clock, options) = (&*self.clock, &self.options);
        let start = clock.now();
        let mut next_ping = start.after(options.ping);
        let mut out = Outgoing::default();
        let mut line = Timeline::new(pace);
        let mut waiting: Option<(Timestamp, RecordedOutput)> = None;
        loop {
            let due = waiting.as_ref().map(|(at, _)| *at);
            tokio::select! {
                piece = recording.next(), if waiting.is_none() => match piece {
                    Some(Ok(piece)) => waiting = Some((start.after(line.due(piece.at)), piece)),
                    Some(Err(_)) => encoder.close(LainText::ReplayFailed, &mut out),
                    None => encoder.close(LainText::ReplayDone, &mut out),
                },
                () = clock.sleep_until(due.unwrap_or_default()), if due.is_some() => {
                    if let Some((_, piece)) = waiting.take() {
                        encoder.output(piece.kind, piece.bytes, &mut out);
                    }
                }
                () = clock.sleep_until(next_ping) => {
                    next_ping = clock.now().after(options.ping);
                    self.put(sending, Message::Ping(Bytes::new())).await?;
                    encoder.keepalive(&mut out);
                }
            }
            if out.closing.is_some() {
                return Some(out);
            }
            self.put_all(sending, &mut out).await?;
        }
    }

    async fn put_all(&self, sending: &mut Sending, out: &mut Outgoing) -> Option<()> {
        for message in out.messages.drain(..) {
            self.put(sending, Message::Binary(message)).await?;
        }
        Some(())
    }

    async fn put(&self, sending: &mut Sending, message: Message) -> Option<()> {
        let limit = self.options.write_limit;
        let sent = self
            .clock
            .timeout(limit, "sending", sending.send(message))
            .await;
        sent.ok()?.ok()
    }
}
