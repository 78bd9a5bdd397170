//! What the gateway is told.

use bytes::Bytes;
use longshore_core::{Signal, TerminalSize};

use super::ClientCore;
use crate::protocol::native::ClientFrame;

impl ClientCore {
    /// The next frame to send, once [`ClientEvent::Ready`](super::ClientEvent::Ready) came.
    pub fn poll_frame(&mut self) -> Option<ClientFrame> {
        if !self.connected {
            return None;
        }
        if let Some(size) = self.size
            && self.writes
            && !self.size_sent
        {
            self.size_sent = true;
            return Some(ClientFrame::Resize(size));
        }
        if let Some(signal) = self.signals.pop_front() {
            return Some(ClientFrame::Signal(signal));
        }
        if self.passing.is_none()
            && let Some(to) = self.passes.pop_front()
        {
            // One at a time, so that an answer is its own.
            self.passing = Some(to);
            return Some(to.map_or(ClientFrame::TakeBack, |to| ClientFrame::Grant(to.number())));
        }
        let consumed = self.consumed.min(self.due);
        if consumed > self.acknowledged {
            self.acknowledged = consumed;
            return Some(ClientFrame::Ack(consumed));
        }
        let typed = self.taken + self.unsafe_input.len() as u64;
        let limit = typed.min(self.taken.saturating_add(self.window));
        if self.writes && self.sent < limit {
            let start = (self.sent - self.taken) as usize;
            let end = ((limit - self.taken) as usize).min(start + PIECE);
            let bytes = Bytes::copy_from_slice(&self.unsafe_input[start..end]);
            let offset = self.sent;
            self.sent += bytes.len() as u64;
            self.reached = self.reached.max(self.sent);
            return Some(ClientFrame::Input(offset, bytes));
        }
        // Whoever is lent the right to write does not end the input of the session's owner.
        let ends = self.input_ended && !self.looks_on();
        if self.writes && ends && !self.end_sent && self.sent == typed {
            self.end_sent = true;
            return Some(ClientFrame::InputEnd(typed));
        }
        std::mem::take(&mut self.ending).then_some(ClientFrame::End)
    }

    /// The user has so many more bytes of output.
    pub fn consumed(&mut self, bytes: usize) {
        self.consumed += bytes as u64;
    }

    /// How many bytes may be typed now.
    pub fn input_room(&self) -> usize {
        MOST_INPUT.saturating_sub(self.unsafe_input.len())
    }

    /// Types; at most [`input_room`](Self::input_room) bytes. While another has the right to write,
    /// what is typed goes nowhere: it does not come to run later.
    pub fn write(&mut self, bytes: &[u8]) {
        let is_mute = self.ready.is_some() && !self.writes;
        if !self.input_ended && !is_mute {
            self.unsafe_input.extend_from_slice(bytes);
        }
    }

    /// The input ends. Of who looks on, that ends nothing but what it types itself.
    pub fn end_input(&mut self) {
        self.input_ended = true;
    }

    /// The terminal's size; the newest wins.
    pub fn resize(&mut self, size: TerminalSize) {
        (self.size, self.size_sent) = (Some(size), false);
    }

    /// Sends a signal. More than a few that wait are dropped.
    pub fn signal(&mut self, signal: Signal) {
        if self.signals.len() < MOST_SIGNALS {
            self.signals.push_back(signal);
        }
    }

    /// Ends the session.
    pub fn close(&mut self) {
        self.ending = true;
    }
}

const PIECE: usize = 16 * 1024;
pub(super) const MOST_INPUT: usize = 128 * 1024;
const MOST_SIGNALS: usize = 16;
