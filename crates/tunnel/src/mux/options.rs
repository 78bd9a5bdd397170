use std::time::Duration;

use crate::frame::Hello;

/// Limits and times of a carrier. The defaults suit a node with up to a thousand streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MuxOptions {
    /// How many streams the peer may hold open. At most 65,536. Default 1,024.
    pub max_streams: u32,
    /// How many unread bytes of one stream are taken at first. Default 256 KiB.
    pub stream_credit: u32,
    /// To how many unread bytes that may grow on a fast and long path. Default 12 MiB.
    pub max_stream_credit: u32,
    /// How many unread bytes of all streams together are taken. Default 16 MiB.
    pub carrier_credit: u32,
    /// How many bytes written to one stream may wait to be sent. Default 64 KiB.
    pub send_buffer: usize,
    /// How long the first exchange may take. Default 10 s.
    pub hello_timeout: Duration,
    /// After how long without a word from the peer it is asked for one. Default 11 s.
    pub idle_probe: Duration,
    /// How long an idle peer may take to answer. Default 3 s; longer on a slow path.
    pub idle_timeout: Duration,
    /// The same as [`idle_probe`](Self::idle_probe) while something sent waits for a reaction.
    /// Default 1 s.
    pub busy_probe: Duration,
    /// The same as [`idle_timeout`](Self::idle_timeout) while something sent waits for a reaction.
    /// Default 2 s; the measured round trip comes on top.
    pub busy_timeout: Duration,
    /// How often the round trip is measured while streams send. Default 5 s.
    pub round_trip_interval: Duration,
    /// How many frames that serve nothing (empty data, resets of streams that nobody took yet,
    /// unknown kinds, pings) may come at once. Default 1,024.
    pub nuisance_burst: u32,
    /// How many such frames may come per second in the long run. Default 128.
    pub nuisance_rate: u32,
}

impl Default for MuxOptions {
    fn default() -> Self {
        Self {
            max_streams: 1024,
            stream_credit: 256 * 1024,
            max_stream_credit: 12 * 1024 * 1024,
            carrier_credit: 16 * 1024 * 1024,
            send_buffer: 64 * 1024,
            hello_timeout: Duration::from_secs(10),
            idle_probe: Duration::from_secs(11),
            idle_timeout: Duration::from_secs(3),
            busy_probe: Duration::from_secs(1),
            busy_timeout: Duration::from_secs(2),
            round_trip_interval: Duration::from_secs(5),
            nuisance_burst: 1024,
            nuisance_rate: 128,
        }
    }
}

impl MuxOptions {
    /// Sets how many streams the peer may hold open.
    #[must_use]
    pub fn with_max_streams(mut self, streams: u32) -> Self {
        self.max_streams = streams;
        self
    }

    /// Sets how many unread bytes are taken, per stream at first and of all streams together.
    #[must_use]
    pub fn with_credit(mut self, stream: u32, carrier: u32) -> Self {
        self.stream_credit = stream;
        self.carrier_credit = carrier;
        self
    }

    /// Sets after how long an idle peer is asked for a word, and how long it may take to answer.
    #[must_use]
    pub fn with_idle(mut self, probe: Duration, timeout: Duration) -> Self {
        self.idle_probe = probe;
        self.idle_timeout = timeout;
        self
    }

    /// Sets the same while something sent waits for a reaction.
    #[must_use]
    pub fn with_busy(mut self, probe: Duration, timeout: Duration) -> Self {
        self.busy_probe = probe;
        self.busy_timeout = timeout;
        self
    }

    /// Sets how long the first exchange may take.
    #[must_use]
    pub fn with_hello_timeout(mut self, limit: Duration) -> Self {
        self.hello_timeout = limit;
        self
    }

    /// The same, with every value in the range that the protocol allows.
    pub(crate) fn bounded(mut self) -> Self {
        self.max_streams = self.max_streams.min(MAX_STREAMS);
        self.stream_credit = self.stream_credit.clamp(MIN_CREDIT, MAX_CREDIT);
        self.max_stream_credit = self.max_stream_credit.clamp(self.stream_credit, MAX_CREDIT);
        self.carrier_credit = self.carrier_credit.clamp(MIN_CREDIT, MAX_CREDIT);
        self.send_buffer = self.send_buffer.max(1);
        self
    }

    pub(crate) fn hello(&self) -> Hello {
        Hello {
            lowest_version: VERSION,
            highest_version: VERSION,
            max_streams: self.max_streams,
            stream_credit: self.stream_credit,
            carrier_credit: self.carrier_credit,
        }
    }
}

pub(crate) const VERSION: u16 = 1;
pub(crate) const MAX_STREAMS: u32 = 65_536;
pub(crate) const MIN_CREDIT: u32 = 1024;
pub(crate) const MAX_CREDIT: u32 = 1 << 30;
