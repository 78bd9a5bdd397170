use std::time::Duration;

/// The times of the protocol. The defaults are those that memberlist uses on a local network.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GossipTimes {
    /// How often one other member is probed. 1 s.
    pub probe: Duration,
    /// How long the probed one has before others are asked to try. 500 ms.
    pub timeout: Duration,
    /// How often news are passed on, while there are any. 200 ms.
    pub gossip: Duration,
    /// How often everything is compared with one other member. 30 s.
    pub compare: Duration,
    /// How often a lost member or a seed is called. 5 s.
    pub reconnect: Duration,
    /// How long a lost member is called before it is forgotten. 24 h.
    pub forget: Duration,
}

impl Default for GossipTimes {
    fn default() -> Self {
        Self {
            probe: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            gossip: Duration::from_millis(200),
            compare: Duration::from_secs(30),
            reconnect: Duration::from_secs(5),
            forget: Duration::from_secs(24 * 3600),
        }
    }
}

impl GossipTimes {
    /// All of them faster or slower by one factor, for tests and for slow links.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let scale = |time: Duration| time.mul_f64(factor);
        Self {
            probe: scale(self.probe),
            timeout: scale(self.timeout),
            gossip: scale(self.gossip),
            compare: scale(self.compare),
            reconnect: scale(self.reconnect),
            forget: scale(self.forget),
        }
    }

    /// The shortest and the longest suspicion in a cluster of this size: four probes for each
    /// power of ten, and six times that.
    pub(super) fn suspicion(&self, members: usize) -> (Duration, Duration) {
        let shortest = self
            .probe
            .mul_f64(4.0 * ((members + 1) as f64).log10().max(1.0));
        (shortest, shortest * 6)
    }
}
