use std::{sync::Arc, time::Duration};

use longshore_core::{Clock, Error, OsRandom, Random, Result};

/// What opening a backend needs besides its URL.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DiscoveryOptions {
    /// Where waiting and leases take their time from.
    pub clock: Arc<dyn Clock>,
    /// How often a backend that has to be asked is asked, and how long a mass departure is held
    /// back. Swarm's `--heartbeat`, 60 s.
    pub heartbeat: Duration,
    /// Where the jitter of retries comes from.
    pub random: Arc<dyn Random>,
    pairs: Vec<(String, String)>,
}

impl DiscoveryOptions {
    /// Swarm's defaults.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            heartbeat: Duration::from_secs(60),
            random: Arc::new(OsRandom),
            pairs: Vec::new(),
        }
    }

    /// Sets the heartbeat.
    #[must_use]
    pub fn with_heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Adds `--discovery-opt` values. Which keys there are depends on the backend, so unknown ones
    /// are found by [`open`](crate::open).
    ///
    /// # Errors
    /// A text without `=` or with nothing before it, named.
    pub fn with_pairs<I, S>(mut self, pairs: I) -> Result<Self>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        for pair in pairs {
            match pair.as_ref().split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    self.pairs.push((key.to_owned(), value.to_owned()));
                }
                _ => {
                    let shown: String = pair.as_ref().chars().take(80).collect();
                    return Err(
                        Error::invalid("--discovery-opt must contain key=value strings")
                            .with_context("option", shown.escape_debug()),
                    );
                }
            }
        }
        Ok(self)
    }

    /// Sets where jitter comes from.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// The value of an option; the last one counts.
    #[cfg(any(
        feature = "dns",
        feature = "gossip",
        feature = "stores",
        feature = "token"
    ))]
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        let found = self.pairs.iter().rev().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Refuses every pair whose key the backend does not know.
    pub(crate) fn only(&self, known: &[&str], backend: &str) -> Result<()> {
        match self
            .pairs
            .iter()
            .find(|(key, _)| !known.contains(&key.as_str()))
        {
            None => Ok(()),
            Some((key, _)) => {
                let shown: String = key.chars().take(80).collect();
                Err(
                    Error::invalid(format!("unknown --discovery-opt for {backend}://"))
                        .with_context("option", shown.escape_debug()),
                )
            }
        }
    }
}
