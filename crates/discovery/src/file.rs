use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use longshore_core::{
    Announcement, Clock, Discovery, DiscoveryCapabilities, Error, Membership, MembershipStream,
    Registration, Result, WatchMode,
};

use crate::{
    content::{self, BadLine},
    diff::{Nodes, by_endpoint},
    evidence::{Evidence, Reading},
};

mod notice;
mod read;
mod watch;

/// How a [`FileDiscovery`] learns that its file changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileWatch {
    /// The operating system tells, and the file is read every interval as well. Where the system
    /// can't tell (network file systems, no watches left), reading every interval remains.
    #[default]
    NotifyAndPoll,
    /// The file is read every interval.
    Poll,
}

/// How to watch a discovery file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileOptions {
    /// How changes are found.
    pub watch: FileWatch,
    /// How often the file is read without a notification.
    pub interval: Duration,
    /// How long the departure of more than half of the nodes is held before it counts.
    pub grace: Duration,
    /// The largest file that is read.
    pub max_bytes: u64,
}

impl Default for FileOptions {
    /// Notification and a reading every 60 s, 60 s of grace, 4 MiB.
    fn default() -> Self {
        let heartbeat = Duration::from_secs(60);
        Self {
            watch: FileWatch::default(),
            interval: heartbeat,
            grace: heartbeat,
            max_bytes: 4 << 20,
        }
    }
}

impl FileOptions {
    /// Sets how changes are found.
    #[must_use]
    pub fn with_watch(mut self, watch: FileWatch) -> Self {
        self.watch = watch;
        self
    }

    /// Sets how often the file is read without a notification; at least every 10 ms.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(10));
        self
    }

    /// Sets how long a mass departure is held; zero for not at all.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets the largest file that is read.
    #[must_use]
    pub fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }
}

/// A file with one address per line: `file:///etc/cluster/nodes`.
///
/// Lines may have ranges (see [`range`](crate::range)); `#` begins a comment. Every bad line is
/// reported with its number; the others count. Removal needs evidence: nobody is removed while a
/// line is bad or the file can't be read, and the departure of more than half of the nodes is held
/// for a grace period ([`FileOptions::grace`]) and read again.
///
/// The file may be replaced by a rename or written in place, and may appear later. A change behind a
/// symbolic link is found at the next interval.
#[derive(Clone, Debug)]
pub struct FileDiscovery {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    options: FileOptions,
    /// Held while the file is read, so that an older reading never follows a newer one; and only in
    /// the thread that reads, so that a watch nobody reads on can't hold it.
    evidence: Mutex<Evidence>,
}

/// What one look at the file showed.
struct Look {
    /// The nodes in force; `None` before anything was read.
    in_force: Option<Nodes>,
    /// When to look again because departures are held.
    deadline: Option<longshore_core::Timestamp>,
    /// Bad lines, or why the file could not be read.
    found: Result<Vec<BadLine>>,
}

impl FileDiscovery {
    /// Watches this file. Nothing is read yet.
    pub fn new(path: impl Into<PathBuf>, clock: Arc<dyn Clock>, options: FileOptions) -> Self {
        let evidence = Mutex::new(Evidence::new(options.grace));
        Self {
            shared: Arc::new(Shared {
                path: path.into(),
                clock,
                options,
                evidence,
            }),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }
}

impl Shared {
    /// Looks at the file. A look that is given up by its caller is finished nevertheless.
    async fn look(self: &Arc<Self>) -> Look {
        let shared = self.clone();
        let looking = tokio::task::spawn_blocking(move || shared.look_now());
        looking.await.unwrap_or_else(|stopped| {
            let error = Error::unavailable("the runtime stopped while a file was read");
            Look {
                in_force: None,
                deadline: None,
                found: Err(error.with_source(stopped)),
            }
        })
    }

    fn look_now(&self) -> Look {
        // Evidence changes in one step, so a panic elsewhere leaves it sound.
        let mut evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        let (reading, found) = match read::text(&self.path, self.options.max_bytes) {
            Err(error) => (Reading::Failed, Err(error)),
            Ok(text) => {
                let content = content::parse(&text);
                let nodes = by_endpoint(content.nodes);
                let reading = match content.bad.is_empty() {
                    true => Reading::Complete(nodes),
                    false => Reading::Partial(nodes),
                };
                (reading, Ok(content.bad))
            }
        };
        evidence.handle(reading, self.clock.now());
        Look {
            in_force: evidence.in_force().cloned(),
            deadline: evidence.next_deadline(),
            found,
        }
    }

    fn problem(&self, bad: &BadLine) -> Error {
        let path = self.path.display();
        let message = match bad.number {
            Some(number) => format!("{path}, line {number}: {}", bad.reason),
            None => format!("{path}: {}", bad.reason),
        };
        Error::invalid(message).with_backend("file")
    }
}

#[async_trait]
impl Discovery for FileDiscovery {
    fn capabilities(&self) -> DiscoveryCapabilities {
        DiscoveryCapabilities::read_only(match self.shared.options.watch {
            FileWatch::NotifyAndPoll => WatchMode::Push,
            FileWatch::Poll => WatchMode::Poll(self.shared.options.interval),
        })
    }

    fn describe(&self) -> String {
        format!("file://{}", self.shared.path.display())
    }

    async fn register(&self, _: &Announcement, _: Duration) -> Result<Registration> {
        Err(crate::not_implemented("file"))
    }

    async fn renew(&self, _: &Registration) -> Result<Registration> {
        Err(crate::not_implemented("file"))
    }

    async fn deregister(&self, _: &Registration) -> Result<()> {
        Err(crate::not_implemented("file"))
    }

    /// Reads the file. Nodes whose departure is held are still listed.
    async fn list(&self) -> Result<Membership> {
        let look = self.shared.look().await;
        let problems = look
            .found?
            .iter()
            .map(|bad| self.shared.problem(bad))
            .collect();
        let nodes = look.in_force.unwrap_or_default();
        Ok(Membership::new(nodes.into_values().collect(), problems))
    }

    fn watch(&self) -> MembershipStream {
        watch::stream(self.shared.clone())
    }
}
