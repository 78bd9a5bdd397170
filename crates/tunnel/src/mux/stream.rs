use longshore_core::{StreamTarget, Timestamp};

use super::{inbox::Inbox, outbox::Outbox};
use crate::frame::ResetCode;

/// One stream as the [`Mux`](super::Mux) keeps it.
#[derive(Debug)]
pub(super) struct Stream {
    /// Opened by this side.
    pub(super) ours: bool,
    /// What it is for, until it has been sent or taken.
    pub(super) target: Option<StreamTarget>,

    /// The OPEN frame is still to be sent.
    pub(super) opening: bool,
    pub(super) outbox: Outbox,
    pub(super) end: LocalEnd,
    /// Sent and not yet credited.
    pub(super) in_flight: u32,
    /// How much may be in flight.
    pub(super) send_window: u32,
    /// It stands in a queue to send.
    pub(super) scheduled: bool,
    pub(super) write_blocked: bool,

    pub(super) inbox: Inbox,
    pub(super) peer_ended: bool,
    /// Received and not yet credited.
    pub(super) outstanding: u32,
    /// Read and not yet credited.
    pub(super) consumed: u32,
    pub(super) credit_queued: bool,
    pub(super) window: Window,
    pub(super) read_blocked: bool,

    /// Somebody may still read or write it, or take it.
    pub(super) held: bool,
    /// It was read from or written to.
    pub(super) touched: bool,
    /// Bytes came after nobody was left to read them.
    pub(super) discarded: bool,
    /// It takes up a place among the open streams.
    pub(super) live: bool,
    pub(super) reset: Option<ResetCode>,
}

/// How far this side's end of a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LocalEnd {
    Open,
    /// Asked for, to follow the last byte.
    Wanted,
    Sent,
}

/// How much unread data is taken, tuned to the path: doubled while a whole window is read within
/// two round trips, back at the start when it is read slowly.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) size: u32,
    /// The largest ever promised: what the peer is held to, since it may not know of a smaller one.
    pub(super) promised: u32,
    since: Timestamp,
    read: u32,
}

impl Stream {
    pub(super) fn new(
        ours: bool,
        target: StreamTarget,
        send_window: u32,
        window: u32,
        now: Timestamp,
    ) -> Self {
        Self {
            ours,
            target: Some(target),
            opening: ours,
            outbox: Outbox::default(),
            end: LocalEnd::Open,
            in_flight: 0,
            send_window,
            scheduled: false,
            write_blocked: false,
            inbox: Inbox::default(),
            peer_ended: false,
            outstanding: 0,
            consumed: 0,
            credit_queued: false,
            window: Window {
                size: window,
                promised: window,
                since: now,
                read: 0,
            },
            read_blocked: false,
            held: true,
            touched: false,
            discarded: false,
            live: true,
            reset: None,
        }
    }

    pub(super) fn has_output(&self) -> bool {
        !self.outbox.is_empty() || self.end == LocalEnd::Wanted
    }

    /// Both directions have ended and every byte is accounted for.
    pub(super) fn is_complete(&self) -> bool {
        self.end == LocalEnd::Sent
            && self.in_flight == 0
            && self.peer_ended
            && self.outstanding == 0
    }
}

impl Window {
    pub(super) fn tune(
        &mut self,
        consumed: u32,
        round_trip: Option<std::time::Duration>,
        initial: u32,
        largest: u32,
        now: Timestamp,
    ) {
        self.read = self.read.saturating_add(consumed);
        let elapsed = now.since(self.since);
        let patience = round_trip.unwrap_or_default() * 16;
        if self.read >= self.size {
            if round_trip.is_some_and(|path| !path.is_zero() && elapsed <= path * 2) {
                self.size = self.size.saturating_mul(2).min(largest);
                self.promised = self.promised.max(self.size);
            }
        } else if elapsed > patience.max(std::time::Duration::from_secs(1)) {
            self.size = initial;
        } else {
            return;
        }
        self.since = now;
        self.read = 0;
    }
}
