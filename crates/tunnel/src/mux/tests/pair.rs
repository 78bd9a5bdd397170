use std::collections::VecDeque;

use bytes::Bytes;
use longshore_core::{Random, SeededRandom, StreamTarget, Timestamp};

use super::super::*;

/// Two ends and the way between them, in virtual time.
pub(super) struct Pair {
    pub(super) ends: [Mux; 2],
    pub(super) now: Timestamp,
    latency: Duration,
    /// Bytes per second in each direction.
    rate: Option<u64>,
    free_at: [Timestamp; 2],
    /// Towards the end of this index.
    way: [VecDeque<(Timestamp, Bytes)>; 2],
    /// Whether bytes from the end of this index vanish.
    pub(super) lost: [bool; 2],
    random: SeededRandom,
}

pub(super) const DIALER: usize = 0;
pub(super) const LISTENER: usize = 1;

impl Pair {
    pub(super) fn new(options: MuxOptions, latency: Duration, seed: u64) -> Self {
        let now = Timestamp::from_secs(1_000);
        Self {
            ends: [
                Mux::new(Side::Dialer, options, now),
                Mux::new(Side::Listener, options, now),
            ],
            now,
            latency,
            rate: None,
            free_at: [now; 2],
            way: Default::default(),
            lost: [false; 2],
            random: SeededRandom::new(seed),
        }
    }

    pub(super) fn with_rate(mut self, rate: u64) -> Self {
        self.rate = Some(rate);
        self
    }

    pub(super) fn open_for_business(mut self) -> Self {
        self.settle();
        assert!(self.ends.iter().all(Mux::is_open));
        self
    }

    /// Lets both ends send what they have.
    pub(super) fn send(&mut self) {
        for from in [DIALER, LISTENER] {
            // A slow way takes no more before what it took has left.
            while self.free_at[from] <= self.now
                && let Some(bytes) = self.ends[from].poll_output(self.now)
            {
                if let Some(rate) = self.rate {
                    let took = Duration::from_secs_f64(bytes.len() as f64 / rate as f64);
                    self.free_at[from] = self.free_at[from].max(self.now).after(took);
                }
                if !self.lost[from] {
                    let arrival = self.free_at[from].max(self.now).after(self.latency);
                    self.way[1 - from].push_back((arrival, bytes));
                }
            }
        }
    }

    /// Hands over what has arrived, cut at random places.
    fn deliver(&mut self) -> bool {
        let mut any = false;
        for to in [DIALER, LISTENER] {
            while let Some((_, bytes)) = self.way[to].pop_front_if(|(at, _)| *at <= self.now) {
                let cut = self.random.next_u64() as usize % (bytes.len() + 1);
                self.ends[to].handle_input(&bytes[..cut], self.now);
                self.ends[to].handle_input(&bytes[cut..], self.now);
                any = true;
            }
        }
        any
    }

    /// Does what can be done now; then moves to the next moment. False when there is none within
    /// `until`.
    pub(super) fn step(&mut self, until: Timestamp) -> bool {
        self.send();
        if self.deliver() {
            return true;
        }
        let arrivals = self
            .way
            .iter()
            .filter_map(|way| way.front().map(|(at, _)| *at));
        let deadlines = self.ends.iter().filter_map(Mux::next_deadline);
        let blocked = [DIALER, LISTENER]
            .into_iter()
            .filter(|from| self.ends[*from].has_output() && self.free_at[*from] > self.now)
            .map(|from| self.free_at[from]);
        let next = arrivals.chain(deadlines).chain(blocked).min();
        match next {
            Some(next) if next <= until => {
                self.now = self.now.max(next);
                for end in &mut self.ends {
                    end.handle_timeout(self.now);
                }
                true
            }
            _ => false,
        }
    }

    /// Runs for so long.
    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now.after(time);
        while self.step(until) {}
        self.now = until;
    }

    /// Runs until nothing is under way any more.
    pub(super) fn settle(&mut self) {
        self.send();
        while self.way.iter().any(|way| !way.is_empty()) || self.ends.iter().any(Mux::has_output) {
            self.step(Timestamp::from_micros(u64::MAX));
        }
    }

    /// A stream from the dialler, taken by the listener.
    pub(super) fn stream(&mut self) -> u32 {
        let id = self.ends[DIALER].open(&StreamTarget::Engine).unwrap();
        self.settle();
        assert_eq!(
            self.ends[LISTENER].accept(),
            Some((id, StreamTarget::Engine))
        );
        id
    }

    pub(super) fn read_all(&mut self, end: usize, id: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.ends[end].read(id, &mut bytes);
        bytes
    }
}
