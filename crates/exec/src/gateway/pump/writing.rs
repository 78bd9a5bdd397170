use std::{future::pending, sync::Mutex, time::Duration};

use bytes::Bytes;
use futures::SinkExt;
use longshore_core::{ClockExt, Error, Result, Timestamp};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::{Between, Pump, Shareable, lock};
use crate::{
    gateway::{
        receipts::Next,
        refill::{PIECE, Refill},
        socket::Sending,
    },
    protocol::{Closing, Encoder, Outgoing},
    session::{Attachment, GapCause, ViewerEvent},
};

impl Pump<'_> {
    /// Writes what the session tells; `None` when the connection can't be written to.
    pub(super) async fn write(
        &self,
        sending: &Shareable<'_>,
        encoder: &Mutex<Box<dyn Encoder>>,
        first: Vec<Bytes>,
        mut asked: mpsc::Receiver<u64>,
        between: &Between,
    ) -> Option<Closing> {
        let clock = &*self.shared.clock;
        let mut out = Outgoing {
            messages: first,
            closing: None,
        };
        let mut flush_at: Option<Timestamp> = None;
        let mut refill: Option<Refill> = None;
        let mut refills = self.refills;
        let acknowledged = &between.acknowledged;
        loop {
            self.send(sending, &mut out).await.ok()?;
            if let Some(closing) = out.closing {
                return Some(closing);
            }
            let held = async {
                match flush_at {
                    Some(at) => clock.sleep_until(at).await,
                    None => pending().await,
                }
            };
            // Nobody waits for a record to be read to its end, and it is not read on by who may not any
            // more.
            let cut = async {
                tokio::select! {
                    () = self.shared.shutdown.requested() => {}
                    () = self.attachment.barred() => {}
                }
            };
            let room = refill
                .as_ref()
                .is_some_and(|refill| acknowledged.has_room(refill.offset()));
            tokio::select! {
                event = next(&mut refill, self.attachment), if room => match event {
                    Some(event) => {
                        let mut encoder = lock(encoder);
                        encoder.event(event, &mut out);
                        flush_at = encoder.holds_back().then(|| clock.now().after(HELD_BACK));
                    }
                    None => refill = None,
                },
                () = acknowledged.changed(), if refill.is_some() => {}
                () = cut, if refill.is_some() => {
                    if let Some(gap) = refill.take().and_then(|mut refill| refill.give_up()) {
                        lock(encoder).event(gap, &mut out);
                    }
                }
                event = self.attachment.next(), if refill.is_none() => {
                    let event = event?;
                    if let ViewerEvent::Gap { from, to, cause: GapCause::Trimmed } = event {
                        acknowledged.up_to(from);
                        if refills.begin() {
                            refill = self.refill(from, to).await;
                        }
                        if refill.is_some() {
                            continue;
                        }
                    }
                    let consumed = match &event {
                        ViewerEvent::Output { offset, bytes, .. } => Some(offset + bytes.len() as u64),
                        _ => None,
                    };
                    let acknowledges = {
                        let mut encoder = lock(encoder);
                        encoder.event(event, &mut out);
                        flush_at = encoder.holds_back().then(|| clock.now().after(HELD_BACK));
                        encoder.client_acknowledges()
                    };
                    if let Some(offset) = consumed.filter(|_| !acknowledges) {
                        let bytes = out.messages.iter().map(Bytes::len).sum();
                        self.send(sending, &mut out).await.ok()?;
                        let next = lock(&between.receipts).sent(offset, bytes, self.attachment.window());
                        match next {
                            Next::Acknowledge(offset) => self.attachment.acknowledge(offset).ok()?,
                            Next::Ask(token) => {
                                let sending = &mut *sending.lock().await;
                                self.ask(sending, Some(token), encoder, &mut out).await.ok()?;
                            }
                            Next::Wait => {}
                        }
                    }
                }
                Some(token) = asked.recv() => lock(encoder).pong(token, &mut out),
                () = held => {
                    flush_at = None;
                    lock(encoder).flush(&mut out);
                }
            }
        }
    }

    /// What is missing, where there is a record of it.
    async fn refill(&self, from: u64, to: u64) -> Option<Refill> {
        let records = self.shared.records.as_deref()?;
        let session = &self.attachment.ready().session;
        let limit = self.shared.options.admit_limit;
        let opened = Refill::open(records, session, from, to);
        let opened = self.shared.clock.timeout(limit, "the record", opened).await;
        opened
            .and_then(|opened| opened)
            .inspect_err(|error| {
                tracing::debug!(
                    error = error.chain(),
                    "a session has no record to go on with"
                );
            })
            .ok()
    }

    /// Each message is flushed by itself, so that each has a TLS record of its own.
    pub(super) async fn send(&self, sending: &Shareable<'_>, out: &mut Outgoing) -> Result<()> {
        if out.messages.is_empty() {
            return Ok(());
        }
        let mut sending = sending.lock().await;
        self.send_on(&mut sending, out).await
    }

    pub(super) async fn send_on(&self, sending: &mut Sending, out: &mut Outgoing) -> Result<()> {
        for message in out.messages.drain(..) {
            self.message(sending, Message::Binary(message)).await?;
        }
        Ok(())
    }

    /// Sends a ping, and what shows that the server lives directly behind it: LAIN's stock client
    /// blocks behind a ping until it has a data message.
    pub(super) async fn ask(
        &self,
        sending: &mut Sending,
        token: Option<u64>,
        encoder: &Mutex<Box<dyn Encoder>>,
        out: &mut Outgoing,
    ) -> Result<()> {
        let payload = token.map_or_else(Bytes::new, |token| {
            Bytes::copy_from_slice(&token.to_be_bytes())
        });
        self.message(sending, Message::Ping(payload)).await?;
        lock(encoder).keepalive(out);
        self.send_on(sending, out).await
    }

    pub(super) async fn message(&self, sending: &mut Sending, message: Message) -> Result<()> {
        let limit = self.shared.options.write_limit;
        let sent = self
            .shared
            .clock
            .timeout(limit, "sending", sending.send(message));
        sent.await?
            .map_err(|error| Error::closed("the connection is gone").with_source(error))
    }
}

/// At the pace of the session, as if it came from its log. Cancel safe.
async fn next(refill: &mut Option<Refill>, attachment: &Attachment) -> Option<ViewerEvent> {
    let Some(refill) = refill else {
        return pending().await;
    };
    let mut allowance = attachment.allowance(PIECE).await;
    let event = refill.next(allowance.bytes()).await;
    if let Some(ViewerEvent::Output { bytes, .. }) = &event {
        allowance.spend(bytes.len());
    }
    event
}

const HELD_BACK: Duration = Duration::from_millis(50);
