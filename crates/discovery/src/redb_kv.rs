use std::{
    collections::VecDeque,
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use longshore_core::{
    Clock, Error, Expect, KvCapabilities, KvEntry, KvEvent, KvRange, KvStore, KvWatch, Lease,
    LeaseId, PutOptions, Result, Revision, TransactionOp,
};
use tokio::sync::watch;

use crate::KvLimits;

pub(crate) mod failure;
mod leases;
mod open_file;
mod read;
pub(crate) mod sound;
mod tables;
mod write;
mod writer;

use leases::Leases;
use open_file::OpenFile;
use read::Told;
use writer::{Job, Writer};

/// A [`KvStore`] in one file of this process: for a control plane without a store server.
///
/// Built on `redb`. A write is acknowledged when it is on the disk (one `fsync` for all writes that
/// wait at the same time), so what was acknowledged survives `kill -9` and a power cut; what was not
/// is there as a whole or not at all. The file is locked until the store is [closed](Self::close) or its
/// last client is dropped: one process at a time. Clones are clients of the same store.
///
/// Leases survive a restart with their whole time to live counted anew, since nobody could renew
/// them meanwhile. The last [`KvLimits::history`] changes are kept for watches, in the file, so a
/// watch may go on after a restart; who is further behind is told to read again.
#[derive(Clone, Debug)]
pub struct RedbKv {
    shared: Arc<Shared>,
}

struct Shared {
    /// Ends before the file is let go.
    writer: Writer,
    /// `None` once the store was closed.
    file: Mutex<Option<Arc<OpenFile>>>,
    /// Ends when nobody holds the file any more.
    closed: watch::Receiver<()>,
    clock: Arc<dyn Clock>,
    leases: Arc<Leases>,
    /// Counts commits; watches wait for it.
    changes: watch::Receiver<u64>,
    path: String,
}

impl RedbKv {
    /// Opens the store in this file, or makes it, for its owner alone. Blocks for as long as it takes
    /// to read all of the file, which is checked; after a crash it is repaired first.
    ///
    /// # Errors
    /// The file can't be opened, belongs to another process, is damaged or is no store of this kind.
    pub fn open(path: impl AsRef<Path>, clock: Arc<dyn Clock>, limits: KvLimits) -> Result<Self> {
        let path = path.as_ref();
        let shown = path.display().to_string();
        let now = clock.now();
        let (database, granted) = sound::open(path, REMEDY, |database| {
            let granted =
                write::prepare(&database).map_err(|error| error.with_context("file", &shown))?;
            Ok((database, granted))
        })?;
        let leases = Arc::new(Leases::new(granted, now));
        let (file, closed) = OpenFile::new(database);
        let file = Arc::new(file);
        let (writer, changes) = Writer::start(file.clone(), leases.clone(), limits)?;
        Ok(Self {
            shared: Arc::new(Shared {
                file: Mutex::new(Some(file)),
                closed,
                clock,
                leases,
                writer,
                changes,
                path: shown,
            }),
        })
    }

    /// Ends the store for all its clients, and waits until the file is free: it can be opened again
    /// at once then, here or elsewhere. Writes that were accepted are finished and answered first;
    /// calls that come later fail with [`ErrorKind::Closed`](longshore_core::ErrorKind::Closed), and
    /// watches end.
    ///
    /// Dropping the last client closes the file too, but a read that was given up may hold it a little
    /// longer, in a thread of its own; nobody waits for that there.
    ///
    /// # Cancel safety
    /// Safe: the end goes on, and closing again waits for it.
    pub async fn close(&self) {
        self.shared.file().take();
        self.shared.writer.end();
        let mut closed = self.shared.closed.clone();
        // Nothing is ever sent on it.
        while closed.changed().await.is_ok() {}
    }

    async fn apply(&self, steps: Vec<TransactionOp>) -> Result<write::Done> {
        crate::kv_step::check(&steps, &capabilities())?;
        self.shared
            .write(|now, reply| Job::Apply(steps, now, reply))
            .await
    }
}

impl Shared {
    fn file(&self) -> MutexGuard<'_, Option<Arc<OpenFile>>> {
        // It is taken or cloned, so a panic elsewhere leaves it sound.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the file open.
    fn open(&self) -> Result<Arc<OpenFile>> {
        self.file().clone().ok_or_else(failure::closed)
    }

    /// Writes, in turn with all others.
    async fn write<R: Send + 'static>(
        &self,
        job: impl FnOnce(longshore_core::Timestamp, writer::Reply<R>) -> Job,
    ) -> Result<R> {
        let now = self.clock.now();
        self.writer.submit(|reply| job(now, reply)).await
    }

    /// Ends the leases whose time is over, so that what is read next knows it.
    async fn expire(&self) -> Result<()> {
        match self.leases.is_due(self.clock.now()) {
            true => self.write(Job::Expire).await,
            false => Ok(()),
        }
    }

    /// Reads in a thread that may wait for the disk.
    async fn read<R: Send + 'static>(
        &self,
        look: impl FnOnce(&redb::Database) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.expire().await?;
        let file = self.open()?;
        tokio::task::spawn_blocking(move || look(&file))
            .await
            .unwrap_or_else(|stopped| {
                Err(Error::unavailable("the runtime stopped during a read").with_source(stopped))
            })
    }
}

#[async_trait]
impl KvStore for RedbKv {
    fn capabilities(&self) -> KvCapabilities {
        capabilities()
    }

    fn describe(&self) -> String {
        format!("redb://{}", self.shared.path)
    }

    async fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        let key = key.to_owned();
        self.shared
            .read(move |database| read::get(database, &key))
            .await
    }

    async fn put(&self, key: &str, value: Bytes, options: PutOptions) -> Result<Revision> {
        let step = TransactionOp::put(key, value, options);
        Ok(self.apply(vec![step]).await?.revision)
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<bool> {
        let step = TransactionOp::delete(key, expect);
        Ok(self.apply(vec![step]).await?.deleted > 0)
    }

    async fn range(&self, prefix: &str, after: &str, limit: usize) -> Result<KvRange> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        self.shared
            .read(move |database| read::range(database, &prefix, &after, limit))
            .await
    }

    async fn transact(&self, steps: Vec<TransactionOp>) -> Result<Revision> {
        Ok(self.apply(steps).await?.revision)
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        if ttl.is_zero() {
            return Err(Error::invalid("a lease needs a time to live above zero"));
        }
        let ttl = ttl.max(SHORTEST);
        self.shared
            .write(|now, reply| Job::Grant(ttl, now, reply))
            .await
    }

    /// Asks no disk: after a restart every lease begins anew.
    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.shared.expire().await?;
        self.shared.open()?;
        self.shared
            .leases
            .keep_alive(lease, self.shared.clock.now())
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.shared
            .write(|now, reply| Job::Revoke(lease, now, reply))
            .await
    }

    fn watch(&self, prefix: &str, from: Option<Revision>) -> KvWatch {
        let behind = match from {
            Some(from) => Some(from),
            // From now on, not from when the stream is first asked. A failure shows there.
            None => {
                let file = self.shared.open();
                file.and_then(|file| read::revision(&file)).ok()
            }
        };
        let follower = Follower {
            changes: self.shared.changes.clone(),
            shared: self.shared.clone(),
            prefix: prefix.to_owned(),
            behind,
            due: VecDeque::new(),
            failing: false,
        };
        stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await?;
            Some((event, follower))
        })
        .boxed()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// One watch: a place in the history on the disk.
struct Follower {
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    prefix: String,
    /// Everything up to here was told or is due.
    behind: Option<Revision>,
    due: VecDeque<KvEvent>,
    failing: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Result<KvEvent>> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Some(Ok(event));
            }
            self.changes.mark_unchanged();
            let (prefix, behind) = (self.prefix.clone(), self.behind);
            let told = self
                .shared
                .read(move |database| read::changes(database, behind, &prefix))
                .await;
            match told {
                Ok(Told { events, up_to }) => {
                    self.failing = false;
                    self.behind = Some(up_to);
                    self.due = events;
                }
                Err(error) if !self.failing => {
                    self.failing = true;
                    return Some(Err(error));
                }
                // Told already; a disk that fails is tried again at the next change.
                Err(_) => {}
            }
            if !self.due.is_empty() {
                continue;
            }
            let changed = match self.shared.leases.next_deadline() {
                None => self.changes.changed().await,
                Some(at) => tokio::select! {
                    changed = self.changes.changed() => changed,
                    () = self.shared.clock.sleep_until(at) => Ok(()),
                },
            };
            // The writer is gone: nothing will change any more.
            changed.ok()?;
        }
    }
}

fn capabilities() -> KvCapabilities {
    KvCapabilities::durable(SHORTEST)
}

/// What to do about a damaged file.
const REMEDY: &str = "put a copy of it in its place, or move it away to begin anew";

/// The shortest lease; what is shorter is rounded up.
const SHORTEST: Duration = Duration::from_millis(1);
