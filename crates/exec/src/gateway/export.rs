use futures::{SinkExt, StreamExt};
use longshore_core::{ClockExt, Error, Result};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Shared,
    admit::Onlooker,
    socket::{self, Sending, Socket},
};
use crate::{
    protocol::Closing,
    record::{AsciicastWriter, EventStream},
    session::RecordEvent,
};

impl Shared {
    /// Sends a record as asciicast, a line a message, as fast as the client takes it and as long as it
    /// has leave. It is whole if the connection is closed with 1000.
    pub(super) async fn export(&self, socket: Socket, events: EventStream, onlooker: &Onlooker) {
        let (mut sending, mut receiving) = socket.split();
        let gone = async { while let Some(Ok(_)) = receiving.next().await {} };
        let closing = tokio::select! {
            () = gone => return,
            told = self.lines(&mut sending, events) => match told {
                Ok(()) => Closing::new(1000, ""),
                Err(error) => {
                    tracing::info!(error = error.chain(), "a record was not sent to its end");
                    Closing::new(1011, error.to_string())
                }
            },
            closing = onlooker.lapsed(self) => closing,
        };
        let limit = self.options.close_limit;
        let receiving = Some(&mut receiving);
        socket::close(&mut sending, receiving, closing, limit, &*self.clock).await;
    }

    async fn lines(&self, sending: &mut Sending, mut events: EventStream) -> Result<()> {
        let first = events.next().await.transpose()?;
        let first = first.ok_or_else(|| Error::protocol("the record is empty"))?;
        let RecordEvent::Opened(about) = &first.event else {
            return Err(Error::protocol("the record has no beginning"));
        };
        let (mut writer, head) = AsciicastWriter::new(about, first.at);
        self.line(sending, head).await?;
        while let Some(entry) = events.next().await.transpose()? {
            if let Some(line) = writer.event(entry.at, &entry.event) {
                self.line(sending, line).await?;
            }
        }
        match writer.finish() {
            Some(line) => self.line(sending, line).await,
            None => Ok(()),
        }
    }

    async fn line(&self, sending: &mut Sending, line: String) -> Result<()> {
        let limit = self.options.write_limit;
        let sent = sending.send(Message::text(line));
        let sent = self.clock.timeout(limit, "sending", sent).await?;
        sent.map_err(|error| Error::closed("the connection is gone").with_source(error))
    }
}
