//! What happens to each piece of data on a bad link.

use std::time::Duration;

/// How bad a link is. The same seed gives the same fate to the same sequence
/// of pieces (a piece is a datagram, or what one read of a stream returns).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LinkSchedule {
    /// Where the fates come from.
    pub seed: u64,
    /// The delay of every piece, one way.
    pub latency: Duration,
    /// What is added to it at random, at most.
    pub jitter: Duration,
    /// How likely a piece is held for `stall_for` in addition, 0 to 1.
    pub stall: f64,
    /// How long a stall lasts.
    pub stall_for: Duration,
    /// How likely a datagram is lost, or a stream is broken by a piece, 0 to 1.
    pub loss: f64,
    /// How likely a datagram arrives twice, 0 to 1. Streams ignore it.
    pub duplicate: f64,
    /// Bytes per second in each direction of a connection; unlimited when absent.
    pub bandwidth: Option<u64>,
}

impl Default for LinkSchedule {
    /// A perfect link.
    fn default() -> Self {
        Self {
            seed: 1,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            stall: 0.0,
            stall_for: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            bandwidth: None,
        }
    }
}

impl LinkSchedule {
    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Delays every piece by `latency`, plus up to `jitter`.
    #[must_use]
    pub fn with_latency(mut self, latency: Duration, jitter: Duration) -> Self {
        (self.latency, self.jitter) = (latency, jitter);
        self
    }

    /// Holds a share of the pieces for a while.
    #[must_use]
    pub fn with_stall(mut self, share: f64, stall_for: Duration) -> Self {
        (self.stall, self.stall_for) = (share, stall_for);
        self
    }

    /// Loses a share of the datagrams; breaks a stream at a share of its pieces.
    #[must_use]
    pub fn with_loss(mut self, share: f64) -> Self {
        self.loss = share;
        self
    }

    /// Delivers a share of the datagrams twice.
    #[must_use]
    pub fn with_duplicates(mut self, share: f64) -> Self {
        self.duplicate = share;
        self
    }

    /// Limits the rate, in bytes per second and direction.
    #[must_use]
    pub fn with_bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bandwidth = Some(bytes_per_second);
        self
    }
}

/// The fate of one piece.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fate {
    pub(crate) lost: bool,
    pub(crate) twice: bool,
    pub(crate) delay: Duration,
}

/// The fates of one direction of one connection.
#[derive(Debug)]
pub(crate) struct Fates(u64);

impl Fates {
    pub(crate) fn new(seed: u64, connection: u64, direction: u64) -> Self {
        let mut fates = Self(seed ^ connection.rotate_left(17) ^ direction.rotate_left(43));
        fates.next();
        fates
    }

    pub(crate) fn draw(&mut self, link: &LinkSchedule) -> Fate {
        // Always the same number of draws, so that one knob does not move the others.
        let [lost, twice, stalled, jitter] = [(); 4].map(|()| self.share());
        let mut delay = link.latency + link.jitter.mul_f64(jitter);
        if stalled < link.stall {
            delay += link.stall_for;
        }
        Fate {
            lost: lost < link.loss,
            twice: twice < link.duplicate,
            delay,
        }
    }

    /// From 0 up to, not including, 1.
    fn share(&mut self) -> f64 {
        let bits = u32::try_from(self.next() >> 32).unwrap_or(0);
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_fates() {
        let link = LinkSchedule::default()
            .with_loss(0.3)
            .with_latency(Duration::from_millis(5), Duration::from_millis(5));
        let draw = |seed| {
            let mut fates = Fates::new(seed, 3, 1);
            (0..50).map(|_| fates.draw(&link)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_share_of_the_pieces_is_lost() {
        let link = LinkSchedule::default().with_loss(0.25);
        let mut fates = Fates::new(1, 0, 0);
        let lost = (0..10_000).filter(|_| fates.draw(&link).lost).count();
        assert!((2_300..2_700).contains(&lost), "{lost}");
    }
}
