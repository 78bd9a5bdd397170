use futures::{SinkExt, StreamExt};
use longshore_core::{ClockExt, Timestamp};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::{
    Shared,
    socket::{self, Sending, Socket},
};
use crate::{
    protocol::{
        Encoder, Outgoing,
        lain::{LainEncoder, LainText},
    },
    session::{RecordedOutput, RecordingStream},
};

impl Shared {
    /// Sends a recording in its own time.
    pub(super) async fn replay(
        &self,
        socket: Socket,
        mut recording: RecordingStream,
        mut encoder: LainEncoder,
    ) {
        let (clock, options) = (&*self.clock, &self.options);
        let (mut sending, mut receiving) = socket.split();
        let start = clock.now();
        let mut next_ping = start.after(options.ping);
        let mut out = Outgoing::default();
        let mut waiting: Option<(Timestamp, RecordedOutput)> = None;
        while out.closing.is_none() {
            let due = waiting.as_ref().map(|(at, _)| *at);
            tokio::select! {
                piece = recording.next(), if waiting.is_none() => match piece {
                    Some(Ok(piece)) => waiting = Some((start.after(piece.at), piece)),
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
                    if self.put(&mut sending, Message::Ping(Bytes::new())).await.is_none() {
                        return;
                    }
                    encoder.keepalive(&mut out);
                }
                message = receiving.next() => match message {
                    // The client only listens; whatever it says is nothing.
                    Some(Ok(message)) if !message.is_close() => {}
                    _ => return,
                },
            }
            for message in out.messages.drain(..) {
                if self
                    .put(&mut sending, Message::Binary(message))
                    .await
                    .is_none()
                {
                    return;
                }
            }
        }
        if let Some(closing) = out.closing {
            let limit = options.close_limit;
            socket::close(&mut sending, Some(&mut receiving), closing, limit, clock).await;
        }
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
