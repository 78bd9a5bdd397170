//! The one thread that writes: takes what waits, does it in one transaction, and answers when that
//! is on the disk.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use longshore_core::{Error, ErrorKind, Lease, LeaseId, Result, Timestamp, TransactionOp};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    failure,
    leases::Leases,
    open_file::OpenFile,
    write::{Done, Open},
};
use crate::KvLimits;

/// Where an answer goes; nobody may wait for it any more.
pub(super) type Reply<R> = oneshot::Sender<Result<R>>;

/// One write, at a time.
pub(super) enum Job {
    Apply(Vec<TransactionOp>, Timestamp, Reply<Done>),
    Grant(Duration, Timestamp, Reply<Lease>),
    Revoke(LeaseId, Timestamp, Reply<()>),
    Expire(Timestamp, Reply<()>),
}

/// The way to the writing thread, which ends with it.
pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Writer {
    /// Waits for what is being written, a few milliseconds, so that the file is free to be opened
    /// again when the store's last client is gone.
    fn drop(&mut self) {
        self.end();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has let go of the file too.
            let _ = thread.join();
        }
    }
}

impl Writer {
    pub(super) fn start(
        file: Arc<OpenFile>,
        leases: Arc<Leases>,
        limits: KvLimits,
    ) -> Result<(Self, watch::Receiver<u64>)> {
        let (jobs, mut waiting) = mpsc::channel(QUEUE);
        let (changes, changed) = watch::channel(0);
        let worker = Worker {
            file,
            leases,
            limits,
        };
        let thread = thread::Builder::new()
            .name("longshore-redb".to_owned())
            .spawn(move || {
                let mut batch = Vec::new();
                while let Some(first) = waiting.blocking_recv() {
                    batch.push(first);
                    while batch.len() < BATCH
                        && let Ok(more) = waiting.try_recv()
                    {
                        batch.push(more);
                    }
                    worker.write(std::mem::take(&mut batch));
                    changes.send_modify(|count| *count += 1);
                }
            })
            .map_err(|error| Error::io("cannot start the store's thread", error))?;
        let writer = Self {
            jobs: Mutex::new(Some(jobs)),
            thread: Some(thread),
        };
        Ok((writer, changed))
    }

    /// Waits for a place in the queue and then for the answer. Dropping it may leave the write done.
    pub(super) async fn submit<R>(&self, job: impl FnOnce(Reply<R>) -> Job) -> Result<R> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs().clone().ok_or_else(failure::closed)?;
        let sent = jobs.send(job(reply)).await;
        // Else the thread would wait for more from a caller that waits for it.
        drop(jobs);
        sent.map_err(|_| failure::closed())?;
        answer.await.map_err(|_| failure::closed())?
    }

    /// Takes no more; the thread ends behind what was taken.
    pub(super) fn end(&self) {
        self.jobs().take();
    }

    fn jobs(&self) -> MutexGuard<'_, Option<mpsc::Sender<Job>>> {
        // It is taken or cloned, so a panic elsewhere leaves it sound.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Worker {
    file: Arc<OpenFile>,
    leases: Arc<Leases>,
    limits: KvLimits,
}

/// What is left to do when the transaction is on the disk, or is not.
type Finish = Box<dyn FnOnce(&Leases, Option<&Error>) + Send>;

impl Worker {
    fn write(&self, batch: Vec<Job>) {
        let mut finish: Vec<Finish> = Vec::with_capacity(batch.len());
        let failed = self.commit(batch, &mut finish).err();
        for finish in finish {
            finish(&self.leases, failed.as_ref());
        }
    }

    fn commit(&self, batch: Vec<Job>, finish: &mut Vec<Finish>) -> Result<()> {
        let mut jobs = batch.into_iter();
        let result = self.perform_all(&mut jobs, finish);
        // Jobs behind the one that met the failure were not begun; they fail with the others.
        finish.extend(jobs.map(Job::into_failure));
        result
    }

    fn perform_all(
        &self,
        jobs: &mut impl Iterator<Item = Job>,
        finish: &mut Vec<Finish>,
    ) -> Result<()> {
        let change = self.file.begin_write().map_err(failure::of)?;
        {
            let mut open = Open::new(&change)?;
            for job in jobs {
                let (done, fatal) = self.perform(&mut open, job);
                finish.push(done);
                if let Some(fatal) = fatal {
                    return Err(fatal);
                }
            }
        }
        change.commit().map_err(failure::of)
    }

    /// Does one job. What is refused is its own matter; a failure of the file ends the transaction.
    fn perform(&self, open: &mut Open<'_>, job: Job) -> (Finish, Option<Error>) {
        match job {
            Job::Apply(steps, now, reply) => {
                let done = self.expire(open, now);
                let done = done.and_then(|()| open.apply(&steps, &self.leases, &self.limits, now));
                answer(done, reply, None)
            }
            Job::Grant(ttl, now, reply) => {
                let granted = match self.leases.count() >= self.limits.leases {
                    true => Err(Error::new(
                        ErrorKind::ResourceExhausted,
                        format!("the store has {} leases already", self.limits.leases),
                    )),
                    false => open.grant(ttl),
                };
                let id = granted.as_ref().ok().map(|lease| lease.id);
                if let Some(id) = id {
                    self.leases.insert(id, ttl, now);
                }
                answer(granted, reply, id)
            }
            Job::Revoke(lease, now, reply) => {
                let done = self.expire(open, now);
                let done = done.and_then(|()| open.revoke(lease, &self.limits));
                self.leases.remove(lease);
                answer(done, reply, None)
            }
            Job::Expire(now, reply) => answer(self.expire(open, now), reply, None),
        }
    }

    fn expire(&self, open: &mut Open<'_>, now: Timestamp) -> Result<()> {
        for lease in self.leases.due(now) {
            open.revoke(lease, &self.limits)?;
            self.leases.remove(lease);
        }
        Ok(())
    }
}

impl Job {
    fn into_failure(self) -> Finish {
        fn gone<R>() -> Result<R> {
            Err(Error::unavailable("the store's disk failed"))
        }
        match self {
            Self::Apply(_, _, reply) => answer(gone(), reply, None).0,
            Self::Grant(_, _, reply) => answer(gone(), reply, None).0,
            Self::Revoke(_, _, reply) | Self::Expire(_, reply) => answer(gone(), reply, None).0,
        }
    }
}

/// Turns an outcome into an answer for when the commit is known, and says whether it ends the batch.
fn answer<R: Send + 'static>(
    outcome: Result<R>,
    reply: Reply<R>,
    undo: Option<LeaseId>,
) -> (Finish, Option<Error>) {
    let fatal = outcome
        .as_ref()
        .err()
        .filter(|error| failure::is_fatal(error))
        .map(failure::again);
    let finish = move |leases: &Leases, failed: Option<&Error>| {
        let outcome = match failed {
            None => outcome,
            Some(error) => {
                if let Some(lease) = undo {
                    leases.remove(lease);
                }
                Err(failure::again(error))
            }
        };
        let _ = reply.send(outcome);
    };
    (Box::new(finish), fatal)
}

/// How many writes may wait; more wait for a place.
const QUEUE: usize = 1024;

/// How many writes share a transaction.
const BATCH: usize = 256;
