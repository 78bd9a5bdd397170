use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

use longshore_core::{Error, Result};

use super::{GossipKey, GossipTimes};
use crate::{DiscoveryOptions, DiscoveryUrl};

/// How to take part in a gossip cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GossipOptions {
    /// The cluster's shared key.
    pub key: GossipKey,
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Where others reach this member; by default the address that it listens on, which must not
    /// be the unspecified one (`0.0.0.0`) then.
    pub advertise: Option<SocketAddr>,
    /// Members to call first. A member's own address among them is skipped.
    pub seeds: Vec<SocketAddr>,
    /// The protocol's times.
    pub times: GossipTimes,
    /// How long the departure of more than half of the nodes is held back. 60 s.
    pub grace: Duration,
}

impl GossipOptions {
    /// Listens here, knows these, and takes the defaults for the rest.
    pub fn new(key: GossipKey, bind: SocketAddr, seeds: Vec<SocketAddr>) -> Self {
        Self {
            key,
            bind,
            advertise: None,
            seeds,
            times: GossipTimes::default(),
            grace: Duration::from_secs(60),
        }
    }

    /// Sets the address under which others reach this member.
    #[must_use]
    pub fn with_advertise(mut self, address: SocketAddr) -> Self {
        self.advertise = Some(address);
        self
    }

    /// Sets the protocol's times.
    #[must_use]
    pub fn with_times(mut self, times: GossipTimes) -> Self {
        self.times = times;
        self
    }

    /// Sets how long a mass departure is held back.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// `gossip://seed:port,seed:port` with the options `gossip.key` or `gossip.keyfile`,
    /// `gossip.bind` and `gossip.advertise`.
    pub(crate) fn read(url: &DiscoveryUrl, options: &DiscoveryOptions) -> Result<Self> {
        let known = [
            "gossip.key",
            "gossip.keyfile",
            "gossip.bind",
            "gossip.advertise",
        ];
        options.only(&known, "gossip")?;
        let key = match (options.value("gossip.key"), options.value("gossip.keyfile")) {
            (Some(key), None) => GossipKey::parse(key)?,
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    Error::io("the gossip key can't be read", error).with_context("file", file)
                })?;
                GossipKey::parse(&text)?
            }
            (Some(_), Some(_)) => {
                return Err(Error::invalid(
                    "give gossip.key or gossip.keyfile, not both",
                ));
            }
            (None, None) => {
                return Err(Error::invalid(
                    "gossip:// is always encrypted: give --discovery-opt gossip.keyfile=FILE with \
                     a key that all members share (openssl rand -hex 32)",
                ));
            }
        };
        let bind = address(options.value("gossip.bind").unwrap_or("0.0.0.0:7946"))?;
        let mut seeds = Vec::new();
        for seed in url
            .rest()
            .split(',')
            .map(str::trim)
            .filter(|seed| !seed.is_empty())
        {
            if seeds.len() == MOST_SEEDS {
                return Err(Error::invalid(format!("at most {MOST_SEEDS} gossip seeds")));
            }
            seeds.push(address(seed)?);
        }
        let mut read = Self::new(key, bind, seeds).with_grace(options.heartbeat);
        if let Some(advertise) = options.value("gossip.advertise") {
            read.advertise = Some(address(advertise)?);
        }
        Ok(read)
    }
}

fn address(text: &str) -> Result<SocketAddr> {
    let shown: String = text.chars().take(80).collect();
    let bad = Error::invalid("a gossip address is host:port").with_context("address", shown);
    match text.to_socket_addrs() {
        Ok(mut found) => found.next().ok_or(bad),
        Err(error) => Err(bad.with_source(error)),
    }
}

const MOST_SEEDS: usize = 64;
