use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures::stream;
use longshore_core::{Result, SessionId, Timestamp};

use super::{
    CommandGuess, CommandQuery, EventStream, RecordLimits, RecordStore, SessionQuery,
    SessionSummary, Verified,
    ledger::{Ledger, no_record},
    log::{Head, LogDecoder},
    recorded_output,
    store::{Check, blocking},
    tape::Tape,
};
use crate::session::{RecordEvent, RecordReach, Recorder, RecordingSource, RecordingStream};

/// Records in memory, in the same form as on disk. They are gone with the process.
#[derive(Clone, Debug)]
pub struct MemoryRecords {
    limits: RecordLimits,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    ledger: Ledger,
    logs: HashMap<SessionId, Log>,
}

#[derive(Debug)]
struct Log {
    tape: Tape,
    bytes: Vec<u8>,
    commands: Vec<CommandGuess>,
}

impl MemoryRecords {
    /// Nothing is recorded yet.
    pub fn new(limits: RecordLimits) -> Self {
        Self {
            limits,
            state: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes(&self, session: &SessionId) -> Result<Vec<u8>> {
        let state = self.lock();
        let log = state.logs.get(session).ok_or_else(|| no_record(session))?;
        Ok(log.bytes.clone())
    }
}

#[async_trait]
impl Recorder for MemoryRecords {
    async fn record(&self, session: &SessionId, at: Timestamp, event: &RecordEvent) -> Result<()> {
        let limits = &self.limits;
        let mut state = self.lock();
        if let RecordEvent::Opened(about) = event {
            let removed = state.ledger.admit(session, limits)?;
            let (mut tape, step) = Tape::open(session, at, about)?;
            state.forget(&removed);
            let mut bytes = Vec::new();
            step.bytes.append_to(&mut bytes);
            let _ = tape.accept(step, limits);
            state.ledger.put(tape.summary().clone());
            let log = Log {
                tape,
                bytes,
                commands: Vec::new(),
            };
            state.logs.insert(session.clone(), log);
            return Ok(());
        }
        let log = state.logs.get(session).ok_or_else(|| no_record(session))?;
        let step = log.tape.next(at, event, limits)?;
        if !matches!(event, RecordEvent::Ended(_)) {
            let removed = state.ledger.room(0, step.bytes.len() as u64, limits)?;
            state.forget(&removed);
        }
        let State { ledger, logs } = &mut *state;
        let log = logs.get_mut(session).ok_or_else(|| no_record(session))?;
        step.bytes.append_to(&mut log.bytes);
        let (command, result) = log.tape.accept(step, limits);
        log.commands.extend(command);
        ledger.update(session, |summary| summary.catch_up(log.tape.summary()));
        result
    }

    fn reach(&self, session: &SessionId) -> Option<RecordReach> {
        self.lock().ledger.reach(session, &self.limits)
    }
}

impl State {
    fn forget(&mut self, sessions: &[SessionId]) {
        for session in sessions {
            self.logs.remove(session);
            self.ledger.remove(session);
        }
    }
}

#[async_trait]
impl RecordingSource for MemoryRecords {
    async fn open(&self, session: &SessionId) -> Result<RecordingStream> {
        Ok(recorded_output(self.events(session).await?))
    }
}

#[async_trait]
impl RecordStore for MemoryRecords {
    async fn sessions(&self, query: &SessionQuery) -> Result<Vec<SessionSummary>> {
        let of_time = self.lock().ledger.of_time(query.since, query.until);
        let query = query.clone();
        blocking(move || Ok(query.choose(&of_time))).await
    }

    async fn session(&self, session: &SessionId) -> Result<SessionSummary> {
        self.lock().ledger.get(session).cloned()
    }

    async fn commands(&self, query: &CommandQuery) -> Result<Vec<CommandGuess>> {
        let of_time = self.lock().ledger.of_time(Timestamp::ZERO, query.of.until);
        let (records, query) = (self.clone(), query.clone());
        let work = move || {
            let commands = |session| match records.lock().logs.get(session) {
                Some(log) => log.commands.clone(),
                None => Vec::new(),
            };
            let all = query.sessions(&of_time);
            let met = all
                .iter()
                .flat_map(commands)
                .filter(|command| query.meets(command));
            Ok(query.page(met.collect()))
        };
        blocking(work).await
    }

    async fn events(&self, session: &SessionId) -> Result<EventStream> {
        let mut decoder = LogDecoder::new(session);
        decoder.push(&self.bytes(session)?);
        Ok(Box::pin(stream::unfold(Some(decoder), |decoder| async {
            let mut decoder = decoder?;
            match decoder.next_entry() {
                Ok(entry) => Some((Ok(entry?), Some(decoder))),
                Err(error) => Some((Err(error), None)),
            }
        })))
    }

    async fn verify(&self, session: &SessionId, head: Option<&Head>) -> Result<Verified> {
        let mut check = Check::new(&self.session(session).await?, head);
        let mut decoder = LogDecoder::new(session);
        decoder.push(&self.bytes(session)?);
        while decoder.next_entry()?.is_some() {
            check.look(&decoder)?;
        }
        check.finish(&decoder)
    }
}
