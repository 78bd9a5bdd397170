//! What the peer sends, frame by frame.

use longshore_core::{CloseReason, Timestamp, printable};

use super::{
    Event, Fault, Ledger, Mux, Phase,
    liveness::UNASKED,
    options::{MAX_CREDIT, MAX_STREAMS, MIN_CREDIT, VERSION},
    stream::Stream,
};
use crate::frame::{self, FrameError, GoAwayCode, Hello, Item, MAX_TEXT, ResetCode};

impl Mux {
    /// Takes bytes from the peer, however they are cut. Never fails: bytes that break the protocol
    /// end the carrier, with a reason for both sides.
    pub fn handle_input(&mut self, bytes: &[u8], now: Timestamp) {
        if self.close_reason().is_some() {
            return;
        }
        self.now = self.now.max(now);
        self.liveness.on_bytes(now);
        let mut input = bytes;
        loop {
            match self.decoder.next(&mut input) {
                Ok(None) => return,
                Ok(Some(item)) => {
                    if let Err(fault) = self.handle_item(item, now) {
                        return self.fail(fault);
                    }
                    if self.close_reason().is_some() {
                        return;
                    }
                }
                Err(error) if self.is_open() => {
                    return self.fail(Fault::protocol(error.to_string()));
                }
                Err(error) => {
                    let text = format!("{}: {error}", FrameError::NotLongshore);
                    return self.fail(Fault::protocol(text));
                }
            }
        }
    }

    fn handle_item(&mut self, item: Item<'_>, now: Timestamp) -> Result<(), Fault> {
        if let (Phase::Hello { .. }, Item::Hello(hello)) = (&self.phase, &item) {
            return self.on_hello(*hello, now);
        }
        if let Item::GoAway { code, last, text } = item {
            self.on_go_away(code, last, &text);
            return Ok(());
        }
        if !self.is_open() {
            return Err(Fault::protocol("a frame before HELLO".to_owned()));
        }
        if !matches!(item, Item::Ping(_)) {
            self.liveness.on_answer();
        }
        match item {
            Item::Open { stream, target } => self.on_open(stream, target, now)?,
            Item::Data { stream, bytes } => self.on_data(stream, bytes, now)?,
            Item::Fin { stream } => self.on_fin(stream)?,
            Item::Credit {
                stream,
                consumed,
                window,
            } => {
                self.on_credit(stream, consumed, window, now)?;
            }
            Item::Reset { stream, code } => self.on_reset(stream, code, now)?,
            Item::Ping(nonce) => {
                self.nuisance(now, "pings")?;
                frame::put_pong(&mut self.control, nonce);
            }
            Item::Pong(nonce) => {
                if !self.liveness.on_pong(nonce, now) {
                    self.nuisance(now, "answers to no ping")?;
                }
            }
            Item::Skipped => self.nuisance(now, "frames of unknown kinds")?,
            Item::Hello(_) => return Err(Fault::protocol("a second HELLO".to_owned())),
            Item::GoAway { .. } => {}
        }
        if self.control.len() > MAX_CONTROL {
            return Err(Fault::limit("the peer sends and does not read".to_owned()));
        }
        Ok(())
    }

    fn on_hello(&mut self, peer: Hello, now: Timestamp) -> Result<(), Fault> {
        if peer.lowest_version > VERSION || peer.highest_version < VERSION {
            return Err(Fault {
                code: GoAwayCode::Version,
                text: format!(
                    "no common protocol version: this side speaks {VERSION}, the peer {} to {}",
                    peer.lowest_version, peer.highest_version
                ),
            });
        }
        if peer.stream_credit < MIN_CREDIT || peer.carrier_credit < MIN_CREDIT {
            return Err(Fault::protocol(format!(
                "a credit below {MIN_CREDIT} bytes in HELLO"
            )));
        }
        let peer = Hello {
            max_streams: peer.max_streams.min(MAX_STREAMS),
            stream_credit: peer.stream_credit.min(MAX_CREDIT),
            carrier_credit: peer.carrier_credit.min(MAX_CREDIT),
            ..peer
        };
        let own = self.options.hello();
        self.received = Ledger::new(&own, &peer);
        self.sent = Ledger::new(&peer, &own);
        self.phase = Phase::Open { peer };
        self.events.push_back(Event::Opened);
        // Measures the path, and shows that the peer hears us.
        if let Some(nonce) = self.liveness.on_output(now) {
            frame::put_ping(&mut self.control, nonce);
        }
        Ok(())
    }

    fn on_open(
        &mut self,
        id: u32,
        target: Option<longshore_core::StreamTarget>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        if self.side.owns(id) {
            return Err(Fault::protocol(format!(
                "OPEN with stream id {id}, which is not the peer's"
            )));
        }
        if id <= self.highest_peer {
            return Err(Fault::protocol(format!(
                "OPEN with the used stream id {id}"
            )));
        }
        self.highest_peer = id;
        if self.live_peers >= self.options.max_streams {
            let limit = self.options.max_streams;
            return Err(Fault::limit(format!(
                "more than {limit} streams open at once"
            )));
        }
        let Phase::Open { peer } = &self.phase else {
            return Ok(());
        };
        let refusal = match &target {
            None => Some(ResetCode::UnknownTarget),
            Some(_) if self.draining || !self.accepting => Some(ResetCode::Refused),
            Some(_) if self.kept_peers / 2 >= self.options.max_streams => {
                Some(ResetCode::Overloaded)
            }
            Some(_) => None,
        };
        let (Some(target), None) = (target, refusal) else {
            let code = refusal.unwrap_or(ResetCode::Refused);
            frame::put_reset(&mut self.control, id, code);
            return self.nuisance(now, "streams that are refused");
        };
        let stream = Stream::new(
            false,
            target,
            peer.stream_credit,
            self.options.stream_credit,
            now,
        );
        self.streams.insert(id, stream);
        self.live_peers += 1;
        self.kept_peers += 1;
        self.incoming.push_back(id);
        self.events.push_back(Event::Incoming);
        Ok(())
    }

    fn on_data(&mut self, id: u32, bytes: &[u8], now: Timestamp) -> Result<(), Fault> {
        if bytes.is_empty() {
            self.nuisance(now, "empty frames")?;
        }
        if now.since(self.last_output) >= SIGN_OF_LIFE {
            // A long upload over a slow path: its sender should not take our silence for death.
            self.last_output = now;
            frame::put_pong(&mut self.control, UNASKED);
        }
        let known = self.is_known(id);
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.live) else {
            return known
                .ok_or_else(|| Fault::protocol(format!("DATA on stream {id}, never opened")));
        };
        if stream.peer_ended {
            return Err(Fault::protocol(format!(
                "DATA after the end of stream {id}"
            )));
        }
        let length = bytes.len() as u32;
        let over_window = stream.outstanding.saturating_add(length) > stream.window.promised;
        if over_window || !self.received.add(&mut stream.outstanding, length) {
            return Err(Fault::limit(format!(
                "more data on stream {id} than it has credit for"
            )));
        }
        if stream.held {
            stream.inbox.push(bytes);
            if std::mem::take(&mut stream.read_blocked) {
                self.events.push_back(Event::Readable(id));
            }
        } else {
            stream.discarded = true;
            self.consume(id, length);
            self.settle(id);
        }
        self.watch_pool();
        Ok(())
    }

    fn on_fin(&mut self, id: u32) -> Result<(), Fault> {
        let known = self.is_known(id);
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.live) else {
            return known
                .ok_or_else(|| Fault::protocol(format!("end of stream {id}, never opened")));
        };
        if std::mem::replace(&mut stream.peer_ended, true) {
            return Err(Fault::protocol(format!("a second end of stream {id}")));
        }
        if std::mem::take(&mut stream.read_blocked) {
            self.events.push_back(Event::Readable(id));
        }
        self.consume(id, 0);
        self.settle(id);
        Ok(())
    }

    fn on_credit(
        &mut self,
        id: u32,
        consumed: u32,
        window: u32,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let known = self.is_known(id);
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.live) else {
            return known
                .ok_or_else(|| Fault::protocol(format!("CREDIT on stream {id}, never opened")));
        };
        if consumed > stream.in_flight || window > MAX_CREDIT {
            return Err(Fault::protocol(format!("credit overflow on stream {id}")));
        }
        self.sent.remove(&mut stream.in_flight, consumed);
        stream.send_window = window;
        // A receiver saves credit until it is worth a frame, or gives all of it back at the end. A
        // window that goes to and fro is no reason for one either.
        if consumed == 0 || (consumed < LEAST_CREDIT && stream.in_flight > 0) {
            self.nuisance(now, "credits of nothing")?;
        }
        self.schedule(id);
        self.feed_starved();
        self.settle(id);
        Ok(())
    }

    fn on_reset(&mut self, id: u32, code: ResetCode, now: Timestamp) -> Result<(), Fault> {
        let known = self.is_known(id);
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.live) else {
            return known
                .ok_or_else(|| Fault::protocol(format!("RESET of stream {id}, never opened")));
        };
        stream.reset = Some(code);
        stream.inbox.clear();
        let untaken = !stream.ours && stream.target.is_some();
        let held = stream.held;
        self.bury(id);
        if untaken {
            self.incoming.retain(|waiting| *waiting != id);
            self.forget(id);
            return self.nuisance(now, "resets of streams just opened");
        }
        if !held {
            self.forget(id);
        }
        Ok(())
    }

    fn on_go_away(&mut self, code: GoAwayCode, last: u32, text: &str) {
        if code != GoAwayCode::Draining {
            let text = printable(text, MAX_TEXT).into_owned();
            return self.enter_closed(CloseReason::Peer(text));
        }
        self.peer_draining = true;
        let never_taken: Vec<u32> = self
            .streams
            .range(last.saturating_add(1)..)
            .filter(|(_, stream)| stream.ours && stream.live)
            .map(|(id, _)| *id)
            .collect();
        for id in never_taken {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.reset = Some(ResetCode::Refused);
                let held = stream.held;
                self.bury(id);
                if !held {
                    self.forget(id);
                }
            }
        }
    }

    /// `Some` for a stream that was opened at some time: frames for it may still be under way.
    fn is_known(&self, id: u32) -> Option<()> {
        let opened = if self.side.owns(id) {
            self.next_id.is_none_or(|next| id < next)
        } else {
            id <= self.highest_peer
        };
        opened.then_some(())
    }

    fn nuisance(&mut self, now: Timestamp, what: &str) -> Result<(), Fault> {
        if self.nuisance.spend(now) {
            Ok(())
        } else {
            Err(Fault::limit(format!("a flood of {what}")))
        }
    }
}

impl Fault {
    fn protocol(text: String) -> Self {
        Self {
            code: GoAwayCode::Protocol,
            text,
        }
    }

    fn limit(text: String) -> Self {
        Self {
            code: GoAwayCode::Limit,
            text,
        }
    }
}

/// How many bytes of control frames may wait for a peer that does not read.
const MAX_CONTROL: usize = 64 * 1024;

/// Less credit than this comes only with all that is under way: half of the smallest reserve.
const LEAST_CREDIT: u32 = 128;

/// After how long without output a receiver of data says that it is there.
const SIGN_OF_LIFE: std::time::Duration = std::time::Duration::from_secs(1);
