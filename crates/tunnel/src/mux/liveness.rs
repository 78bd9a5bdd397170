use std::time::Duration;

use longshore_core::Timestamp;

use super::MuxOptions;

/// Finds out whether the peer still hears us, and how long the way to it and back takes.
///
/// A ping goes out when the peer has been quiet for long, and soon when something sent waits for a
/// reaction. Any frame but a ping counts as an answer: a peer's ping shows that the way from it
/// works, not that the way to it does. So a path that is dead in one direction is found by both.
#[derive(Debug)]
pub(super) struct Liveness {
    options: MuxOptions,
    /// When the last byte came.
    heard: Timestamp,
    /// When something was sent that no frame has answered yet.
    waiting_since: Option<Timestamp>,
    /// By when a ping that was sent must be answered.
    answer_by: Option<Timestamp>,
    /// The last ping, to measure the round trip with.
    sample: Option<(u64, Timestamp)>,
    last_ping: Option<Timestamp>,
    nonce: u64,
    round_trip: Option<RoundTrip>,
}

#[derive(Clone, Copy, Debug)]
struct RoundTrip {
    last: Duration,
    smoothed: Duration,
    variation: Duration,
}

/// What is to be done after a deadline.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Alive,
    Ping(u64),
    Dead,
}

impl Liveness {
    pub(super) fn new(options: MuxOptions, now: Timestamp) -> Self {
        Self {
            options,
            heard: now,
            waiting_since: None,
            answer_by: None,
            sample: None,
            last_ping: None,
            nonce: 0,
            round_trip: None,
        }
    }

    pub(super) fn on_bytes(&mut self, now: Timestamp) {
        self.heard = self.heard.max(now);
    }

    /// A frame came that a peer which does not hear us would not send.
    pub(super) fn on_answer(&mut self) {
        self.waiting_since = None;
        self.answer_by = None;
    }

    /// False when the nonce is of no ping that waits for its answer.
    pub(super) fn on_pong(&mut self, nonce: u64, now: Timestamp) -> bool {
        if nonce == UNASKED {
            return true;
        }
        let Some((_, sent)) = self.sample.take_if(|(expected, _)| *expected == nonce) else {
            // An older ping that a later one has replaced.
            return nonce <= self.nonce;
        };
        let last = now.since(sent);
        let (smoothed, variation) = match self.round_trip {
            None => (last, last / 2),
            // RFC 6298, section 2.3.
            Some(old) => (
                old.smoothed * 7 / 8 + last / 8,
                old.variation * 3 / 4 + old.smoothed.abs_diff(last) / 4,
            ),
        };
        self.round_trip = Some(RoundTrip {
            last,
            smoothed,
            variation,
        });
        true
    }

    /// Frames are leaving. Returns a ping to add, when it is time to measure.
    pub(super) fn on_output(&mut self, now: Timestamp) -> Option<u64> {
        self.waiting_since.get_or_insert(now);
        let due = self
            .last_ping
            .is_none_or(|last| now.since(last) >= self.options.round_trip_interval);
        due.then(|| self.ping(now))
    }

    pub(super) fn on_deadline(&mut self, now: Timestamp) -> Verdict {
        if now < self.next_deadline() {
            return Verdict::Alive;
        }
        if self.answer_by.is_some() {
            return Verdict::Dead;
        }
        let busy = self.waiting_since.is_some();
        let slack = self.slack();
        let limit = if busy {
            self.options.busy_timeout + slack
        } else {
            self.options.idle_timeout.max(slack * 2)
        };
        self.answer_by = Some(now.after(limit));
        Verdict::Ping(self.ping(now))
    }

    pub(super) fn next_deadline(&self) -> Timestamp {
        let probe = self.heard.after(self.options.idle_probe);
        self.answer_by.unwrap_or_else(|| match self.waiting_since {
            Some(since) => probe.min(since.after(self.options.busy_probe)),
            None => probe,
        })
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.map(|measured| measured.last)
    }

    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.round_trip.map(|measured| measured.smoothed)
    }

    fn ping(&mut self, now: Timestamp) -> u64 {
        self.nonce += 1;
        self.sample = Some((self.nonce, now));
        self.last_ping = Some(now);
        self.nonce
    }

    /// What the path itself may need, generously: two round trips and their usual variation.
    fn slack(&self) -> Duration {
        self.round_trip.map_or(Duration::from_secs(1), |path| {
            path.smoothed * 2 + path.variation * 4
        })
    }
}

/// The nonce of a pong that nobody asked for: a sign of life while a long upload comes in.
pub(super) const UNASKED: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(100);

    fn at(seconds: f64) -> Timestamp {
        START.after(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn an_idle_peer_is_found_dead_within_fifteen_seconds() {
        let mut liveness = Liveness::new(MuxOptions::default(), START);
        assert_eq!(liveness.on_deadline(at(10.9)), Verdict::Alive);
        assert!(matches!(liveness.on_deadline(at(11.0)), Verdict::Ping(_)));
        assert_eq!(liveness.on_deadline(at(13.9)), Verdict::Alive);
        assert_eq!(liveness.on_deadline(at(14.0)), Verdict::Dead);
    }

    #[test]
    fn a_peer_that_traffic_waits_for_is_found_dead_within_three_seconds_and_two_round_trips() {
        let mut liveness = Liveness::new(MuxOptions::default(), START);
        let nonce = liveness.on_output(at(0.0)).unwrap();
        assert!(liveness.on_pong(nonce, at(0.0)));
        liveness.on_answer();
        liveness.on_output(at(5.0));
        assert!(matches!(liveness.on_deadline(at(6.0)), Verdict::Ping(_)));
        assert_eq!(liveness.on_deadline(at(8.0)), Verdict::Dead);
    }

    #[test]
    fn the_peers_pings_do_not_prove_that_it_hears_us() {
        let mut liveness = Liveness::new(MuxOptions::default(), START);
        liveness.on_output(at(0.0));
        let Verdict::Ping(_) = liveness.on_deadline(at(1.0)) else {
            panic!("no ping")
        };
        liveness.on_bytes(at(2.0));
        assert_eq!(liveness.on_deadline(at(4.1)), Verdict::Dead);
    }

    #[test]
    fn a_slow_path_gets_more_time() {
        let mut liveness = Liveness::new(MuxOptions::default(), START);
        let nonce = liveness.on_output(at(0.0)).unwrap();
        assert!(liveness.on_pong(nonce, at(4.0)));
        liveness.on_answer();
        assert_eq!(liveness.round_trip(), Some(Duration::from_secs(4)));
        liveness.on_output(at(10.0));
        assert!(matches!(liveness.on_deadline(at(11.0)), Verdict::Ping(_)));
        assert_eq!(liveness.on_deadline(at(20.0)), Verdict::Alive);
    }
}
