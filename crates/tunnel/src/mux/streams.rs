//! What users of a stream do: read, write, end, let go.

use bytes::BufMut;

use super::{Event, Mux, Phase, ReadOutcome, StreamError, stream::LocalEnd};
use crate::frame::{self, ResetCode};

impl Mux {
    /// Takes as many bytes as there is room for; 0 means that there is none and that an
    /// [`Event::Writable`] will follow.
    ///
    /// # Errors
    /// The stream or the carrier has ended.
    pub fn write(&mut self, id: u32, bytes: &[u8]) -> Result<usize, StreamError> {
        let carrier = self.close_reason().cloned();
        let stream = self.streams.get_mut(&id).ok_or(StreamError::Unknown)?;
        stream.touched = true;
        if stream.end != LocalEnd::Open {
            return Err(StreamError::Ended);
        }
        if let Some(code) = stream.reset {
            return Err(StreamError::Reset(code));
        }
        if let Some(reason) = carrier {
            return Err(StreamError::Carrier(reason));
        }
        let room = self.options.send_buffer.saturating_sub(stream.outbox.len());
        let taken = room.min(bytes.len());
        if taken == 0 {
            stream.write_blocked = !bytes.is_empty();
            return Ok(0);
        }
        stream.outbox.push(&bytes[..taken]);
        self.schedule(id);
        Ok(taken)
    }

    /// Ends this side's direction after what was written. Later calls change nothing.
    ///
    /// # Errors
    /// The stream was reset, or the carrier has ended, before the end was sent.
    pub fn finish(&mut self, id: u32) -> Result<(), StreamError> {
        let carrier = self.close_reason().cloned();
        let stream = self.streams.get_mut(&id).ok_or(StreamError::Unknown)?;
        stream.touched = true;
        match (stream.end, stream.reset, carrier) {
            (LocalEnd::Sent, ..) => Ok(()),
            (_, Some(code), _) => Err(StreamError::Reset(code)),
            (_, _, Some(reason)) => Err(StreamError::Carrier(reason)),
            (LocalEnd::Wanted, ..) => Ok(()),
            (LocalEnd::Open, ..) => {
                stream.end = LocalEnd::Wanted;
                self.schedule(id);
                Ok(())
            }
        }
    }

    /// Reads into `buffer`.
    ///
    /// # Errors
    /// The stream was reset. When the carrier has ended: once what had arrived is read.
    pub fn read(&mut self, id: u32, buffer: &mut impl BufMut) -> Result<ReadOutcome, StreamError> {
        let stream = self.streams.get_mut(&id).ok_or(StreamError::Unknown)?;
        stream.touched = true;
        if let Some(code) = stream.reset {
            return Err(StreamError::Reset(code));
        }
        if !buffer.has_remaining_mut() {
            return Ok(ReadOutcome::Bytes(0));
        }
        let read = stream.inbox.read(buffer);
        if read > 0 {
            self.consume(id, read as u32);
            return Ok(ReadOutcome::Bytes(read));
        }
        if stream.peer_ended {
            return Ok(ReadOutcome::End);
        }
        if let Phase::Closed(reason) = &self.phase {
            return Err(StreamError::Carrier(reason.clone()));
        }
        stream.read_blocked = true;
        Ok(ReadOutcome::Blocked)
    }

    /// Nobody will read or write the stream any more.
    ///
    /// If this side has ended its direction, what was written is still delivered; otherwise the
    /// stream is reset.
    pub fn release(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.held = false;
        if !stream.live || !matches!(self.phase, Phase::Open { .. }) {
            self.forget(id);
        } else if stream.end == LocalEnd::Open {
            let code = if stream.touched || stream.ours {
                ResetCode::Dropped
            } else {
                ResetCode::Refused
            };
            self.reset(id, code);
        } else {
            let unread = stream.inbox.len();
            stream.inbox.clear();
            stream.discarded |= unread > 0 && !stream.peer_ended;
            self.consume(id, unread as u32);
            self.settle(id);
        }
    }

    /// Bytes left the inbox: gives credit back once it is worth a frame.
    pub(super) fn consume(&mut self, id: u32, bytes: u32) {
        let reserve = self.received.reserve();
        let tight = self.received_tight;
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.consumed += bytes;
        // Early while the pool is short, since the peer may then have no more than the reserve.
        let worth = if tight {
            reserve / 2
        } else {
            stream.window.size / 4
        };
        let last = stream.peer_ended && stream.inbox.is_empty();
        if stream.live
            && !stream.credit_queued
            && stream.consumed > 0
            && (last || stream.consumed >= worth)
        {
            stream.credit_queued = true;
            self.credits.push_back(id);
        }
    }

    /// Puts a stream with something to send in the queue.
    pub(super) fn schedule(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.scheduled
            && !stream.opening
            && stream.live
            && stream.has_output()
        {
            stream.scheduled = true;
            self.ready.push_back(id);
        }
    }

    /// Ends a stream in both directions and tells the peer.
    pub(super) fn reset(&mut self, id: u32, code: ResetCode) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        if stream.live && !stream.opening && self.is_open() {
            frame::put_reset(&mut self.control, id, code);
        }
        self.bury(id);
        self.forget(id);
    }

    /// Frees what an ended stream holds, of bytes and of the limits.
    pub(super) fn bury(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if !std::mem::replace(&mut stream.live, false) {
            return;
        }
        if stream.ours {
            self.live_ours -= 1;
        } else {
            self.live_peers -= 1;
        }
        let (in_flight, outstanding) = (stream.in_flight, stream.outstanding);
        self.sent.remove(&mut stream.in_flight, in_flight);
        self.received.remove(&mut stream.outstanding, outstanding);
        stream.outbox.clear();
        if std::mem::take(&mut stream.read_blocked) {
            self.events.push_back(Event::Readable(id));
        }
        if std::mem::take(&mut stream.write_blocked) {
            self.events.push_back(Event::Writable(id));
        }
        self.feed_starved();
    }

    /// Looks whether a stream is complete, and lets it go if so.
    pub(super) fn settle(&mut self, id: u32) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        if stream.is_complete() {
            self.bury(id);
            if self.streams.get(&id).is_some_and(|stream| !stream.held) {
                self.forget(id);
            }
        } else if !stream.held
            && stream.discarded
            && stream.end == LocalEnd::Sent
            && stream.in_flight == 0
        {
            // All of ours has arrived, and the peer still sends what nobody reads.
            self.reset(id, ResetCode::Dropped);
        }
    }

    pub(super) fn forget(&mut self, id: u32) {
        if let Some(stream) = self.streams.remove(&id)
            && !stream.ours
        {
            self.kept_peers -= 1;
        }
    }

    /// The pool has room again: streams that waited for it get their turn.
    pub(super) fn feed_starved(&mut self) {
        self.ready.append(&mut self.starved);
    }

    /// Follows whether the pool for what the peer sends is short.
    pub(super) fn watch_pool(&mut self) {
        if self.received_tight {
            self.received_tight = !self.received.is_relaxed();
        } else if self.received.is_tight() {
            self.received_tight = true;
            let ids: Vec<u32> = self.streams.keys().copied().collect();
            for id in ids {
                self.consume(id, 0);
            }
        }
    }
}
