//! The protocol of a carrier as a pure state machine: no socket, no task, no clock.
//!
//! Whoever drives it hands in what arrived ([`Mux::handle_input`]) and what time it is, sends what
//! [`Mux::poll_output`] gives, and calls [`Mux::handle_timeout`] at [`Mux::next_deadline`]. The
//! tokio driver of this crate does that over a byte stream; a simulation does it over a queue.

mod event;
mod inbox;
mod input;
mod ledger;
mod liveness;
mod nuisance;
mod options;
mod outbox;
mod output;
mod stream;
mod streams;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::BytesMut;
use longshore_core::{CloseReason, StreamTarget, Timestamp};

pub use event::{Event, OpenError, ReadOutcome, StreamError};
use ledger::Ledger;
use liveness::{Liveness, Verdict};
use nuisance::NuisanceBudget;
pub use options::MuxOptions;
use stream::Stream;

use crate::frame::{self, Decoder, GoAwayCode, Hello};

/// Which end of the carrier this is. It decides who uses which stream ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The end that connected: odd ids.
    Dialer,
    /// The end that was connected to: even ids.
    Listener,
}

impl Side {
    fn first_id(self) -> u32 {
        match self {
            Self::Dialer => 1,
            Self::Listener => 2,
        }
    }

    fn owns(self, id: u32) -> bool {
        id % 2 == self.first_id() % 2
    }
}

/// One carrier's streams, credit, liveness and end.
#[derive(Debug)]
pub struct Mux {
    side: Side,
    options: MuxOptions,
    phase: Phase,
    decoder: Decoder,
    liveness: Liveness,
    nuisance: NuisanceBudget,
    last_output: Timestamp,
    /// The latest time that was told.
    now: Timestamp,

    streams: BTreeMap<u32, Stream>,
    /// The next id of ours; `None` when they are used up.
    next_id: Option<u32>,
    /// The highest id that the peer has used.
    highest_peer: u32,
    /// Open streams: ours, and the peer's.
    live_ours: u32,
    live_peers: u32,
    /// The peer's streams that this side still keeps, open or not.
    kept_peers: u32,
    /// What the peer sends us, and what we send it.
    received: Ledger,
    sent: Ledger,
    received_tight: bool,

    /// Frames that go before all others.
    control: BytesMut,
    /// Streams whose readers have earned credit.
    credits: VecDeque<u32>,
    /// Our new streams, in the order of their ids.
    opening: VecDeque<u32>,
    /// Streams with something to send, in turn.
    ready: VecDeque<u32>,
    /// Streams with something to send that wait for the pool.
    starved: VecDeque<u32>,

    /// The peer's streams that nobody took yet.
    incoming: VecDeque<u32>,
    accepting: bool,
    peer_draining: bool,
    draining: bool,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum Phase {
    Hello { deadline: Timestamp },
    Open { peer: Hello },
    Closed(CloseReason),
}

/// Why this side ends the carrier.
#[derive(Debug)]
struct Fault {
    code: GoAwayCode,
    text: String,
}

impl Mux {
    /// One end of a new carrier.
    pub fn new(side: Side, options: MuxOptions, now: Timestamp) -> Self {
        let options = options.bounded();
        Self {
            side,
            options,
            phase: Phase::Hello {
                deadline: now.after(options.hello_timeout),
            },
            decoder: Decoder::new(),
            liveness: Liveness::new(options, now),
            nuisance: NuisanceBudget::new(&options, now),
            last_output: now,
            now,
            streams: BTreeMap::new(),
            next_id: Some(side.first_id()),
            highest_peer: 0,
            live_ours: 0,
            live_peers: 0,
            kept_peers: 0,
            received: Ledger::default(),
            sent: Ledger::default(),
            received_tight: false,
            control: options.hello().encode(),
            credits: VecDeque::new(),
            opening: VecDeque::new(),
            ready: VecDeque::new(),
            starved: VecDeque::new(),
            incoming: VecDeque::new(),
            accepting: true,
            peer_draining: false,
            draining: false,
            events: VecDeque::new(),
        }
    }

    /// Whether both sides have said hello and the carrier has not ended.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// Why the carrier ended, if it has. There may still be a goodbye to send.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        match &self.phase {
            Phase::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    /// The last measured round trip.
    pub fn round_trip(&self) -> Option<Duration> {
        self.liveness.round_trip()
    }

    /// How many streams are open, of either side.
    pub fn open_streams(&self) -> usize {
        (self.live_ours + self.live_peers) as usize
    }

    /// How many received bytes are held for readers.
    pub fn unread_bytes(&self) -> usize {
        self.streams.values().map(|stream| stream.inbox.len()).sum()
    }

    /// Opens a stream. Nothing is sent before [`poll_output`](Self::poll_output), so bytes written
    /// at once travel with the opening frame.
    ///
    /// # Errors
    /// The carrier is not open, the peer takes no new streams, or as many are open as the peer allows.
    pub fn open(&mut self, target: &StreamTarget) -> Result<u32, OpenError> {
        let peer = match &self.phase {
            Phase::Open { peer } => *peer,
            Phase::Hello { .. } => return Err(OpenError::NotReady),
            Phase::Closed(reason) => return Err(OpenError::Closed(reason.clone())),
        };
        if self.peer_draining {
            return Err(OpenError::Draining);
        }
        let limit = peer.max_streams.min(options::MAX_STREAMS);
        if self.live_ours >= limit {
            return Err(OpenError::TooMany { limit });
        }
        let id = self.next_id.ok_or(OpenError::Draining)?;
        self.next_id = id.checked_add(2);
        let stream = Stream::new(
            true,
            target.clone(),
            peer.stream_credit,
            self.options.stream_credit,
            self.now,
        );
        self.streams.insert(id, stream);
        self.live_ours += 1;
        self.opening.push_back(id);
        Ok(id)
    }

    /// Takes the next stream that the peer opened.
    pub fn accept(&mut self) -> Option<(u32, StreamTarget)> {
        let id = self.incoming.pop_front()?;
        let target = self.streams.get_mut(&id)?.target.take()?;
        Some((id, target))
    }

    /// Refuses streams that nobody took yet, and all that come from now on.
    pub fn stop_accepting(&mut self) {
        self.accepting = false;
        while let Some(id) = self.incoming.pop_front() {
            self.reset(id, frame::ResetCode::Refused);
        }
    }

    /// Asks the peer to open no more streams; those that are open go on.
    pub fn drain(&mut self) {
        if self.is_open() && !self.draining {
            self.draining = true;
            let last = self.highest_peer;
            frame::put_go_away(&mut self.control, GoAwayCode::Draining, last, "draining");
        }
    }

    /// Ends the carrier and its streams, and tells the peer why. Later calls change nothing.
    pub fn close(&mut self, reason: &str) {
        self.say_goodbye(GoAwayCode::Closed, reason);
        self.enter_closed(CloseReason::Local(reason.to_owned()));
    }

    /// The connection was closed by the peer.
    pub fn handle_end(&mut self) {
        self.handle_failure("the peer closed the connection without a goodbye");
    }

    /// The connection failed.
    pub fn handle_failure(&mut self, reason: &str) {
        self.control.clear();
        self.enter_closed(CloseReason::Broken(reason.to_owned()));
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, unless something moves it.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Hello { deadline } => Some(deadline),
            Phase::Open { .. } => Some(self.liveness.next_deadline()),
            Phase::Closed(_) => None,
        }
    }

    /// Time has passed. Calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        match self.phase {
            Phase::Hello { deadline } if now >= deadline => {
                self.say_goodbye(GoAwayCode::Silent, "no HELLO in time");
                self.enter_closed(CloseReason::Silent);
            }
            Phase::Open { .. } => match self.liveness.on_deadline(now) {
                Verdict::Alive => {}
                Verdict::Ping(nonce) => frame::put_ping(&mut self.control, nonce),
                Verdict::Dead => {
                    self.say_goodbye(GoAwayCode::Silent, "no answer in time");
                    self.enter_closed(CloseReason::Silent);
                }
            },
            _ => {}
        }
    }

    /// What has become of the streams since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn fail(&mut self, fault: Fault) {
        self.say_goodbye(fault.code, &fault.text);
        self.enter_closed(CloseReason::Broken(fault.text));
    }

    fn say_goodbye(&mut self, code: GoAwayCode, text: &str) {
        if self.close_reason().is_none() {
            frame::put_go_away(&mut self.control, code, self.highest_peer, text);
        }
    }

    fn enter_closed(&mut self, reason: CloseReason) {
        if self.close_reason().is_some() {
            return;
        }
        self.phase = Phase::Closed(reason);
        self.credits.clear();
        self.opening.clear();
        self.ready.clear();
        self.starved.clear();
        while let Some(id) = self.incoming.pop_front() {
            self.streams.remove(&id);
        }
        self.streams.retain(|_, stream| stream.held);
        for (&id, stream) in &mut self.streams {
            stream.outbox.clear();
            if std::mem::take(&mut stream.read_blocked) {
                self.events.push_back(Event::Readable(id));
            }
            if std::mem::take(&mut stream.write_blocked) {
                self.events.push_back(Event::Writable(id));
            }
        }
        self.events.push_back(Event::Closed);
    }
}

#[cfg(test)]
mod tests;
