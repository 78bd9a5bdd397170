use std::collections::{BTreeSet, HashMap};

use longshore_core::{Error, ErrorKind, Result, SessionId, Timestamp};

use super::{
    CommandQuery, RecordLimits, Retention, SessionQuery, SessionStatus, SessionSummary,
    tape::RESERVE,
};
use crate::session::RecordReach;

/// All sessions of a store, in order, with the room they take.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sessions: HashMap<SessionId, SessionSummary>,
    by_age: BTreeSet<(Timestamp, SessionId)>,
    total: u64,
}

impl Ledger {
    pub(super) fn get(&self, session: &SessionId) -> Result<&SessionSummary> {
        self.sessions.get(session).ok_or_else(|| no_record(session))
    }

    pub(super) fn put(&mut self, summary: SessionSummary) {
        self.remove(&summary.session.clone());
        self.total += summary.bytes;
        self.by_age
            .insert((summary.created_at, summary.session.clone()));
        self.sessions.insert(summary.session.clone(), summary);
    }

    /// A session of the store has changed.
    pub(super) fn update(&mut self, session: &SessionId, change: impl FnOnce(&mut SessionSummary)) {
        if let Some(summary) = self.sessions.get_mut(session) {
            self.total -= summary.bytes;
            change(summary);
            self.total += summary.bytes;
        }
    }

    pub(super) fn remove(&mut self, session: &SessionId) {
        if let Some(old) = self.sessions.remove(session) {
            self.total -= old.bytes;
            self.by_age.remove(&(old.created_at, old.session));
        }
    }

    /// Room for one more session.
    ///
    /// # Errors
    /// It has a record already; or [`ErrorKind::ResourceExhausted`] when there is no room and
    /// nothing that may be removed.
    pub(super) fn admit(
        &self,
        session: &SessionId,
        limits: &RecordLimits,
    ) -> Result<Vec<SessionId>> {
        if self.sessions.contains_key(session) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                "this session has a record already",
            )
            .with_context("session", session));
        }
        let more = (self.sessions.len() + 1).saturating_sub(limits.sessions);
        self.room(more, FIRST, limits)
    }

    /// Room for so many more bytes: the sessions to remove for it.
    pub(super) fn room(
        &self,
        mut sessions: usize,
        bytes: u64,
        limits: &RecordLimits,
    ) -> Result<Vec<SessionId>> {
        let mut over = (self.total + bytes).saturating_sub(limits.total);
        let mut removed = Vec::new();
        if sessions == 0 && over == 0 {
            return Ok(removed);
        }
        if limits.retention == Retention::RemoveOldest {
            let mut finished: Vec<_> = self
                .sessions
                .values()
                .filter(|summary| summary.status != SessionStatus::Active)
                .collect();
            finished.sort_by_key(|summary| summary.ended_at.unwrap_or(summary.created_at));
            for summary in finished {
                if sessions == 0 && over == 0 {
                    break;
                }
                sessions = sessions.saturating_sub(1);
                over = over.saturating_sub(summary.bytes);
                removed.push(summary.session.clone());
            }
        }
        if sessions == 0 && over == 0 {
            return Ok(removed);
        }
        Err(Error::new(
            ErrorKind::ResourceExhausted,
            format!(
                "no room for more records: {} sessions with {} bytes are kept; remove some, or \
                 allow more",
                self.sessions.len(),
                self.total
            ),
        ))
    }

    /// How far a session's record goes, and how much may be added to it: by its own bound, and by
    /// that of all where nothing is removed for it.
    pub(super) fn reach(&self, session: &SessionId, limits: &RecordLimits) -> Option<RecordReach> {
        let summary = self.sessions.get(session)?;
        let goes_on = summary.status == SessionStatus::Active && !summary.is_cut;
        let own = limits.session.saturating_sub(summary.bytes + RESERVE);
        let room = match limits.retention {
            Retention::RemoveOldest => own,
            Retention::Keep => own.min(limits.total.saturating_sub(self.total)),
        };
        Some(RecordReach::new(
            summary.output,
            if goes_on { room } else { 0 },
        ))
    }

    /// Newest first.
    pub(super) fn list(&self, query: &SessionQuery) -> Vec<SessionSummary> {
        self.newest(query.since)
            .filter(|summary| query.meets(summary))
            .skip(query.offset)
            .take(query.limit)
            .cloned()
            .collect()
    }

    /// The sessions that may have commands of a query.
    pub(super) fn with_commands(&self, query: &CommandQuery) -> Vec<SessionId> {
        self.newest(Timestamp::ZERO)
            .filter(|summary| summary.about.records_input && query.may_be_in(summary))
            .map(|summary| summary.session.clone())
            .collect()
    }

    fn newest(&self, since: Timestamp) -> impl Iterator<Item = &SessionSummary> {
        self.by_age
            .iter()
            .rev()
            .take_while(move |(at, _)| *at >= since)
            .filter_map(|(_, session)| self.sessions.get(session))
    }
}

pub(super) fn no_record(session: &SessionId) -> Error {
    Error::not_found("this session has no record").with_context("session", session)
}

/// Room for the beginning and the end of a record.
const FIRST: u64 = 16 << 10;
