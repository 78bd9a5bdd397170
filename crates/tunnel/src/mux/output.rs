//! What is to be sent, in which order: control frames, new streams, then data in turn.

use bytes::{Bytes, BytesMut};
use longshore_core::Timestamp;

use super::{Event, Mux, Phase, stream::LocalEnd};
use crate::frame::{self, FIN, HEADER, SENT_DATA, kind};

impl Mux {
    /// The next bytes to send, in pieces of about one frame. After the end of the carrier the
    /// goodbye comes out, then nothing.
    pub fn poll_output(&mut self, now: Timestamp) -> Option<Bytes> {
        self.now = self.now.max(now);
        if let Some(control) = self.take_control(now) {
            return Some(control);
        }
        let Phase::Open { .. } = self.phase else {
            return None;
        };
        let data = self.take_opening().or_else(|| self.take_data())?;
        self.last_output = now;
        if let Some(nonce) = self.liveness.on_output(now) {
            frame::put_ping(&mut self.control, nonce);
        }
        Some(data)
    }

    /// Whether [`poll_output`](Self::poll_output) is worth a call.
    pub fn has_output(&self) -> bool {
        !(self.control.is_empty()
            && self.credits.is_empty()
            && self.opening.is_empty()
            && self.ready.is_empty())
    }

    fn take_control(&mut self, now: Timestamp) -> Option<Bytes> {
        let round_trip = self.liveness.smoothed();
        while self.control.len() < CONTROL_BATCH
            && let Some(id) = self.credits.pop_front()
        {
            let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.live) else {
                continue;
            };
            stream.credit_queued = false;
            let consumed = std::mem::take(&mut stream.consumed);
            self.received.remove(&mut stream.outstanding, consumed);
            let (initial, largest) = (self.options.stream_credit, self.options.max_stream_credit);
            stream
                .window
                .tune(consumed, round_trip, initial, largest, now);
            frame::put_credit(&mut self.control, id, consumed, stream.window.size);
            self.settle(id);
        }
        if self.is_open() {
            self.watch_pool();
        }
        if self.control.is_empty() {
            return None;
        }
        self.last_output = now;
        Some(std::mem::take(&mut self.control).freeze())
    }

    fn take_opening(&mut self) -> Option<Bytes> {
        loop {
            let id = self.opening.pop_front()?;
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            let Some(target) = stream.target.take() else {
                continue;
            };
            let room = stream.send_window.min(self.sent.room(0));
            let first = stream.outbox.take(SENT_DATA.min(room as usize));
            let first = first.as_deref().map_or(&[][..], |piece| &piece[HEADER..]);
            if !self.sent.add(&mut stream.in_flight, first.len() as u32) {
                continue;
            }
            let flags = end_flag(&mut stream.end, stream.outbox.is_empty());
            let target = target.to_string();
            let mut out = BytesMut::with_capacity(HEADER + 2 + target.len() + first.len());
            frame::put_open(&mut out, id, &target, first.len(), flags);
            out.extend_from_slice(first);
            stream.opening = false;
            self.after_sending(id);
            self.schedule(id);
            return Some(out.freeze());
        }
    }

    fn take_data(&mut self) -> Option<Bytes> {
        loop {
            let id = self.ready.pop_front()?;
            let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.live) else {
                continue;
            };
            stream.scheduled = false;
            let window = stream.send_window.saturating_sub(stream.in_flight);
            let pool = self.sent.room(stream.in_flight);
            let most = SENT_DATA.min(window.min(pool) as usize);
            let piece = stream.outbox.take(most);
            if piece.is_none() && !stream.outbox.is_empty() {
                // Without credit; a CREDIT frame schedules it again. Without a place in the pool,
                // any stream's credit may help.
                if window > 0 {
                    stream.scheduled = true;
                    self.starved.push_back(id);
                }
                continue;
            }
            let mut piece = piece.unwrap_or_else(|| BytesMut::zeroed(HEADER));
            let length = piece.len() - HEADER;
            if !self.sent.add(&mut stream.in_flight, length as u32) {
                continue;
            }
            let flags = end_flag(&mut stream.end, stream.outbox.is_empty());
            if length == 0 && flags == 0 {
                continue;
            }
            piece[..HEADER].copy_from_slice(&frame::header(kind::DATA, flags, length, id));
            self.after_sending(id);
            self.schedule(id);
            return Some(piece.freeze());
        }
    }

    fn after_sending(&mut self, id: u32) {
        let half = self.options.send_buffer / 2;
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.write_blocked
            && stream.outbox.len() <= half
        {
            stream.write_blocked = false;
            self.events.push_back(Event::Writable(id));
        }
        self.settle(id);
    }
}

/// The FIN flag, when the end is wanted and nothing is left before it.
fn end_flag(end: &mut LocalEnd, drained: bool) -> u8 {
    if *end == LocalEnd::Wanted && drained {
        *end = LocalEnd::Sent;
        FIN
    } else {
        0
    }
}

/// How many bytes of control frames are sent in one piece, about.
const CONTROL_BATCH: usize = 4096;
