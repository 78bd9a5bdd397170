//! Real key-value stores on loopback: etcd, Consul, ZooKeeper.
//!
//! Needs no root and no namespaces, only the programs, unless it is to run in a host of a lab. A store
//! listens on 127.0.0.1, has its own ports and its own data directory, and is gone when dropped: also
//! when a test panics or the whole process is killed.

mod consul;
mod etcd;
mod member;
mod place;
mod ports;
mod probe;
mod shared;
mod watchdog;
mod zookeeper;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use member::StoreMember;
pub use ports::free_ports;

use place::Place;

use crate::{Host, LabError, requirements};

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreKind {
    /// etcd 3.
    Etcd,
    /// Consul.
    Consul,
    /// ZooKeeper.
    ZooKeeper,
}

impl StoreKind {
    /// The name in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Consul => "consul",
            Self::ZooKeeper => "zookeeper",
        }
    }

    /// Whether its program is here.
    ///
    /// # Errors
    /// With what is missing, in a form that follows the store's name.
    pub fn available(self) -> Result<(), String> {
        match self {
            Self::Etcd => etcd::program().map(drop),
            Self::Consul => consul::program().map(drop),
            Self::ZooKeeper => zookeeper::program().map(drop),
        }
    }
}

/// How to start a store.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct StoreSpec {
    /// Arguments added to the program's own.
    pub arguments: Vec<String>,
    /// Lines added to its configuration file (Consul: one JSON object; ZooKeeper: properties).
    pub configuration: String,
    /// Certificate, key and authority in PEM, when clients must use TLS.
    pub tls: Option<StoreTlsFiles>,
    place: Place,
}

/// Where a store's TLS files are.
#[derive(Debug, Clone)]
pub struct StoreTlsFiles {
    /// The authority that clients' certificates come from.
    pub authority: PathBuf,
    /// The server's certificate; for ZooKeeper with its key in the same file.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl StoreSpec {
    /// Adds program arguments.
    #[must_use]
    pub fn with_arguments<S: Into<String>>(
        mut self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds to the configuration file.
    #[must_use]
    pub fn with_configuration(mut self, text: impl Into<String>) -> Self {
        self.configuration = text.into();
        self
    }

    /// Runs in the network of a host of a lab, which must outlive the store, and listens on the host's
    /// address instead of loopback.
    #[must_use]
    pub fn with_host(mut self, host: &Host) -> Self {
        self.place = Place::in_host(host);
        self
    }

    /// Serves clients over TLS only, and demands their certificate.
    #[must_use]
    pub fn with_tls(mut self, tls: StoreTlsFiles) -> Self {
        self.tls = Some(tls);
        self
    }
}

/// A running store of one or several members, gone when dropped.
#[derive(Debug)]
pub struct Store {
    kind: StoreKind,
    members: Vec<StoreMember>,
}

impl Store {
    /// Starts a store of `members` members (more than one: etcd only) and waits until it answers.
    ///
    /// # Errors
    /// When the program is missing, or does not answer in time; with the end of its log.
    pub fn start(kind: StoreKind, members: usize, spec: &StoreSpec) -> Result<Self, LabError> {
        let mut members = match kind {
            StoreKind::Etcd => etcd::members(members, spec)?,
            StoreKind::Consul => vec![consul::member(spec)?],
            StoreKind::ZooKeeper => vec![zookeeper::member(spec)?],
        };
        for member in &mut members {
            member.launch()?;
        }
        for member in &mut members {
            member.await_ready(PATIENCE)?;
        }
        Ok(Self { kind, members })
    }

    /// As [`start`](Self::start); says that `suite` was skipped where the program is missing.
    ///
    /// # Panics
    /// When the program is there and does not come up: that is a failure, not a skip.
    #[must_use]
    #[track_caller]
    pub fn start_or_skip(
        kind: StoreKind,
        members: usize,
        spec: &StoreSpec,
        suite: &str,
    ) -> Option<Self> {
        if let Err(reason) = kind.available() {
            requirements::skip(suite, &reason);
            return None;
        }
        match Self::start(kind, members, spec) {
            Ok(store) => Some(store),
            Err(error) => panic!("{suite}: {} did not start: {error}", kind.as_str()),
        }
    }

    /// Which store it is.
    #[must_use]
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// Where clients connect, one address per member.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(StoreMember::address).collect()
    }

    /// The addresses as a discovery URL lists them.
    #[must_use]
    pub fn authority(&self) -> String {
        let addresses: Vec<_> = self.addresses().iter().map(ToString::to_string).collect();
        addresses.join(",")
    }

    /// A member, to disturb it.
    ///
    /// # Panics
    /// When there is no such member.
    #[track_caller]
    pub fn member(&mut self, index: usize) -> &mut StoreMember {
        &mut self.members[index]
    }

    /// All members.
    pub fn members(&mut self) -> impl Iterator<Item = &mut StoreMember> {
        self.members.iter_mut()
    }

    /// Waits until every running member answers.
    ///
    /// # Errors
    /// When one does not in time.
    pub fn await_ready(&mut self) -> Result<(), LabError> {
        for member in &mut self.members {
            if member.is_running() {
                member.await_ready(PATIENCE)?;
            }
        }
        Ok(())
    }
}

/// Where `cargo xtask test` unpacks programs that Debian's current release lacks.
#[must_use]
pub fn store_cache() -> PathBuf {
    std::env::var_os("LONGSHORE_LAB_CACHE").map_or_else(
        || Path::new("/var/cache/longshore-lab").to_path_buf(),
        PathBuf::from,
    )
}

/// How long a store may take to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
