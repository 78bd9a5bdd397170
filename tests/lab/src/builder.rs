//! What a lab is made of, and bringing it up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::lab::Lab;
use crate::names::{self, LabId, MAX_HOSTS};
use crate::record::{LabRecord, Owner};
use crate::teardown::{self, Watchdog};
use crate::{LabError, network, requirements};

/// What one host of a lab is like.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LabHostSpec {
    /// The host's name; `host-1`, `host-2` … when not given.
    pub name: Option<String>,
    /// The engine's labels. `zone` is added when missing: `a` for the first
    /// host, `b` for the second, and so on.
    pub labels: BTreeMap<String, String>,
    /// Whether all inbound traffic is dropped, as behind a NAT: the host can
    /// dial out, nobody can dial in.
    pub nat: bool,
    /// The size in MiB of a tmpfs to keep the engine's data on, so that the
    /// disk can be filled. On the machine's own disk when not given.
    pub data_mib: Option<u32>,
    /// Whether containers survive the end of their `dockerd`.
    pub live_restore: bool,
    /// Further arguments for `dockerd`. With `--tlsverify` among them, the
    /// plain TCP endpoint on port 2375 is left out.
    pub dockerd_arguments: Vec<String>,
}

impl LabHostSpec {
    /// Gives the host a name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds a label to the engine.
    #[must_use]
    pub fn with_label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Drops all inbound traffic.
    #[must_use]
    pub fn with_nat(mut self) -> Self {
        self.nat = true;
        self
    }

    /// Keeps the engine's data on a tmpfs of this many MiB (64 at least is sensible).
    #[must_use]
    pub fn with_data_mib(mut self, size: u32) -> Self {
        self.data_mib = Some(size);
        self
    }

    /// Lets containers survive the end of their `dockerd`.
    #[must_use]
    pub fn with_live_restore(mut self) -> Self {
        self.live_restore = true;
        self
    }

    /// Adds an argument for `dockerd`.
    #[must_use]
    pub fn with_dockerd_argument(mut self, argument: impl Into<String>) -> Self {
        self.dockerd_arguments.push(argument.into());
        self
    }
}

/// Describes a lab to start; made by [`Lab::builder`].
#[derive(Debug, Clone, Default)]
pub struct LabBuilder {
    hosts: Vec<LabHostSpec>,
    detached: bool,
    deadline: Option<Duration>,
}

impl LabBuilder {
    /// Adds `count` plain hosts.
    #[must_use]
    pub fn hosts(mut self, count: usize) -> Self {
        self.hosts
            .extend(std::iter::repeat_n(LabHostSpec::default(), count));
        self
    }

    /// Adds one host.
    #[must_use]
    pub fn host(mut self, spec: LabHostSpec) -> Self {
        self.hosts.push(spec);
        self
    }

    /// Lets the lab outlive this process: it stays until [`LabRecord::remove`]
    /// or `cargo xtask lab down`.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// How long the engines may take to answer (60 s when not given).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Starts the lab, unless it cannot run here: then says so where
    /// `cargo xtask test` counts it, and returns `None`.
    ///
    /// # Panics
    /// When the machine has all it needs and the lab does not start all the same.
    #[must_use]
    #[track_caller]
    pub fn start_or_skip(self, suite: &str) -> Option<Lab> {
        if let Err(reason) = requirements::available() {
            requirements::skip(suite, &reason);
            return None;
        }
        match self.start() {
            Ok(lab) => Some(lab),
            Err(error) => panic!("the lab for {suite} did not start: {error}"),
        }
    }

    /// Starts all hosts and waits until every engine answers. Labs of dead
    /// processes are swept away first.
    ///
    /// # Errors
    /// When the machine lacks something, or an engine does not answer in time:
    /// the message shows the end of its log. What was started is gone again.
    pub fn start(self) -> Result<Lab, LabError> {
        requirements::available().map_err(|reason| LabError::new(format!("a lab {reason}")))?;
        if self.hosts.is_empty() || self.hosts.len() > MAX_HOSTS {
            return Err(LabError::new(format!("a lab has 1 to {MAX_HOSTS} hosts")));
        }
        let (mut record, watchdog) = claim()?;
        let id = LabId(record.id);
        let gone = Arc::new(AtomicBool::new(false));
        let hosts = self
            .hosts
            .into_iter()
            .enumerate()
            .map(|(index, spec)| Arc::new(Host::new(id, index, spec, Arc::clone(&gone))))
            .collect();
        // From here on an early return drops the lab, which takes it down.
        let lab = Lab::assemble(id, hosts, gone, watchdog);

        network::create_links(id, lab.hosts())?;
        for host in lab.hosts() {
            host.boot()?;
            network::configure(host)?;
        }
        for host in lab.hosts() {
            host.spawn_dockerd()?;
        }
        let deadline = Instant::now() + self.deadline.unwrap_or(Duration::from_secs(60));
        for host in lab.hosts() {
            host.wait_ready(deadline)?;
        }
        record.hosts = lab.hosts().map(Host::record).collect();
        if self.detached {
            record.detached = true;
            record.owners.clear();
        }
        record.save()?;
        if self.detached {
            lab.detach();
        }
        Ok(lab)
    }
}

/// Takes the first free number. Making the bridge is the claim that counts: it
/// also holds against labs with another state directory.
fn claim() -> Result<(LabRecord, Watchdog), LabError> {
    let _lock = lock()?;
    teardown::sweep()?;
    let taken = network::subnets_in_use()?;
    let first = u8::try_from(std::process::id() % 200).unwrap_or(0);
    for id in (0..=u8::MAX).map(|step| LabId(first.wrapping_add(step))) {
        if taken.contains(&id.0) || id.directory().exists() || !network::create_bridge(id)? {
            continue;
        }
        return own(id).inspect_err(|_| drop(teardown::run(id)));
    }
    Err(LabError::new(
        "no free subnet in 10.90.0.0/16: see `cargo xtask lab status`",
    ))
}

fn own(id: LabId) -> Result<(LabRecord, Watchdog), LabError> {
    let directory = id.directory();
    std::fs::create_dir(&directory)
        .map_err(|e| LabError::io(format!("cannot create {}", directory.display()), e))?;
    let mut record = teardown::blank_record(id);
    record.owners.extend(Owner::of(std::process::id()));
    record.save()?;
    let watchdog = Watchdog::start(id)?;
    record.owners.extend(Owner::of(watchdog.pid()));
    record.save()?;
    Ok((record, watchdog))
}

/// Keeps two processes from claiming or sweeping at the same time.
pub(crate) fn lock() -> Result<std::fs::File, LabError> {
    let path = names::prepare_base_directory()?.join("lock");
    let doing = || format!("cannot lock {}", path.display());
    let file = std::fs::File::create(&path).map_err(|e| LabError::io(doing(), e))?;
    file.lock().map_err(|e| LabError::io(doing(), e))?;
    Ok(file)
}
