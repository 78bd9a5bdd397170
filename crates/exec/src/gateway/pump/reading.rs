use futures::StreamExt;
use longshore_core::{Error, Result};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::{Between, Pump, lock};
use crate::{
    gateway::{
        held::HeldInput,
        socket::{self, Receiving},
    },
    protocol::{Closing, Command, Decoder, Incoming, Refusal},
};

/// Why the reading side stopped.
pub(super) enum Stop {
    /// The connection is gone, or the client has closed it.
    Gone,
    Refused(Refusal),
    Broken(Closing),
    Barred(Closing),
    Left,
}

impl Pump<'_> {
    /// Reads while there is somewhere to put what is read. Pings are answered by the WebSocket
    /// layer as soon as they are read.
    pub(super) async fn read(
        &self,
        receiving: &mut Receiving,
        decoder: &mut dyn Decoder,
        between: &Between,
    ) -> Stop {
        let clock = &*self.shared.clock;
        let mut held = HeldInput::default();
        loop {
            // While the process takes no input, and enough waits, nothing is read, so no answer is
            // either.
            let listens = held.has_room();
            between.life.set_listening(listens, clock.now());
            let received = lock(&between.receipts).set_blind(!listens);
            if let Err(error) = received.map_or(Ok(()), |it| self.attachment.acknowledge(it)) {
                return refused(error);
            }
            let message = tokio::select! {
                room = self.attachment.input_room(), if !held.is_empty() => {
                    match held.pass_on(room, self.attachment) {
                        Ok(()) => continue,
                        Err(error) => return refused(error),
                    }
                }
                message = receiving.next(), if held.has_room() => message,
            };
            let incoming = match message {
                None => return Stop::Gone,
                Some(Err(WsError::ConnectionClosed | WsError::AlreadyClosed | WsError::Io(_))) => {
                    return Stop::Gone;
                }
                Some(Err(error)) => {
                    return socket::closing_for(&error).map_or(Stop::Gone, Stop::Broken);
                }
                Some(Ok(Message::Close(_))) => return Stop::Gone,
                Some(Ok(Message::Binary(bytes))) => Some(Incoming {
                    bytes,
                    is_text: false,
                }),
                Some(Ok(Message::Text(text))) => Some(Incoming {
                    bytes: text.into(),
                    is_text: true,
                }),
                Some(Ok(Message::Pong(payload))) => {
                    let received = lock(&between.receipts).answered(&payload);
                    if let Err(error) =
                        received.map_or(Ok(()), |it| self.attachment.acknowledge(it))
                    {
                        return refused(error);
                    }
                    None
                }
                Some(Ok(_)) => None,
            };
            // Whatever comes shows that the client lives.
            between.life.heard(clock.now());
            let Some(incoming) = incoming else { continue };
            let command = match decoder.decode(incoming) {
                Ok(command) => command,
                Err(refusal) => return Stop::Refused(refusal),
            };
            match self.apply(command, &mut held, between).await {
                Ok(true) => {}
                Ok(false) => return Stop::Left,
                Err(error) => return refused(error),
            }
        }
    }

    /// Does what a client wants; `false` when it leaves.
    async fn apply(
        &self,
        command: Command,
        held: &mut HeldInput,
        between: &Between,
    ) -> Result<bool> {
        let attachment = self.attachment;
        match command {
            Command::Input(None, bytes) => held.push(bytes, attachment)?,
            Command::Input(offset, bytes) => attachment.receive(offset, bytes)?,
            Command::InputEnd(offset) => held.end(offset, attachment)?,
            Command::Resize(size) => attachment.resize(size),
            Command::Signal(signal) => attachment.signal(signal),
            Command::Acknowledge(offset) => {
                between.acknowledged.up_to(offset);
                attachment.acknowledge(offset)?;
            }
            Command::Pause(paused) => attachment.set_paused(paused),
            Command::Grant(to) => self.change(Some(to), between).await,
            Command::TakeBack => self.change(None, between).await,
            Command::Detach => return Ok(false),
            Command::End => attachment.release(),
            Command::Ping(token) => between
                .pongs
                .try_send(token)
                .map_err(|_| Error::protocol("more pings than answers can be sent"))?,
            Command::Ignore => {}
        }
        Ok(true)
    }
}

fn refused(error: Error) -> Stop {
    let hole = error.context("fault") == Some("input-hole");
    let code = if hole { 4002 } else { 4000 };
    Stop::Refused(Refusal { code, error })
}
