mod files;
mod recover;
mod writing;

use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures::stream;
use longshore_core::{Error, ErrorKind, Result, SessionId, Timestamp};

use self::{files::Files, writing::Writing};
use super::{
    CommandGuess, CommandQuery, EventStream, RecordLimits, RecordStore, SessionQuery,
    SessionSummary, Verified,
    ledger::{Ledger, no_record},
    log::{Head, LogDecoder},
    recorded_output,
    store::{Check, blocking},
};
use crate::session::{RecordEvent, RecordReach, Recorder, RecordingSource, RecordingStream};

/// Records in a directory, one log per session (`<id>.log`), with a summary (`<id>.json`) and the
/// guessed commands (`<id>.commands`) beside it. The directory has mode 0700, the files 0600. One
/// process at a time.
///
/// An event is in the file when [`record`](Recorder::record) returns, so it outlives the process;
/// the beginning and the end of a session are also forced to the disk, so what a machine may lose
/// at a power failure is the newest of a session that goes on.
#[derive(Clone, Debug)]
pub struct DirectoryRecords {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    files: Files,
    limits: RecordLimits,
    ledger: Mutex<Ledger>,
    open: Mutex<HashMap<SessionId, Arc<tokio::sync::Mutex<Writing>>>>,
    recovered: Vec<Recovered>,
    /// Held for as long as the directory is in use.
    _lock: File,
}

/// A session whose server ended before it did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Its id.
    pub session: SessionId,
    /// Bytes of a torn last event, which were cut off.
    pub torn: u64,
    /// Why its record is not sound, if it is not; such a record is left as it is.
    pub damage: Option<String>,
}

impl DirectoryRecords {
    /// Opens a directory, making it if it is missing. Sessions that a dead server left unfinished
    /// are marked as interrupted; a torn last event is cut off, and a warning says so. Blocks while
    /// it reads the logs of those sessions.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when another process has the directory open; it can't be read
    /// or written.
    pub fn open(directory: impl AsRef<Path>, limits: RecordLimits) -> Result<Self> {
        let files = Files::new(directory.as_ref())?;
        let lock = files.lock()?;
        let (ledger, recovered) = recover::recover(&files)?;
        Ok(Self {
            inner: Arc::new(Inner {
                files,
                limits,
                ledger: Mutex::new(ledger),
                open: Mutex::default(),
                recovered,
                _lock: lock,
            }),
        })
    }

    /// What was found unfinished when the directory was opened.
    pub fn recovered(&self) -> &[Recovered] {
        &self.inner.recovered
    }
}

impl Inner {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<tokio::sync::Mutex<Writing>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, session: &SessionId, at: Timestamp, event: &RecordEvent) -> Result<()> {
        let RecordEvent::Opened(about) = event else {
            return Err(no_record(session));
        };
        let removed = {
            let mut ledger = self.ledger();
            let removed = ledger.admit(session, &self.limits)?;
            removed.iter().for_each(|session| ledger.remove(session));
            // It takes its place before the disk is waited for: two of one id, or two for the last
            // place, can't both get in.
            ledger.put(SessionSummary::new(session.clone(), (**about).clone(), at));
            removed
        };
        self.unlink(&removed);
        let writing = match Writing::begin(&self.files, session, at, about, &self.limits) {
            Ok(writing) => writing,
            Err(error) => {
                self.ledger().remove(session);
                return Err(error);
            }
        };
        self.ledger()
            .update(session, |known| known.clone_from(writing.summary()));
        let writing = Arc::new(tokio::sync::Mutex::new(writing));
        self.open().insert(session.clone(), writing);
        Ok(())
    }

    fn append(&self, writing: &mut Writing, at: Timestamp, event: &RecordEvent) -> Result<()> {
        let step = writing.next(at, event, &self.limits)?;
        let is_last = matches!(event, RecordEvent::Ended(_));
        if !is_last {
            let removed = {
                let mut ledger = self.ledger();
                let removed = ledger.room(0, step.bytes.len() as u64, &self.limits)?;
                removed.iter().for_each(|session| ledger.remove(session));
                removed
            };
            self.unlink(&removed);
        }
        let result = writing.append(&self.files, step, &self.limits);
        let summary = writing.summary();
        self.ledger()
            .update(&summary.session, |known| known.catch_up(summary));
        if is_last {
            self.open().remove(&summary.session);
        }
        result
    }

    /// Of records that the ledger knows no more. A disk takes its time for it, and
    /// [`reach`](Recorder::reach), which does not wait, asks the ledger.
    fn unlink(&self, sessions: &[SessionId]) {
        for session in sessions {
            tracing::info!(%session, "the record of a session was removed to make room");
            self.files.remove(session);
        }
    }

    fn verify(&self, session: &SessionId, head: Option<&Head>) -> Result<Verified> {
        // The summary first: what is written meanwhile comes behind it.
        let mut check = Check::new(self.ledger().get(session)?, head);
        let mut file = self.files.log(session)?;
        let mut decoder = LogDecoder::new(session);
        while read(&mut file, &mut decoder)? > 0 {
            while decoder.next_entry()?.is_some() {
                check.look(&decoder)?;
            }
        }
        check.finish(&decoder)
    }

    fn commands(&self, query: &CommandQuery) -> Result<Vec<CommandGuess>> {
        let of_time = self.ledger().of_time(Timestamp::ZERO, query.of.until);
        let sessions = query.sessions(&of_time);
        let mut met = Vec::new();
        for session in sessions {
            let commands = self.files.read_commands(&session)?;
            met.extend(commands.into_iter().filter(|command| query.meets(command)));
            if met.len() > MOST_COMMANDS {
                return Err(Error::new(
                    ErrorKind::ResourceExhausted,
                    "too many commands are meant: ask for a session, a user or a later time",
                ));
            }
        }
        Ok(query.page(met))
    }
}

#[async_trait]
impl Recorder for DirectoryRecords {
    /// # Cancel safety
    /// A dropped call still writes all of the event or nothing of it.
    async fn record(&self, session: &SessionId, at: Timestamp, event: &RecordEvent) -> Result<()> {
        let (session, event, inner) = (session.clone(), event.clone(), Arc::clone(&self.inner));
        if let RecordEvent::Opened(_) = event {
            return blocking(move || inner.begin(&session, at, &event)).await;
        }
        let open = inner.open().get(&session).cloned();
        let Some(open) = open else {
            let summary = inner.ledger().get(&session).cloned()?;
            return Err(Error::closed("the record of this session has ended")
                .with_context("session", &summary.session));
        };
        let mut writing = open.lock_owned().await;
        blocking(move || inner.append(&mut writing, at, &event)).await
    }

    fn reach(&self, session: &SessionId) -> Option<RecordReach> {
        self.inner.ledger().reach(session, &self.inner.limits)
    }
}

#[async_trait]
impl RecordingSource for DirectoryRecords {
    async fn open(&self, session: &SessionId) -> Result<RecordingStream> {
        Ok(recorded_output(self.events(session).await?))
    }
}

#[async_trait]
impl RecordStore for DirectoryRecords {
    async fn sessions(&self, query: &SessionQuery) -> Result<Vec<SessionSummary>> {
        let of_time = self.inner.ledger().of_time(query.since, query.until);
        let query = query.clone();
        blocking(move || Ok(query.choose(&of_time))).await
    }

    async fn session(&self, session: &SessionId) -> Result<SessionSummary> {
        self.inner.ledger().get(session).cloned()
    }

    async fn commands(&self, query: &CommandQuery) -> Result<Vec<CommandGuess>> {
        let (inner, query) = (Arc::clone(&self.inner), query.clone());
        blocking(move || inner.commands(&query)).await
    }

    async fn events(&self, session: &SessionId) -> Result<EventStream> {
        // As far as it is known to go, it is there and as it was written, or its end is an error.
        let check = Check::new(self.inner.ledger().get(session)?, None);
        let (inner, id) = (Arc::clone(&self.inner), session.clone());
        let file = blocking(move || inner.files.log(&id)).await?;
        let state = Some((file, LogDecoder::new(session), check));
        Ok(Box::pin(stream::unfold(state, |state| async {
            let (mut file, mut decoder, mut check) = state?;
            loop {
                match decoder.next_entry() {
                    Ok(Some(entry)) => {
                        return Some(match check.look(&decoder) {
                            Ok(()) => (Ok(entry), Some((file, decoder, check))),
                            Err(error) => (Err(error), None),
                        });
                    }
                    Err(error) => return Some((Err(error), None)),
                    Ok(None) => {}
                }
                let reading = blocking(move || {
                    let got = read(&mut file, &mut decoder)?;
                    Ok((got, file, decoder))
                });
                match reading.await {
                    Ok((0, _, decoder)) => {
                        return check.finish(&decoder).err().map(|error| (Err(error), None));
                    }
                    Ok((_, a, b)) => (file, decoder) = (a, b),
                    Err(error) => return Some((Err(error), None)),
                }
            }
        })))
    }

    async fn verify(&self, session: &SessionId, head: Option<&Head>) -> Result<Verified> {
        let (inner, session, head) = (Arc::clone(&self.inner), session.clone(), head.copied());
        blocking(move || inner.verify(&session, head.as_ref())).await
    }
}

/// Reads on; 0 at the end of the file.
fn read(file: &mut File, decoder: &mut LogDecoder) -> Result<usize> {
    let mut buffer = vec![0; READ];
    let got = file.read(&mut buffer);
    let got = got.map_err(|error| Error::io("cannot read a session's record", error))?;
    decoder.push(&buffer[..got]);
    Ok(got)
}

const READ: usize = 64 << 10;
const MOST_COMMANDS: usize = 100_000;

#[cfg(test)]
mod tests;
