use std::time::Duration;

use crate::{Random, SeededRandom};

/// A direction of a [`Link`](super::Link).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the near end to the far end.
    Out,
    /// From the far end to the near end.
    Back,
    /// Both.
    Both,
}

impl Way {
    pub(super) fn directions(self) -> &'static [usize] {
        match self {
            Self::Out => &[0],
            Self::Back => &[1],
            Self::Both => &[0, 1],
        }
    }
}

/// Something that befalls a [`Link`](super::Link).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Every connection is reset.
    Cut,
    /// Bytes are held back for so long.
    Stall(Way, Duration),
    /// Bytes vanish, for ever.
    BlackHole(Way),
}

/// What a [`Link`](super::Link) is like. The default is instant and flawless.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LinkOptions {
    /// How long a byte takes, one way.
    pub delay: Duration,
    /// By how much more, at most; even spread.
    pub jitter: Duration,
    /// How likely a segment is lost and has to be sent again, 0 to 1.
    pub loss: f64,
    /// How much longer a lost segment takes.
    pub retransmit: Duration,
    /// Bytes per second, per direction and connection.
    pub rate: Option<u64>,
    /// How many bytes may be under way, per direction and connection.
    pub buffer: usize,
    /// What befalls it, and how long after its making.
    pub faults: Vec<(Duration, Fault)>,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            retransmit: Duration::from_millis(200),
            rate: None,
            buffer: 64 * 1024,
            faults: Vec::new(),
        }
    }
}

impl LinkOptions {
    /// Sets how long a byte takes, one way.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets by how much more a byte may take.
    #[must_use]
    pub fn with_jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets how likely a segment is lost, 0 to 1.
    #[must_use]
    pub fn with_loss(mut self, loss: f64) -> Self {
        self.loss = loss.clamp(0.0, 1.0);
        self
    }

    /// Sets the rate in bytes per second.
    #[must_use]
    pub fn with_rate(mut self, bytes_per_second: u64) -> Self {
        self.rate = Some(bytes_per_second.max(1));
        self
    }

    /// Sets how many bytes may be under way.
    #[must_use]
    pub fn with_buffer(mut self, bytes: usize) -> Self {
        self.buffer = bytes.max(1);
        self
    }

    /// Adds a fault, so long after the making of the link.
    #[must_use]
    pub fn with_fault(mut self, after: Duration, fault: Fault) -> Self {
        self.faults.push((after, fault));
        self
    }

    /// Adds stalls at random times within `span`, each in a random direction and at most `longest`
    /// long. The same seed gives the same stalls.
    #[must_use]
    pub fn with_random_stalls(
        mut self,
        seed: u64,
        count: u32,
        span: Duration,
        longest: Duration,
    ) -> Self {
        let random = SeededRandom::new(seed);
        for _ in 0..count {
            let way = [Way::Out, Way::Back, Way::Both][(random.next_u64() % 3) as usize];
            let fault = Fault::Stall(way, longest.mul_f64(random.unit()));
            self.faults.push((span.mul_f64(random.unit()), fault));
        }
        self
    }
}
