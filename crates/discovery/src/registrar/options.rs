use std::time::Duration;

use longshore_core::{Error, Result};

/// How a [`Registrar`](crate::Registrar) keeps registrations alive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RegistrarOptions {
    /// How often each node is renewed, ±10 %. Swarm's `--heartbeat`, 60 s.
    pub heartbeat: Duration,
    /// How long a registration outlives its last renewal. Swarm's `--ttl`, 180 s.
    pub ttl: Duration,
    /// At most so many requests a second, over all nodes together. 500.
    pub rate: u32,
    /// At most so many requests at a time. 64.
    pub concurrency: usize,
    /// How long taking everything back may take at the end. 10 s; what is left over ends with its
    /// time to live.
    pub farewell: Duration,
}

impl Default for RegistrarOptions {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(60),
            ttl: Duration::from_secs(180),
            rate: 500,
            concurrency: 64,
            farewell: Duration::from_secs(10),
        }
    }
}

impl RegistrarOptions {
    /// Sets heartbeat and time to live.
    #[must_use]
    pub fn with_heartbeat(mut self, heartbeat: Duration, ttl: Duration) -> Self {
        (self.heartbeat, self.ttl) = (heartbeat, ttl);
        self
    }

    /// Sets how many requests a second there may be, and how many at a time.
    #[must_use]
    pub fn with_rate(mut self, rate: u32, concurrency: usize) -> Self {
        (self.rate, self.concurrency) = (rate, concurrency);
        self
    }

    /// Sets how long taking everything back may take.
    #[must_use]
    pub fn with_farewell(mut self, farewell: Duration) -> Self {
        self.farewell = farewell;
        self
    }

    /// How many nodes fit: at four fifths of the rate, each is renewed every heartbeat.
    pub(super) fn capacity(&self) -> usize {
        (f64::from(self.rate) * self.heartbeat.as_secs_f64() * 0.8).max(1.0) as usize
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.heartbeat.is_zero() {
            return Err(Error::invalid("the heartbeat must be above zero"));
        }
        if self.ttl <= self.heartbeat {
            return Err(Error::invalid(format!(
                "--ttl must be strictly superior to the heartbeat value: {:?} is not above {:?}",
                self.ttl, self.heartbeat
            )));
        }
        if self.rate == 0 || self.concurrency == 0 {
            return Err(Error::invalid(
                "a registrar needs room for at least one request a second and at a time",
            ));
        }
        Ok(())
    }
}
