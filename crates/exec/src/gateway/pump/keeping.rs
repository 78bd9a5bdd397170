//! Asking a client that says nothing whether it lives.

use std::sync::Mutex;

use bytes::Bytes;
use longshore_core::Result;
use tokio_tungstenite::tungstenite::Message;

use super::{Between, Pump, Shareable, lock};
use crate::protocol::{Encoder, Outgoing};

impl Pump<'_> {
    /// Pings until the client is dead, or can't be written to. Of all that is done for a connection
    /// only this goes on while nothing happens, so it touches nothing that it does not need.
    pub(super) async fn keep(
        &self,
        sending: &Shareable<'_>,
        encoder: &Mutex<Box<dyn Encoder>>,
        between: &Between,
    ) {
        let clock = &*self.shared.clock;
        let mut next_ping = clock.now().after(self.shared.options.ping);
        loop {
            let deadline = between.life.deadline();
            let wake = deadline.map_or(next_ping, |deadline| deadline.min(next_ping));
            clock.sleep_until(wake).await;
            if wake < next_ping {
                // It may have been heard of since.
                if between.life.is_dead(clock.now()) {
                    return;
                }
                continue;
            }
            next_ping = clock.now().after(self.shared.options.ping);
            // Where nothing can be sent it may die meanwhile.
            let sent = tokio::select! {
                biased;
                sent = self.ping(sending, encoder, between) => sent,
                () = between.life.lapsed(clock) => return,
            };
            if sent.is_err() {
                return;
            }
        }
    }

    async fn ping(
        &self,
        sending: &Shareable<'_>,
        encoder: &Mutex<Box<dyn Encoder>>,
        between: &Between,
    ) -> Result<()> {
        let sending = &mut *sending.lock().await;
        if !between.life.listens() {
            // Its own pings can't be read, and it may give up without an answer: one may be sent
            // unasked (RFC 6455, section 5.5.3).
            self.message(sending, Message::Pong(Bytes::new())).await?;
        }
        let open = lock(&between.receipts).open();
        self.ask(sending, open, encoder, &mut Outgoing::default())
            .await
    }
}
